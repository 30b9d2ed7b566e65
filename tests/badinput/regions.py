"""Many connections that are written to in one order and read in the other: `regions.py PORT`.

test_semantics.py runs it. What this program learns of first is then a channel in the last region of the pair.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

WIRE_SEND = 1
COUNT = 60
TURNS = 6


def main(port: int) -> None:
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(COUNT)]
    received = 0
    for _ in range(TURNS):
        for one in connections:
            one.sendall(struct.pack("<4I", WIRE_SEND, 50, 0, 0))
        time.sleep(0.05)  # until the other end has done all that it does
        for one in reversed(connections):
            received += len(one.recv(50, socket.MSG_WAITALL))
    print(received)
    print("said", flush=True)
    sys.stdin.read(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
