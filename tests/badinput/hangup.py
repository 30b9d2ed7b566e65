"""Who waits for nothing but a hang-up is told of a reset: `hangup.py poll|select EVENTS`, run by test_semantics.py.

The other end is a process that is killed with our bytes unread. select knows no hang-ups: it waits for exceptions, and
must not end before its time.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

TURNS = 6
UNREAD = b"u" * 1000


def talk(connection: socket.socket) -> None:
    """Enough for both ends to attach."""
    for _ in range(TURNS):
        connection.sendall(connection.recv(10))


def victim(port: int) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    for _ in range(TURNS):
        connection.sendall(b"turn")
        connection.recv(10)
    print("idle", flush=True)
    signal.pause()


def main(way: str, events: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    dying = subprocess.Popen(
        [sys.executable, __file__, "victim", str(listener.getsockname()[1])], stdout=subprocess.PIPE
    )
    connection = listener.accept()[0]
    talk(connection)
    assert dying.stdout is not None
    dying.stdout.readline()
    connection.sendall(UNREAD)
    threading.Timer(0.2, dying.kill).start()
    began = time.monotonic()
    if way == "poll":
        polling = select.poll()
        polling.register(connection, events)
        print([hex(shown) for _, shown in polling.poll(3000)])
    else:
        print(select.select([], [], [connection], 1.0)[2] == [])
    print("in time" if time.monotonic() - began < 2.0 else "late")
    dying.wait()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "victim":
        victim(int(sys.argv[2]))
    else:
        main(sys.argv[1], int(sys.argv[2]))
