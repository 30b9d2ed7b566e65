"""A program that execs itself with an epoll set open: `exec_set.py before PORT level|edge`. test_exec.py runs it.

Its peer is tests/native/peer.c, which sends what it is asked for (tests/native/wire.h).
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys

WIRE_SEND = 1
BYTES = 64
WAIT_S = 10.0


def ask(connection: socket.socket, delay_ms: int) -> None:
    connection.sendall(struct.pack("<4I", WIRE_SEND, BYTES, delay_ms, 0))


def receive(connection: socket.socket) -> int:
    return len(connection.recv(BYTES, socket.MSG_WAITALL))


def registered(edge: bool) -> int:
    return select.EPOLLIN | (select.EPOLLET if edge else 0)


def shown(what: str, events: list[tuple[int, int]], descriptor: int) -> None:
    print(what, [(number == descriptor, event) for number, event in events], flush=True)


def before(port: int, edge: bool) -> None:
    """Attached, watched, and with bytes unread."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    watcher = select.epoll()
    watcher.register(connection, registered(edge))
    for _ in range(30):
        ask(connection, 0)
        shown("before", watcher.poll(WAIT_S), connection.fileno())
        receive(connection)
    ask(connection, 0)
    select.select([connection], [], [], WAIT_S)
    for descriptor in (connection.fileno(), watcher.fileno()):
        os.set_inheritable(descriptor, True)
    numbers = (str(connection.fileno()), str(watcher.fileno()))
    os.execv(sys.executable, [sys.executable, __file__, "after", *numbers])


def after(descriptor: int, watcher_descriptor: int) -> None:
    connection = socket.socket(fileno=descriptor)
    watcher = select.epoll.fromfd(watcher_descriptor)
    shown("unread", watcher.poll(WAIT_S), descriptor)
    print(receive(connection))
    for delay_ms in (0, 50, 0, 50, 0):
        ask(connection, delay_ms)
        shown("after", watcher.poll(WAIT_S), descriptor)
        print(receive(connection), flush=True)
    watcher.modify(descriptor, select.EPOLLOUT)
    shown("changed", watcher.poll(WAIT_S), descriptor)
    watcher.unregister(descriptor)
    shown("nothing", watcher.poll(0.05), descriptor)


if __name__ == "__main__":
    if sys.argv[1] == "before":
        before(int(sys.argv[2]), sys.argv[3] == "edge")
    else:
        after(int(sys.argv[2]), int(sys.argv[3]))
