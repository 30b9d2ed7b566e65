"""A blocking client of an echo server: `echo_client.py PORT SECONDS`."""

from __future__ import annotations

import socket
import sys

from bench.clients.calls import report_calls

MESSAGE = b"m" * 64


def main(port: int, seconds: float) -> None:
    """Sends 64 bytes and waits until they are back, again and again."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def echo() -> None:
            connection.sendall(MESSAGE)
            missing = len(MESSAGE)
            while missing:
                data = connection.recv(missing)
                if not data:
                    raise SystemExit("the server closed the connection")
                missing -= len(data)

        report_calls(echo, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
