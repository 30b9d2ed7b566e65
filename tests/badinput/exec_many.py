"""A program that execs itself with many connections open: `exec_many.py peer|fresh|self PORT`.

test_exec.py runs it. The other ends are those of tests/native/peer.c, or its own. fresh: none stays open, and the next
image makes a new one.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

WIRE_SEND = 1
COUNT = 150
TURNS = 12


def connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    os.set_inheritable(connection.fileno(), True)
    return connection


def ask(connection: socket.socket, count: int) -> int:
    connection.sendall(struct.pack("<4I", WIRE_SEND, count, 0, 0))
    return len(connection.recv(count, socket.MSG_WAITALL))


def speak(one: socket.socket, other: socket.socket) -> bool:
    """A turn between two ends of this process."""
    one.sendall(b"to")
    there = other.recv(2, socket.MSG_WAITALL)
    other.sendall(b"fro")
    return there == b"to" and one.recv(3, socket.MSG_WAITALL) == b"fro"


def become(*arguments: object) -> None:
    os.execv(sys.executable, [sys.executable, __file__, *map(str, arguments)])


def many(port: int) -> None:
    """The last of them has bytes unread."""
    connections = [connected(port) for _ in range(COUNT)]
    print(sum(ask(one, 50) for _ in range(TURNS) for one in connections), flush=True)
    connections[-1].sendall(struct.pack("<4I", WIRE_SEND, 1000, 0, 0))
    connections[-1].recv(1, socket.MSG_PEEK)
    become("again", *(one.fileno() for one in connections))


def again(descriptors: list[int]) -> None:
    connections = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    print(len(connections[-1].recv(1000, socket.MSG_WAITALL)))
    print(sum(ask(one, 50) for _ in range(TURNS) for one in connections), flush=True)
    new = connected(connections[0].getpeername()[1])
    print(sum(ask(new, 50) for _ in range(TURNS)), flush=True)
    print("said", flush=True)
    sys.stdin.read(1)


def fresh(port: int) -> None:
    connection = connected(port)
    os.set_inheritable(connection.fileno(), False)
    print(sum(ask(connection, 50) for _ in range(TURNS)), flush=True)
    become("new", port)


def made_new(port: int) -> None:
    connection = connected(port)
    print(sum(ask(connection, 50) for _ in range(TURNS)), flush=True)
    print("said", flush=True)
    sys.stdin.read(1)


def to_itself() -> None:
    """Two connections: of the second one end closes at exec, with bytes unread."""
    listener = socket.create_server(("127.0.0.1", 0))
    ones = [connected(listener.getsockname()[1]) for _ in range(2)]
    others = [listener.accept()[0] for _ in ones]
    print(all(speak(one, other) for _ in range(TURNS * 5) for one, other in zip(ones, others, strict=True)), flush=True)
    os.set_inheritable(others[0].fileno(), True)
    ones[1].sendall(b"unread")
    others[1].recv(1, socket.MSG_PEEK)
    become("itself", ones[0].fileno(), others[0].fileno(), ones[1].fileno())


def itself(descriptors: list[int]) -> None:
    one, other, lonely = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    print(all(speak(one, other) for _ in range(TURNS * 5)), flush=True)
    try:
        print(lonely.recv(1))
    except OSError as error:
        print(error.strerror)
    print("said", flush=True)
    sys.stdin.read(1)


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    numbers = list(map(int, rest))
    if mode == "peer":
        many(numbers[0])
    elif mode == "self":
        to_itself()
    elif mode in ("fresh", "new"):
        (fresh if mode == "fresh" else made_new)(numbers[0])
    else:
        {"again": again, "itself": itself}[mode](numbers)
