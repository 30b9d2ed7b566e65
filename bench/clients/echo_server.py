"""An echo server as in the documentation of `socketserver`: `echo_server.py PORT`."""

from __future__ import annotations

import socketserver
import sys


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes."""

    def handle(self) -> None:
        """One connection, to its end."""
        while data := self.request.recv(4096):
            self.request.sendall(data)


if __name__ == "__main__":
    with socketserver.TCPServer(("127.0.0.1", int(sys.argv[1])), Echo) as server:
        server.serve_forever()
