"""The first calls on a connection, while its ends attach: usually a few turns, now and then something in the way."""

from __future__ import annotations

import socket as s
from select import POLLIN, POLLOUT

from .base import POLLRDHUP
from .lives import Lives


class Beginnings(Lives):
    def begin(self, name: str) -> None:
        if self.topology == "threads" and self.chance(25):
            self.asleep_while_attaching(name)
        elif self.topology == "two" and self.chance(3):
            self.shared_while_attaching(name)
        elif self.topology == "two" and self.chance(3):
            self.half_closed_before(name)
        elif self.chance(94):
            self.warm_up(name)

    def turns(self, name: str, count: int, size: int) -> None:
        """`count` messages of the server's, which the client reads."""
        for _ in range(count):
            self.do("s0", "send", fd=f"{name}s", len=size)
            self.do("c0", "recv", fd=f"{name}c", len=size)

    def warm_up(self, name: str) -> None:
        """A few turns, so that both ends can attach."""
        for _ in range(self.random.randint(3, 5)):
            size = self.random.choice((1, 1, 64, 1000))
            for sender, receiver in (
                (("c0", f"{name}c"), ("s0", f"{name}s")),
                (("s0", f"{name}s"), ("c0", f"{name}c")),
            ):
                self.do(sender[0], "send", fd=sender[1], len=size)
                self.do(receiver[0], "recv", fd=receiver[1], len=size + 8)

    def asleep_while_attaching(self, name: str) -> None:
        """One thread sleeps in the kernel; the other sends, and is sent to."""
        if f"{name}s" in self.model.nonblocking or f"{name}c" in self.model.nonblocking:
            return self.warm_up(name)
        self.do("s1", "recv", fd=f"{name}s", len=10)
        self.turns(name, self.random.randint(3, 9), 1)
        self.do("c0", "send", fd=f"{name}c", len=10)
        return None

    def shared_while_attaching(self, name: str) -> None:
        """A forked child holds the connection before it attaches, and reads what comes later."""
        child = self.fork_of("s0")
        self.warm_up(name)
        if child is None or f"{name}s" in self.model.nonblocking:
            return
        self.do("c0", "send", fd=f"{name}c", len=10)
        self.do(child, "recv", fd=f"{name}s", len=18)

    def half_closed_before(self, name: str) -> None:
        """One end has sent its end before it could attach."""
        self.do("c0", "shutdown", fd=f"{name}c", how=int(s.SHUT_WR))
        self.model.finished.add(f"{name}c")
        self.turns(name, self.random.randint(3, 9), 1)
        self.do("s0", "send", fd=f"{name}s", len=100)
        self.do("s0", "poll", items=[[f"{name}s", POLLIN | POLLOUT | POLLRDHUP]], timeout_ms=0)
        self.do("s0", "send", fd=f"{name}s", len=10)
        self.model.flight[f"{name}s"] = 110
