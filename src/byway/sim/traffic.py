"""Programs of simulated hosts: both sides of a connection send a known stream, read the other's, and compare every
byte."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from dataclasses import dataclass

from byway.engine.stack import TcpSocket
from byway.sim.watch import ViolationError
from byway.sim.world import Host

POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16
PATTERN_BYTES = 65521  # a prime: no period of the network's fits
PIECE_BYTES = 1 << 16


class Pattern:
    """An endless stream: byte i is byte i modulo PATTERN_BYTES of random ones."""

    def __init__(self, seed: int) -> None:
        once = random.Random(seed).randbytes(PATTERN_BYTES)
        self._twice = once + once

    def at(self, position: int, count: int) -> bytes:
        """`count` bytes from `position`; at most PATTERN_BYTES."""
        begin = position % PATTERN_BYTES
        return self._twice[begin : begin + count]


@dataclass(frozen=True)
class Habits:
    """How a program uses its connection."""

    send_bytes: int
    write_bytes: int = PIECE_BYTES  # in one call
    read_bytes: int = PIECE_BYTES
    pause: float = 0  # of reads after which it reads nothing for up to pause_ns
    pause_ns: int = 0
    wait_ns: int = 0  # between two writes, up to this
    abort_after: int | None = None  # bytes read, after which it resets the connection
    nodelay: bool = False
    keepalive_ms: int = 0  # idle time after which it asks whether the other side lives; 0: never


class Talker:
    """One side of a connection."""

    def __init__(self, host: Host, sock: TcpSocket, habits: Habits, sends: Pattern, expects: Pattern) -> None:
        self.host = host
        self.sock = sock
        self.habits = habits
        self.sends = sends
        self.expects = expects
        self.sent = 0
        self.received = 0
        self.error: OSError | None = None
        self.is_done = False
        self.has_end = False
        self._is_shut = False
        self._pauses = 0  # reads and writes that wait for a time to pass
        self._reads_later = False
        self._writes_later = False
        if habits.nodelay:
            sock.set("nodelay", 1)
        if habits.keepalive_ms:
            sock.set("keepalive_idle_ms", habits.keepalive_ms)
            sock.set("keepalive", 1)
        host.programs.append(self)

    def poke(self) -> None:
        if self.is_done:
            return
        try:
            ready = self.sock.ready()
            if ready & POLLOUT and not self._is_shut and not self._writes_later:
                self._write()
            if ready & (POLLIN | POLLERR | POLLHUP) and not self._reads_later and not self.has_end:
                self._read()
        except OSError as error:
            self.error = error
            self._finish()
            return
        if self._is_shut and self.has_end:
            self._finish()

    def _finish(self) -> None:
        self.sock.close()
        self.is_done = True
        self.host.programs.remove(self)

    def _later(self, name: str, most_ns: int) -> None:
        setattr(self, name, True)
        self.host.world.after(int(self.host.world.random.random() * most_ns), self._go_on, name)

    def _go_on(self, name: str) -> None:
        setattr(self, name, False)
        self.host.settle()

    def _write(self) -> None:
        left = self.habits.send_bytes - self.sent
        while left > 0:
            piece = self.sends.at(self.sent, min(left, self.habits.write_bytes))
            try:
                count = self.sock.send(piece)
            except BlockingIOError:
                return
            self.sent += count
            left -= count
            if self.habits.wait_ns:
                self._later("_writes_later", self.habits.wait_ns)
                return
            if count < len(piece):
                return
        self._is_shut = True
        self.sock.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        while not self.has_end:
            try:
                data = self.sock.receive(self.habits.read_bytes)
            except BlockingIOError:
                return
            self._check(data)
            if self.habits.abort_after is not None and self.received >= self.habits.abort_after:
                self.sock.abort()
                raise ConnectionAbortedError
            if self.habits.pause and self.host.world.random.random() < self.habits.pause:
                self._later("_reads_later", self.habits.pause_ns)
                return

    def _check(self, data: bytes) -> None:
        if not data:
            self.has_end = True
        elif data != self.expects.at(self.received, len(data)):
            raise ViolationError(f"bytes {self.received} to {self.received + len(data)} are not those that were sent")
        self.received += len(data)


class Server:
    """Accepts, and lets `make` make what talks on each connection."""

    def __init__(self, host: Host, port: int, make: Callable[[TcpSocket], Talker], backlog: int = 128) -> None:
        self.host = host
        self.talkers: list[Talker] = []
        self.sock = host.stack.tcp()
        self.sock.bind(host.addresses[0], port)
        self.sock.listen(backlog)
        self._make = make
        host.programs.append(self)

    def poke(self) -> None:
        while True:
            try:
                accepted = self.sock.accept()
            except BlockingIOError:
                return
            self.talkers.append(self._make(accepted))

    def close(self) -> None:
        self.sock.close()
        self.host.programs.remove(self)
