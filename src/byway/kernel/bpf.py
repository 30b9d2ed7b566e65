"""bpf(2): programs and maps out of an object file, attached by links that end with their descriptor. Needs no libbpf.

An object has its programs each in a section of its own, its maps as `struct map` (csrc/bpf/helpers.h) in the section
`maps`, and the licence in the section `license`. Everything that is made is a descriptor, closed with its object; what
must outlive the process is pinned in a bpf file system.

Needs CAP_BPF and CAP_NET_ADMIN. Errors are OSError; a program that the kernel refuses is a Refused, with what its
verifier says. Not thread-safe but for distinct objects.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

_SYS_BPF = 321  # x86-64
_NAME_BYTES = 16
_LOG_BYTES = 1 << 22
_INSTRUCTION_BYTES = 8
_LOAD_64 = 0x18  # BPF_LD | BPF_IMM | BPF_DW: an instruction of two, whose source says what its value is
_PSEUDO_MAP_FD = 1


class Command(IntEnum):
    """`enum bpf_cmd` of include/uapi/linux/bpf.h, as far as it is used here."""

    MAP_CREATE = 0
    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    MAP_NEXT_KEY = 4
    PROGRAM_LOAD = 5
    PIN = 6
    GET_PINNED = 7
    LINK_CREATE = 28


class ProgramType(IntEnum):
    """`enum bpf_prog_type`."""

    CLASSIFIER = 3
    XDP = 6


class Attach(IntEnum):
    """`enum bpf_attach_type`."""

    XDP = 37
    TCX_EGRESS = 47


class XdpMode(IntEnum):
    """Where an adapter runs the program: XDP_FLAGS_* of include/uapi/linux/if_link.h."""

    GENERIC = 1 << 1
    NATIVE = 1 << 2


PER_PROCESSOR_MAPS = frozenset({5, 6})  # their value is one for each possible processor, each of a multiple of 8 bytes

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(OSError):
    """The kernel does not take a program; `log` is what its verifier says."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(number, os.strerror(number))
        self.log = log


def call(command: Command, attributes: bytes) -> int:
    """bpf(2): what it returns. `attributes`: the part of `union bpf_attr` that the command reads."""
    memory = ctypes.create_string_buffer(attributes, len(attributes))
    result = int(_libc.syscall(_SYS_BPF, int(command), memory, len(attributes)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf({command.name}): {os.strerror(number)}")
    return result


def _address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    return ctypes.addressof(buffer) if buffer is not None else 0


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, len(data))


def possible_processors() -> int:
    """How many values an element of a per-processor map has."""
    last = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


class Descriptor:
    """Something of bpf's that lives as long as its descriptor, or as it is pinned."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Twice does no harm."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def pin(self, path: Path) -> None:
        """Outlives this process under `path`, in a bpf file system, whose names may not contain a dot."""
        name = _buffer(os.fsencode(path) + b"\0")
        call(Command.PIN, struct.pack("<QII", _address(name), self.fd, 0))

    @staticmethod
    def pinned(path: Path) -> int:
        """The descriptor of what is pinned there."""
        name = _buffer(os.fsencode(path) + b"\0")
        return call(Command.GET_PINNED, struct.pack("<QII", _address(name), 0, 0))


@dataclass(frozen=True)
class MapShape:
    """`struct map` of csrc/bpf/helpers.h."""

    type: int
    key_bytes: int
    value_bytes: int
    entries: int
    flags: int

    SIZE = 20

    @classmethod
    def read(cls, data: bytes) -> MapShape:
        return cls(*struct.unpack("<5I", data[: cls.SIZE]))


class Map(Descriptor):
    """A map of bytes to bytes."""

    def __init__(self, fd: int, shape: MapShape) -> None:
        super().__init__(fd)
        self.shape = shape

    @classmethod
    def create(cls, name: str, shape: MapShape) -> Map:
        head = struct.pack("<7I", shape.type, shape.key_bytes, shape.value_bytes, shape.entries, shape.flags, 0, 0)
        return cls(call(Command.MAP_CREATE, head + _name(name)), shape)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        key_at, value_at = _buffer(key), _buffer(value)
        call(Command.MAP_UPDATE, struct.pack("<IIQQQ", self.fd, 0, _address(key_at), _address(value_at), 0))

    def __getitem__(self, key: bytes) -> bytes:
        """KeyError: there is none. Of a per-processor map: all values, one behind the other."""
        key_at, value_at = _buffer(key), ctypes.create_string_buffer(self._value_bytes())
        try:
            call(Command.MAP_LOOKUP, struct.pack("<IIQQQ", self.fd, 0, _address(key_at), _address(value_at), 0))
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise KeyError(key) from None
            raise
        return value_at.raw

    def __delitem__(self, key: bytes) -> None:
        key_at = _buffer(key)
        try:
            call(Command.MAP_DELETE, struct.pack("<IIQQQ", self.fd, 0, _address(key_at), 0, 0))
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise KeyError(key) from None
            raise

    def __iter__(self) -> Iterator[bytes]:
        """All keys. Those that come or go meanwhile may be left out, or seen twice."""
        key_at, next_at = None, ctypes.create_string_buffer(self.shape.key_bytes)
        while True:
            try:
                call(Command.MAP_NEXT_KEY, struct.pack("<IIQQQ", self.fd, 0, _address(key_at), _address(next_at), 0))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return
                raise
            yield next_at.raw
            key_at = _buffer(next_at.raw)

    def sum(self, key: bytes) -> int:
        """Of a per-processor map of 64-bit counters: all processors together."""
        return sum(struct.unpack(f"<{possible_processors()}Q", self[key]))

    def _value_bytes(self) -> int:
        if self.shape.type in PER_PROCESSOR_MAPS:
            return (self.shape.value_bytes + 7) // 8 * 8 * possible_processors()
        return self.shape.value_bytes


class Program(Descriptor):
    """A program that the kernel has taken."""

    @classmethod
    def load(cls, kind: ProgramType, name: str, code: bytes, licence: bytes, expects: int = 0) -> Program:
        """Refused: the verifier does not take it. `expects`: the attach type, where the kind of program needs one."""
        attributes = _LoadAttributes(kind, name, code, licence, expects)
        try:
            return cls(call(Command.PROGRAM_LOAD, attributes.pack(log=None)))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EINVAL):
                raise
        log = ctypes.create_string_buffer(_LOG_BYTES)
        try:
            return cls(call(Command.PROGRAM_LOAD, attributes.pack(log=log)))
        except OSError as error:
            raise Refused(error.errno or errno.EINVAL, log.value.decode(errors="replace")) from None

    def attach(self, kind: Attach, interface: int, flags: int = 0) -> Descriptor:
        """To an adapter, until the link is closed and no pin of it is left. EBUSY: another program is there."""
        return Descriptor(
            call(Command.LINK_CREATE, struct.pack("<IIII", self.fd, interface, int(kind), flags) + bytes(24))
        )


class _LoadAttributes:
    """What BPF_PROG_LOAD reads; the buffers live as long as this."""

    def __init__(self, kind: ProgramType, name: str, code: bytes, licence: bytes, expects: int) -> None:
        self.kind, self.name, self.expects = kind, name, expects
        self.code, self.licence = _buffer(code), _buffer(licence.rstrip(b"\0") + b"\0")

    def pack(self, log: ctypes.Array[ctypes.c_char] | None) -> bytes:
        count = len(self.code) // _INSTRUCTION_BYTES
        head = struct.pack("<IIQQ", int(self.kind), count, _address(self.code), _address(self.licence))
        logging = struct.pack("<IIQ", 1 if log else 0, len(log) if log else 0, _address(log))
        return head + logging + struct.pack("<II", 0, 0) + _name(self.name) + struct.pack("<II", 0, self.expects)


def _name(name: str) -> bytes:
    return name.encode()[: _NAME_BYTES - 1].ljust(_NAME_BYTES, b"\0")


# -- object files ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Section:
    name: str
    type: int
    link: int
    info: int
    data: bytes


@dataclass(frozen=True)
class _Symbol:
    name: str
    section: int
    value: int


class ObjectFile:
    """The parts of an ELF file that clang makes of a BPF program: little-endian, 64 bits, REL relocations."""

    _RELOCATIONS = 9  # SHT_REL
    _SYMBOLS = 2  # SHT_SYMTAB

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\2\1":
            raise ValueError("this is no object file of a BPF program")
        self.sections = list(self._read_sections(data))
        self.symbols = list(self._read_symbols())

    @staticmethod
    def _read_sections(data: bytes) -> Iterator[_Section]:
        (at,) = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        heads = [struct.unpack_from("<IIQQQQII", data, at + i * size) for i in range(count)]
        strings = data[heads[names][4] : heads[names][4] + heads[names][5]]
        for name, kind, _, _, offset, length, link, info in heads:
            yield _Section(_string(strings, name), kind, link, info, data[offset : offset + length])

    def _read_symbols(self) -> Iterator[_Symbol]:
        for section in self.sections:
            if section.type != self._SYMBOLS:
                continue
            names = self.sections[section.link].data
            for at in range(0, len(section.data), 24):
                name, _, _, place, value, _ = struct.unpack_from("<IBBHQQ", section.data, at)
                yield _Symbol(_string(names, name), place, value)

    def section(self, name: str) -> _Section:
        """KeyError: there is none."""
        for section in self.sections:
            if section.name == name:
                return section
        raise KeyError(name)

    def maps(self) -> dict[str, MapShape]:
        """The maps that the programs use, by name."""
        index = self.sections.index(self.section("maps"))
        data = self.sections[index].data
        found = [symbol for symbol in self.symbols if symbol.section == index and symbol.name]
        return {symbol.name: MapShape.read(data[symbol.value :]) for symbol in found}

    def code(self, name: str, maps: dict[str, Map]) -> bytes:
        """The program of section `name`, with the maps' descriptors where it names them."""
        section = self.section(name)
        code = bytearray(section.data)
        for relocations in self.sections:
            if relocations.type == self._RELOCATIONS and self.sections[relocations.info] is section:
                for at in range(0, len(relocations.data), 16):
                    offset, info = struct.unpack_from("<QQ", relocations.data, at)
                    _point(code, offset, maps[self.symbols[info >> 32].name].fd)
        return bytes(code)


def _point(code: bytearray, offset: int, fd: int) -> None:
    """The 64-bit load at `offset` is of a map from here."""
    if code[offset] != _LOAD_64:
        raise ValueError(f"nothing that loads a map is at byte {offset}")
    code[offset + 1] = code[offset + 1] & 0x0F | _PSEUDO_MAP_FD << 4
    struct.pack_into("<i", code, offset + 4, fd)


def _string(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()
