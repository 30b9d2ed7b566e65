"""Processes as /proc shows them, by the kernel's own access rules: what we may not see is left out, not an error."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from byway.errors import UserError


@dataclass(frozen=True)
class OpenFile:
    """One descriptor of a process."""

    descriptor: int
    path: str  # under /proc: opening it opens the same file
    target: str
    identity: tuple[int, int]  # device and inode: equal for descriptors of one file


def processes() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def require(pid: int) -> None:
    """An error that says what is wrong with this process id, if anything is."""
    if not os.path.isdir(f"/proc/{pid}"):
        raise UserError(f"there is no process {pid}")
    try:
        os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        raise UserError(f"process {pid} belongs to another user: run this as that user, or as root") from None
    except OSError as error:
        raise UserError(f"process {pid} cannot be looked at: {error.strerror}") from None


def read(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty when it is not ours to read, or the process has gone."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def environment(pid: int) -> dict[str, str]:
    """What the process was started with."""
    entries = (os.fsdecode(entry).partition("=") for entry in read(pid, "environ").split(b"\0"))
    return {name: value for name, equals, value in entries if equals}


def command(pid: int) -> list[str]:
    return [os.fsdecode(word) for word in read(pid, "cmdline").rstrip(b"\0").split(b"\0")]


def name(pid: int) -> str:
    return os.fsdecode(read(pid, "comm").rstrip(b"\n"))


def inner_process_id(pid: int) -> int:
    """Its process id in its own namespace."""
    for line in read(pid, "status").splitlines():
        if line.startswith(b"NSpid:"):
            return int(line.split()[-1])
    return pid


def namespace(pid: int, kind: str) -> int:
    """The inode of a namespace; 0 when it is not ours to see."""
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return 0


def open_files(pid: int, prefix: str) -> Iterator[OpenFile]:
    """The descriptors whose target begins with `prefix`."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for descriptor in names:
        path = f"{folder}/{descriptor}"
        try:
            target = os.readlink(path)
            if target.startswith(prefix):
                status = os.stat(path)
                yield OpenFile(int(descriptor), path, target, (status.st_dev, status.st_ino))
        except OSError:
            continue


def socket_inode(pid: int, descriptor: int) -> int | None:
    """The inode of the socket that a descriptor of a process is."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
    except OSError:
        return None
    return int(target[8:-1]) if target.startswith("socket:[") else None
