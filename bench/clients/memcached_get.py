"""A plain blocking memcached client: `memcached_get.py PORT SECONDS`. Only a socket, nothing clever."""

from __future__ import annotations

import socket
import sys

from bench.clients.calls import report_calls

VALUE = b"v" * 100
REPLY = b"VALUE key 0 %d\r\n%s\r\nEND\r\n" % (len(VALUE), VALUE)


def main(port: int, seconds: float) -> None:
    """Sets a value, then gets it again and again."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"set key 0 0 %d\r\n%s\r\n" % (len(VALUE), VALUE))
        if connection.recv(100) != b"STORED\r\n":
            raise SystemExit("memcached did not store the value")

        def get() -> None:
            connection.sendall(b"get key\r\n")
            reply = connection.recv(4096)
            while len(reply) < len(REPLY):
                more = connection.recv(4096)
                if not more:
                    raise SystemExit("memcached closed the connection")
                reply += more
            if reply != REPLY:
                raise SystemExit(f"memcached answered {reply!r}")

        report_calls(get, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
