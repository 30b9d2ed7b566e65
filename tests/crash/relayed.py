"""One end of a connection whose socket is given to programs that know nothing of rings: `relayed.py HOST PORT WHAT`.

Run by test_relay.py, on the kernel and under Byway; what it prints must be the same. It imports nothing of the tests.
The peer (`relayed.py peer`) answers some turns, sends BYTES bytes and closes (`lives`: half-closes): the ring cannot be
handed back then.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

TURNS = 12
BYTES = 3000
CONTENT = bytes(i * 7 % 251 for i in range(BYTES))


def peer(lives: bool) -> None:
    """`lives`: it ends its own direction only, and the relay is needed as long as the program might send."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print("port", listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
    for _ in range(TURNS):
        connection.sendall(connection.recv(64))
    connection.sendall(CONTENT)
    if lives:
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    connection.close()


def connect(host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port))
    for _ in range(TURNS):
        connection.sendall(b"ping")
        assert connection.recv(4) == b"ping"
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    assert poller.poll(10_000), "the peer has not closed"
    return connection


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1000):
        parts.append(part)
    return b"".join(parts)


def say(name: str, value: object) -> None:
    print(name, value, flush=True)


def children_seen() -> str:
    try:
        return str(os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        return "none"


def spawn(connection: socket.socket) -> None:
    """Another program is started, which inherits the socket; we go on with it. Nothing about it may have changed."""
    signals: list[int] = []
    signal.signal(signal.SIGCHLD, lambda number, frame: signals.append(number))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\x07".ljust(16, b"\0"))
    connection.setblocking(False)
    os.set_inheritable(connection.fileno(), True)
    copy = os.dup(connection.fileno())
    epoll = select.epoll()
    epoll.register(connection, select.EPOLLIN)
    epoll.register(copy, select.EPOLLIN | select.EPOLLET)
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    time.sleep(0.2)
    say("children", children_seen())
    say("SIGCHLD", len(signals))
    say("epoll", sorted(event == select.EPOLLIN for _, event in epoll.poll(5)))
    for level, name in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    ):
        say("option", connection.getsockopt(level, name))
    say("timeout", connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)[0])
    say("blocking", [os.get_blocking(fd) for fd in (connection.fileno(), copy)])
    say("inherited", [os.get_inheritable(fd) for fd in (connection.fileno(), copy)])
    say("addresses", (connection.getsockname()[0], connection.getpeername()[0]))
    os.set_blocking(copy, True)
    say("blocking", connection.getblocking() or os.get_blocking(connection.fileno()))
    os.close(copy)
    say("whole", read_all(connection) == CONTENT)


def child(connection: socket.socket) -> None:
    """Python's subprocess: vfork, dup2, exec."""
    with subprocess.Popen(["/bin/cat"], stdin=connection, stdout=subprocess.PIPE, env={}) as program:
        connection.close()
        assert program.stdout is not None
        say("whole", program.stdout.read() == CONTENT)


def child_both_ways(connection: socket.socket) -> None:
    """Input and output of the program are the socket: two descriptors of one connection."""
    script = "head -c 1000 | wc -c >&2; echo answer; wc -c >&2"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=connection, stdout=connection, stderr=subprocess.PIPE, env={"PATH": os.defpath}
    ) as program:
        connection.close()
        assert program.stderr is not None
        say("counts", program.stderr.read().split())


def keeps(connection: socket.socket) -> None:
    """The program does not read; its parent, which keeps the socket, does afterwards."""
    subprocess.run(["/bin/true"], stdin=connection, env={}, check=True)
    say("whole", read_all(connection) == CONTENT)


def stdio(connection: socket.socket) -> None:
    """fdopen: libc reads, in this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fdopen.restype = ctypes.c_void_p
    libc.fread.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)
    buffer = ctypes.create_string_buffer(BYTES * 2)
    file = libc.fdopen(connection.fileno(), b"r")
    say("whole", buffer.raw[: libc.fread(buffer, 1, BYTES * 2, file)] == CONTENT)


def spliced(connection: socket.socket) -> None:
    out, into = os.pipe()
    parts = []
    while count := os.splice(connection.fileno(), into, 4096):
        parts.append(os.read(out, count))
    say("whole", b"".join(parts) == CONTENT)


def large(connection: socket.socket) -> None:
    """What made the relay had much memory: the relay has not."""
    memory = bytearray(b"x" * (200 << 20))
    with subprocess.Popen(["/bin/sleep", "2"], stdin=connection, env={}) as program:
        connection.close()
        say("started", len(memory) >> 20)
        program.wait()


def shortage(connection: socket.socket) -> None:
    """No descriptor is left for a relay: the call goes through, and it is said."""
    os.set_inheritable(connection.fileno(), True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (connection.fileno() + 1, 1024))
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    say("whole", read_all(connection) == CONTENT)


WHAT: dict[str, Callable[[socket.socket], None]] = {
    "spawn": spawn,
    "child": child,
    "child-both-ways": child_both_ways,
    "keeps": keeps,
    "stdio": stdio,
    "spliced": spliced,
    "large": large,
    "shortage": shortage,
}

if __name__ == "__main__":
    if sys.argv[1] == "peer":
        peer("lives" in sys.argv)
    else:
        WHAT[sys.argv[3]](connect(sys.argv[1], int(sys.argv[2])))
