"""What a program is, before it is started: where it lies, and what keeps Byway out of it, in one clause.

Decides by the same facts as the kernel and the dynamic loader: path, permissions, `#!` lines, ELF header and program
headers, set-uid bits, file capabilities. Named tuples, because `byway run` must start in no time.
"""

import os
import stat
import struct
from typing import NamedTuple

from byway.errors import UserError

STATUS_CANNOT_RUN = 126
STATUS_NOT_FOUND = 127

ELF_MAGIC = b"\x7fELF"
SCRIPT_MAGIC = b"#!"
SCRIPT_LINE_BYTES = 255  # what the kernel reads of the first line
SCRIPT_DEPTH_MAX = 5  # interpreters that are scripts themselves, as in the kernel
PT_INTERP = 3
PROGRAM_HEADERS_MAX = 128
INTERPRETER_BYTES_MAX = 4096

ELF_CLASSES = {1: "32-bit", 2: "64-bit"}
MACHINES = {
    3: "x86",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390",
    40: "arm",
    62: "x86-64",
    183: "aarch64",
    243: "risc-v",
}


class Target(NamedTuple):
    """What an ELF file is compiled for."""

    elf_class: int
    data: int
    machine: int

    def __str__(self) -> str:
        machine = MACHINES.get(self.machine, f"machine {self.machine}")
        return f"{machine} ({ELF_CLASSES.get(self.elf_class, 'unknown class')})"


class Elf(NamedTuple):
    """What matters of an ELF file."""

    target: Target
    interpreter: str | None  # the dynamic loader; None: static


class Program(NamedTuple):
    """A program that can be started: `path` to execute, and why Byway cannot accelerate it (None: it can)."""

    path: str
    obstacle: str | None
    needs_shell: bool = False  # neither ELF nor `#!`: execvp and shells hand it to /bin/sh


class NotElf(Exception):
    """The file says it is ELF, and is not."""


def candidates(name: str, search_path: str) -> list[str]:
    if "/" in name:
        return [name]
    return [os.path.join(folder or ".", name) for folder in search_path.split(os.pathsep)]


def find(name: str, search_path: str) -> str:
    """The file that the shell would run by this name."""
    refused = None
    for path in candidates(name, search_path):
        if os.path.isdir(path):
            refused = refused or f"{path} is a directory, not a program"
        elif os.path.exists(path):
            if os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                return path
            refused = refused or f"{path} is not executable; `chmod +x` makes it so"
    if refused is not None:
        raise UserError(refused, STATUS_CANNOT_RUN)
    where = "there is no such file" if "/" in name else "it is not on PATH"
    raise UserError(f"{name} was not found: {where}", STATUS_NOT_FOUND)


def read_elf(file_descriptor: int) -> Elf:
    """Reads the headers; raises NotElf when they make no sense."""
    ident = os.pread(file_descriptor, 64, 0)
    if len(ident) < 52 or ident[4] not in ELF_CLASSES or ident[5] not in (1, 2):
        raise NotElf
    order = "<" if ident[5] == 1 else ">"
    is_64 = ident[4] == 2
    (machine,) = struct.unpack_from(f"{order}H", ident, 18)
    target = Target(ident[4], ident[5], machine)
    offset_at, count_at = (32, 54) if is_64 else (28, 42)
    (offset,) = struct.unpack_from(f"{order}{'Q' if is_64 else 'I'}", ident, offset_at)
    if len(ident) < count_at + 4:
        raise NotElf
    entry_bytes, count = struct.unpack_from(f"{order}HH", ident, count_at)
    if entry_bytes != (56 if is_64 else 32) or not 0 < count <= PROGRAM_HEADERS_MAX or offset >= 1 << 62:
        raise NotElf
    table = os.pread(file_descriptor, entry_bytes * count, offset)
    return Elf(target, find_interpreter(file_descriptor, table, entry_bytes, order, is_64))


def find_interpreter(file_descriptor: int, table: bytes, entry_bytes: int, order: str, is_64: bool) -> str | None:
    """The dynamic loader that the program headers name."""
    layout = f"{order}II6Q" if is_64 else f"{order}8I"
    for at in range(0, len(table) - entry_bytes + 1, entry_bytes):
        fields = struct.unpack_from(layout, table, at)
        if fields[0] == PT_INTERP:
            offset, size = (fields[2], fields[5]) if is_64 else (fields[1], fields[4])
            if not 0 < size <= INTERPRETER_BYTES_MAX or offset >= 1 << 62:
                raise NotElf
            return os.fsdecode(os.pread(file_descriptor, size, offset).rstrip(b"\0"))
    return None


def library_target(path: str) -> Target:
    """What Byway's own library is compiled for."""
    file_descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_elf(file_descriptor).target
    except NotElf:
        raise UserError(f"{path} is not a shared library") from None
    finally:
        os.close(file_descriptor)


def privilege_obstacle(path: str, file_descriptor: int) -> str | None:
    """Whether starting it changes its rights: the loader then refuses libraries from the environment."""
    status = os.fstat(file_descriptor)
    if os.fstatvfs(file_descriptor).f_flag & os.ST_NOSUID:
        return None
    if status.st_mode & stat.S_ISUID and status.st_uid != os.getuid():
        return "is set-uid: the system loads no library into a program that gains another user's rights"
    runs_as_group = status.st_mode & stat.S_ISGID and status.st_mode & stat.S_IXGRP
    if runs_as_group and status.st_gid != os.getgid():
        return "is set-gid: the system loads no library into a program that gains another group's rights"
    if os.getuid() != 0 and has_capabilities(file_descriptor):
        return "has file capabilities: the system loads no library into a program that gains rights"
    return None


def has_capabilities(file_descriptor: int) -> bool:
    try:
        return bool(os.getxattr(file_descriptor, "security.capability"))
    except OSError:
        return False


def elf_obstacle(path: str, file_descriptor: int, ours: Target) -> str | None:
    try:
        elf = read_elf(file_descriptor)
    except NotElf:
        return "is a damaged ELF file"
    if elf.target != ours:
        return f"is compiled for {elf.target}, and Byway's library for {ours}"
    if elf.interpreter is None:
        return "is statically linked: no library can be loaded into it"
    return loader_obstacle(path, elf.interpreter) or privilege_obstacle(path, file_descriptor)


def loader_obstacle(path: str, loader: str) -> str | None:
    name = os.path.basename(loader)
    if name.startswith("ld-musl"):
        return f"is built for musl ({loader}), and Byway's library for glibc"
    if not name.startswith(("ld-linux", "ld64.so")):
        return f"uses the loader {loader}, which is not glibc's"
    if not os.path.exists(loader):
        raise UserError(f"{path} needs the loader {loader}, which does not exist on this machine", STATUS_NOT_FOUND)
    return None


def script_interpreter(path: str, line: bytes) -> str:
    """The program that a `#!` line names."""
    words = line[len(SCRIPT_MAGIC) :].split(b"\n")[0].split(maxsplit=1)
    if not words:
        raise UserError(f"{path} begins with #! and names no interpreter", STATUS_CANNOT_RUN)
    interpreter = os.fsdecode(words[0])
    if not os.path.exists(interpreter):
        raise UserError(f"{path} names the interpreter {interpreter}, which does not exist", STATUS_NOT_FOUND)
    return interpreter


def examine(path: str, ours: Target) -> Program:
    """Follows `#!` lines to a real program, and says what keeps Byway out of that."""
    current = path
    for depth in range(SCRIPT_DEPTH_MAX + 1):
        try:
            file_descriptor = os.open(current, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            return Program(path, f"cannot be read ({error.strerror}), so it is not known what it is")
        try:
            head = os.pread(file_descriptor, SCRIPT_LINE_BYTES, 0)
            if head.startswith(ELF_MAGIC):
                return Program(path, described(path, current, elf_obstacle(current, file_descriptor, ours)))
        finally:
            os.close(file_descriptor)
        if not head.startswith(SCRIPT_MAGIC):
            return Program(path, None, needs_shell=depth == 0)
        current = script_interpreter(current, head)
    raise UserError(
        f"{path} is a script whose interpreters are scripts, more than {SCRIPT_DEPTH_MAX} deep", STATUS_CANNOT_RUN
    )


def described(path: str, current: str, obstacle: str | None) -> str | None:
    """The obstacle as a clause about `path`, also when it is its interpreter's."""
    if obstacle is None or path == current:
        return obstacle
    return f"is a script, whose interpreter {current} {obstacle}"
