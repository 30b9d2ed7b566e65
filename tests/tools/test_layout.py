"""The parser of shared layout agrees with the compiler, and refuses what it does not understand."""

import re
import subprocess
from pathlib import Path

import pytest

from byway.shm import layout

HEADER = Path(__file__).resolve().parents[2] / "csrc" / "shm" / "layout.h"


def compiler_facts(compiler: str, header: Path, parsed: layout.Layout, folder: Path) -> dict[str, int]:
    """What sizeof, _Alignof, offsetof, and the constants are to the compiler."""
    asked = [f"sizeof(struct {name})" for name in parsed.structs]
    asked += [f"_Alignof(struct {name})" for name in parsed.structs]
    for struct in parsed.structs.values():
        asked += [f"offsetof(struct {struct.name}, {member})" for member in struct.members]
        asked += [f"sizeof(((struct {struct.name} *)0)->{member})" for member in struct.members]
    asked += list(parsed.constants)
    lines = [f'\tprintf("%s=%llu\\n", "{question}", (unsigned long long)({question}));' for question in asked]
    source = folder / "facts.c"
    includes = f'#include <stddef.h>\n#include <stdio.h>\n#include "{header}"\n'
    source.write_text(includes + "int main(void)\n{\n" + "\n".join(lines) + "\n\treturn 0;\n}\n")
    program = folder / "facts"
    subprocess.run([compiler, "-std=gnu11", str(source), "-o", str(program)], check=True)
    printed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    return {question: int(value) for question, value in (line.rsplit("=", 1) for line in printed.splitlines())}


def parser_facts(parsed: layout.Layout) -> dict[str, int]:
    facts = dict(parsed.constants)
    for struct in parsed.structs.values():
        facts[f"sizeof(struct {struct.name})"] = struct.size_bytes
        facts[f"_Alignof(struct {struct.name})"] = struct.alignment
        for member in struct.members.values():
            facts[f"offsetof(struct {struct.name}, {member.name})"] = member.offset
            facts[f"sizeof(((struct {struct.name} *)0)->{member.name})"] = member.size_bytes
    return facts


def test_agrees_with_the_compiler(compiler: str, tmp_path: Path) -> None:
    parsed = layout.parse(HEADER.read_text())
    assert parser_facts(parsed) == compiler_facts(compiler, HEADER, parsed, tmp_path)


def test_finds_every_struct_enum_and_constant() -> None:
    text = HEADER.read_text()
    parsed = layout.parse(text)
    assert set(parsed.structs) == set(re.findall(r"^struct (\w+) \{", text, re.MULTILINE))
    assert set(parsed.enums) == set(re.findall(r"^enum (\w+) \{", text, re.MULTILINE))
    assert set(re.findall(r"^#define (\w+)[ \t]+\S", text, re.MULTILINE)) <= set(parsed.constants)


def test_follows_c_where_alignment_is_odd(compiler: str, tmp_path: Path) -> None:
    header = tmp_path / "odd.h"
    header.write_text(
        "#include <stdint.h>\n#define N (1 + 2)\n#define M (N * 0x10) // twice\n#define BIG 0x8000000000000000ull\n"
        "enum e { A, B = 5, C, /* a comment; with a brace } */ D = N << 2, };\n"
        "struct inner { uint8_t a; uint16_t b; char name[N]; };\n"
        "struct outer { char c; struct inner several[M / 4]; uint32_t x, y[2]; uint8_t z;"
        " int64_t last; int8_t end; };\n"
        '_Static_assert(sizeof(struct inner) == 8, "of inner; { }");\n'
    )
    parsed = layout.parse(header.read_text())
    assert parsed.enums["e"] == {"A": 0, "B": 5, "C": 6, "D": 12}
    assert parser_facts(parsed) == compiler_facts(compiler, header, parsed, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "struct s { int a; };",
        "struct s { uint32_t *p; };",
        "struct s { uint32_t a : 3; };",
        "struct s { struct unknown u; };",
        "struct s { uint32_t a[sizeof(int)]; };",
        "struct s { uint32_t a; } __attribute__((packed));",
        "typedef uint32_t word;",
        "#define N sizeof(int)",
    ],
)
def test_refuses_what_it_does_not_understand(text: str) -> None:
    with pytest.raises(layout.LayoutError):
        layout.parse(text)


def test_a_view_reads_by_name() -> None:
    parsed = layout.parse(
        "struct in { uint16_t a[2]; };\nstruct out { char name[4]; struct in all[2]; uint64_t end; };"
    )
    memory = memoryview(b"ab\0\0" + b"\1\0\2\0" + b"\3\0\4\0" + b"\0\0\0\0" + b"\x09" + bytes(7))
    view = layout.View(memory, parsed, "out")
    assert view.text("name") == "ab"
    assert view.inner("all", 1).integers("a") == (3, 4)
    assert view.integer("end") == 9
    with pytest.raises(IndexError):
        view.inner("all", 2)
