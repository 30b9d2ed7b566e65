"""Echo on asyncio: `python asyncio_echo.py serve-protocol|serve-streams|ask PORT [uvloop]`. SIGTERM ends a server."""

import asyncio
import random
import signal
import sys
from typing import cast

CONNECTIONS, ROUNDS, BIG = 10, 100, 1 << 20


class Echo(asyncio.Protocol):
    """Transport and protocol, with the transport's own buffer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Streams, with back-pressure."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(port: int, with_streams: bool) -> None:
    if with_streams:
        server = await asyncio.start_server(echo_stream, "127.0.0.1", port)
    else:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    server.close()


async def ask_one(port: int, seed: int) -> None:
    """Small messages one after the other, a big one in one piece, then the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(ROUNDS):
        message = b"%08d" % number * 8
        writer.write(message)
        assert await reader.readexactly(len(message)) == message
    big = random.Random(seed).randbytes(BIG)
    writer.write(big)
    assert await reader.readexactly(BIG) == big
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def ask(port: int) -> None:
    """Several connections at once."""
    await asyncio.gather(*(ask_one(port, seed) for seed in range(CONNECTIONS)))
    print("all came back")


if __name__ == "__main__":
    role, port = sys.argv[1], int(sys.argv[2])
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.install()
    asyncio.run(ask(port) if role == "ask" else serve(port, role == "serve-streams"))
