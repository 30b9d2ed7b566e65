"""Parses csrc/shm/layout.h, the one definition of shared memory, into sizes and offsets that Python reads by.

Understands the subset that the header keeps to: #define of integers, enums, structs of fixed-width members, arrays of
constant length and structs, with the alignment rules of C. What it does not understand is an error, never skipped; the
_Static_asserts of the header are the compiler's matter, and a test compares every offset with the compiler's.
"""

import ast
import functools
import hashlib
import operator
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from byway import native
from byway.errors import UserError

HEADER = "layout.h"
SCALARS = {
    "char": "c",
    "uint8_t": "B",
    "int8_t": "b",
    "uint16_t": "H",
    "int16_t": "h",
    "uint32_t": "I",
    "int32_t": "i",
    "uint64_t": "Q",
    "int64_t": "q",
}
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
DIRECTIVE = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
STATIC_ASSERT = re.compile(r'_Static_assert\s*\((?:[^"]|"(?:[^"\\]|\\.)*")*?\)\s*;')
DECLARATION = re.compile(r"\s*(enum|struct)\s+(\w+)\s*\{([^{}]*)\}\s*;")
MEMBER = re.compile(r"^(struct\s+)?(\w+)\s+(\w+(?:\s*\[[^\]]+\])?(?:\s*,\s*\w+(?:\s*\[[^\]]+\])?)*)$")
DECLARATOR = re.compile(r"(\w+)(?:\s*\[([^\]]+)\])?")
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}


class LayoutError(Exception):
    """The header uses what this parser does not understand."""


@dataclass(frozen=True)
class Member:
    """One member of a struct; `count` is None when it is no array."""

    name: str
    type: str  # a key of SCALARS, or the name of a struct
    offset: int
    element_bytes: int
    count: int | None

    @property
    def size_bytes(self) -> int:
        return self.element_bytes * (1 if self.count is None else self.count)


@dataclass(frozen=True)
class Struct:
    """One struct: what sizeof, _Alignof and offsetof say of it."""

    name: str
    size_bytes: int
    alignment: int
    members: Mapping[str, Member]


@dataclass
class Layout:
    """Everything that a header defines."""

    constants: dict[str, int] = field(default_factory=dict)
    enums: dict[str, dict[str, int]] = field(default_factory=dict)
    structs: dict[str, Struct] = field(default_factory=dict)
    abi_hash: int = 0


def evaluate(text: str, constants: Mapping[str, int]) -> int:
    """A constant expression of integers and names defined before."""
    plain = re.sub(r"(?<=[0-9a-fA-F])[uUlL]+\b", "", text).replace("/", "//")
    try:
        return value_of(ast.parse(plain.strip(), mode="eval").body, constants)
    except (SyntaxError, KeyError) as error:
        raise LayoutError(f"not a constant: {text} ({error})") from None


def value_of(node: ast.expr, constants: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return constants[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            result: int = OPERATORS[type(op)](value_of(left, constants), value_of(right, constants))
            return result
    raise LayoutError(f"not a constant: {ast.unparse(node)}")


def parse_enum(body: str, constants: dict[str, int]) -> dict[str, int]:
    values: dict[str, int] = {}
    following = 0
    for entry in filter(None, (part.strip() for part in body.split(","))):
        name, equals, text = (part.strip() for part in entry.partition("="))
        following = evaluate(text, constants) if equals else following
        values[name] = constants[name] = following
        following += 1
    return values


def type_facts(name: str, is_struct: bool, layout: Layout) -> tuple[int, int]:
    """Size and alignment of a member's type."""
    if is_struct and name in layout.structs:
        known = layout.structs[name]
        return known.size_bytes, known.alignment
    if not is_struct and name in SCALARS:
        size = struct.calcsize(SCALARS[name])
        return size, size
    raise LayoutError(f"unknown type: {'struct ' if is_struct else ''}{name}")


def rounded_up(value: int, alignment: int) -> int:
    return (value + alignment - 1) // alignment * alignment


def parse_struct(name: str, body: str, layout: Layout) -> Struct:
    members: dict[str, Member] = {}
    offset = 0
    largest = 1
    for text in filter(None, (part.strip() for part in body.split(";"))):
        found = MEMBER.match(text)
        if found is None:
            raise LayoutError(f"struct {name}: not a member: {text}")
        size, alignment = type_facts(found[2], found[1] is not None, layout)
        largest = max(largest, alignment)
        for member_name, length in DECLARATOR.findall(found[3]):
            count = evaluate(length, layout.constants) if length else None
            offset = rounded_up(offset, alignment)
            member = Member(member_name, found[2], offset, size, count)
            members[member_name] = member
            offset += member.size_bytes
    return Struct(name, rounded_up(offset, largest), largest, members)


def parse(source: str) -> Layout:
    """The layout that a header's text defines."""
    layout = Layout(abi_hash=int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big"))
    text = COMMENT.sub(" ", source)
    for name, expression in DEFINE.findall(text):
        layout.constants[name] = evaluate(expression, layout.constants)
    text = STATIC_ASSERT.sub("", DIRECTIVE.sub("", text))
    at = 0
    while found := DECLARATION.match(text, at):
        kind, name, body = found.groups()
        if kind == "enum":
            layout.enums[name] = parse_enum(body, layout.constants)
        else:
            layout.structs[name] = parse_struct(name, body, layout)
        at = found.end()
    if text[at:].strip():
        raise LayoutError(f"not understood: {text[at:].strip()[:80]}")
    return layout


@functools.cache
def installed() -> Layout:
    """The layout that our own library was compiled from."""
    return parse(native.read_text(HEADER))


class View:
    """One struct at one place of a mapped memory. Every read looks at the memory again, once, and checks its bounds."""

    def __init__(self, memory: memoryview, layout: Layout, name: str, base: int = 0) -> None:
        self.memory = memory
        self.layout = layout
        self.struct = layout.structs[name]
        self.base = base
        if base + self.struct.size_bytes > len(memory):
            raise UserError(f"the shared memory is too short for its struct {name}")

    def integers(self, name: str) -> tuple[int, ...]:
        """All elements of a member."""
        member = self.struct.members[name]
        count = 1 if member.count is None else member.count
        return struct.unpack_from(f"<{count}{SCALARS[member.type]}", self.memory, self.base + member.offset)

    def integer(self, name: str) -> int:
        return self.integers(name)[0]

    def text(self, name: str) -> str:
        """A zero-padded array of char."""
        member = self.struct.members[name]
        start = self.base + member.offset
        raw = bytes(self.memory[start : start + member.size_bytes])
        return raw.split(b"\0")[0].decode("utf-8", "replace")

    def inner(self, name: str, index: int = 0) -> "View":
        """A member that is a struct, or the element `index` of an array of them."""
        member = self.struct.members[name]
        if not 0 <= index < (1 if member.count is None else member.count):
            raise IndexError(f"{self.struct.name}.{name}[{index}]")
        return View(self.memory, self.layout, member.type, self.base + member.offset + index * member.element_bytes)
