"""What of the kernel Byway needs: each is used once, as the library uses it."""

import array
import ctypes
import fcntl
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from byway.doctor.finding import BAD, GOOD, LESS, Finding
from byway.kernel import tcp

SYS_PIDFD_GETFD = 438
SO_COOKIE = 57


def examine() -> list[Finding]:
    return [try_facility(*each) for each in FACILITIES]


def try_facility(subject: str, attempt: Callable[[], str], verdict: str, consequence: str, remedy: str) -> Finding:
    """`verdict` and `consequence` for when it cannot be had."""
    try:
        return Finding(subject, GOOD, attempt())
    except OSError as error:
        return Finding(subject, verdict, f"{error.strerror or error}: {consequence}", remedy)


def loopback() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 2):
        return "a connection to 127.0.0.1 can be made"


def sealed_memory() -> str:
    descriptor = os.memfd_create("byway-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(descriptor, 0, 4096)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    finally:
        os.close(descriptor)
    return "shared memory that nobody can cut short"


def bells() -> str:
    os.close(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
    return "an eventfd can be made"


def watched_process() -> str:
    os.close(os.pidfd_open(os.getpid()))
    return "the end of a process can be waited for"


def fetched_descriptor() -> str:
    """What it takes to give unread bytes to a program that is not under Byway: a copy of another process's socket."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if os.geteuid() != 0 and scope.exists() and scope.read_text().strip() != "0":
        raise OSError(f"{scope} is {scope.read_text().strip()}")
    process = os.pidfd_open(os.getpid())
    try:
        call = ctypes.CDLL(None, use_errno=True).syscall
        descriptor = call(SYS_PIDFD_GETFD, process, 0, 0)
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        os.close(descriptor)
    finally:
        os.close(process)
    return "a program may have a copy of another's socket"


def identity() -> str:
    """The cookie that the socket itself tells is the one by which sock_diag finds it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        cookie = int.from_bytes(server.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")
        if cookie not in tcp.by_cookie():
            raise OSError("sock_diag does not know a socket that is there")
    return "the other end of a connection can be found"


def meeting() -> str:
    """An abstract name, and descriptors that go through it."""
    name = f"\0byway-doctor/{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(name)
        listening.listen(1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
            one.connect(name)
            other, _ = listening.accept()
            with other:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))
                one.sendmsg([b"hello"], [rights])
                for descriptor in socket.recv_fds(other, 16, 1)[1]:
                    os.close(descriptor)
    return "two programs can meet and hand each other their memory"


NOTHING_LOCAL = "no connection is accelerated"
CONTAINER = "in a container, allow it in its seccomp profile"
FACILITIES: tuple[tuple[str, Callable[[], str], str, str, str], ...] = (
    ("loopback", loopback, BAD, NOTHING_LOCAL, "`ip link set lo up` as root"),
    ("sealed memory", sealed_memory, BAD, NOTHING_LOCAL, CONTAINER),
    ("bells", bells, BAD, NOTHING_LOCAL, CONTAINER),
    ("ends of processes", watched_process, BAD, NOTHING_LOCAL, f"Linux 5.3 has it; {CONTAINER}"),
    ("socket identities", identity, BAD, NOTHING_LOCAL, f"`modprobe inet_diag tcp_diag` as root; {CONTAINER}"),
    ("meeting point", meeting, BAD, NOTHING_LOCAL, CONTAINER),
    (
        "copies of sockets",
        fetched_descriptor,
        LESS,
        "a connection with unread bytes goes to a program that is not under Byway by a relay, a process of its own",
        f"`sysctl kernel.yama.ptrace_scope=0` as root; Linux 5.6 has it; {CONTAINER}",
    ),
)
