"""A stack of the engine on an adapter of a host, driven from Python: its queue, its filters, its neighbours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from byway.engine.binding import CELL_BYTES, PROTOCOL_TCP
from byway.engine.stack import Stack, TcpSocket
from byway.engine.vi import Vi
from byway.kernel import steer, xdp
from tests.wire.network import Host

WAIT_S = 10.0
STACK_NUMBER = 3
QUEUE = 0
FIRST_PORT, ATTEMPTS, ATTEMPT_S = 40000, 50, 5.0


class Engine:
    """One host's stack, with the other host as its only neighbour."""

    def __init__(self, host: Host, peer: Host, steering: steer.Steering, **settings: int) -> None:
        self.host, self.steering = host, steering
        self.stack = Stack(time.monotonic_ns(), **{"cells": 4096, "endpoints": 64, **settings})
        for address in (host.v4, host.v6):
            self.stack.add_address(address)
        at, size = self.stack.cells()
        self.socket = xdp.Socket(xdp.Umem(at, size, CELL_BYTES), host.adapter.index, QUEUE)
        steering.give(STACK_NUMBER, QUEUE, self.socket.fd)
        self.vi = Vi.of_adapter(self.stack, self.socket.fd, host.adapter.mac, is_veth=True)
        for address in (peer.v4, peer.v6):
            self.vi.neighbour(address, peer.adapter.mac)

    def poll(self) -> int:
        self.stack.now_ns = time.monotonic_ns()
        return self.vi.poll()

    def wait(self, condition: Callable[[], bool], wait_s: float = WAIT_S) -> bool:
        """Polls until it holds. False: the time is over."""
        end = time.monotonic() + wait_s
        while not condition():
            if time.monotonic() > end:
                return False
            self.poll()
        return True

    def connect(self, version: int, port: int, to: tuple[str, int]) -> TcpSocket:
        """With the filter that its packets need."""
        local = self.host.address(version)
        self.steering.add(steer.Filter(PROTOCOL_TCP, (local, port), to), STACK_NUMBER)
        sock = self.stack.tcp()
        sock.bind(local, port)
        self.stack.now_ns = time.monotonic_ns()
        sock.connect(*to)
        return sock

    def connected(self, version: int, to: tuple[str, int]) -> TcpSocket:
        """To a server that may not listen yet: each attempt has a port of its own."""
        for port in range(FIRST_PORT, FIRST_PORT + ATTEMPTS):
            sock = self.connect(version, port, to)
            if self.wait(lambda sock=sock: sock.state != "SYN_SENT", ATTEMPT_S) and sock.state == "ESTABLISHED":
                return sock
            sock.close()
            self.wait(lambda: False, 0.05)
        raise AssertionError("nobody answers")

    def close(self) -> None:
        self.socket.close()


@contextmanager
def engine_on(host: Host, peer: Host, **settings: int) -> Iterator[Engine]:
    """The adapter is steered while the block runs."""
    with host.entered(), steer.Steering(host.adapter.index) as steering:
        engine = Engine(host, peer, steering, **settings)
        try:
            yield engine
        finally:
            engine.close()
