"""Virtual time, and hosts: a stack each, programs that use it, and links by which its packets leave.

A world is made from a seed, and does the same each time: events at the same time happen in the order in which they
were asked for.
"""

from __future__ import annotations

import heapq
import ipaddress
import random
from collections.abc import Callable
from typing import Any, Protocol

from byway.engine import binding
from byway.engine.stack import Stack
from byway.sim import wire
from byway.sim.link import Conditions, Link

BEGINS_NS = 1_000_000_000_000


class Program(Protocol):
    """Something that uses a host's sockets."""

    def poke(self) -> None:
        """Something may have changed: go on."""


class Observer(Protocol):
    """Sees each packet that leaves or reaches a host."""

    def leaves(self, host: Host, packet: bytes) -> None: ...

    def reaches(self, host: Host, packet: bytes) -> None: ...


class World:
    """The clock and what is to happen."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ns = BEGINS_NS
        self.hosts: list[Host] = []
        self.observers: list[Observer] = []
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0

    def at(self, when_ns: int, do: Callable[..., None], *arguments: Any) -> None:
        self._order += 1
        heapq.heappush(self._events, (max(when_ns, self.now_ns), self._order, do, arguments))

    def after(self, wait_ns: int, do: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now_ns + wait_ns, do, *arguments)

    def run(self, until: Callable[[], bool], limit_ns: int) -> bool:
        """Until the condition holds (True), nothing happens any more, or so much time has passed."""
        end_ns = self.now_ns + limit_ns
        while not until():
            if not self._events or self._events[0][0] > end_ns:
                self.now_ns = end_ns
                return until()
            self.now_ns, _, do, arguments = heapq.heappop(self._events)
            do(*arguments)
        return True

    def pass_time(self, wait_ns: int) -> None:
        """So much time, and all that happens meanwhile."""
        self.run(lambda: False, wait_ns)


class Host:
    """A machine: one stack with its addresses. Packets that reach it within `gather_ns` of the first are handed over
    together, as adapters do it."""

    def __init__(
        self, world: World, *addresses: str, library: str | None = None, gather_ns: int = 0, **settings: int
    ) -> None:
        self.world = world
        self.addresses = addresses
        secret = (world.random.getrandbits(64), world.random.getrandbits(64))
        self.stack = Stack(world.now_ns, library=library, secret=secret, **settings)
        for address in addresses:
            self.stack.add_address(address)
        self.programs: list[Program] = []
        self.gather_ns = gather_ns
        self._arrived: list[bytes] = []
        self._routes: dict[bytes, Link] = {}
        self._timer_ns = binding.NEVER
        world.hosts.append(self)

    def route(self, address: str, link: Link) -> None:
        self._routes[ipaddress.ip_address(address).packed] = link

    def receive(self, packet: bytes) -> None:
        self._arrived.append(packet)
        if not self.gather_ns:
            self._hand_over()
        elif len(self._arrived) == 1:
            self.world.after(self.gather_ns, self._hand_over)

    def _hand_over(self) -> None:
        for packet in self._arrived:
            for observer in self.world.observers:
                observer.reaches(self, packet)
        self.stack.now_ns = self.world.now_ns
        self.stack.receive(*self._arrived)
        self._arrived.clear()
        self.settle()

    def settle(self) -> None:
        """What is due is done, programs go on, packets leave."""
        self.stack.now_ns = self.world.now_ns
        self.stack.run_timers()  # before the programs, which may have to hear of it
        for program in list(self.programs):  # one that ends leaves the list
            program.poke()
        deadline_ns = self.stack.run_timers()
        self._send_all()
        self._set_timer(deadline_ns)

    def _send_all(self) -> None:
        while (packet := self.stack.transmit()) is not None:
            for observer in self.world.observers:
                observer.leaves(self, packet)
            link = self._routes.get(wire.addresses_of(packet)[1])
            if link is not None:
                link.send(packet)

    def _set_timer(self, deadline_ns: int) -> None:
        if deadline_ns < self._timer_ns:
            self._timer_ns = deadline_ns
            self.world.at(deadline_ns, self._timer, deadline_ns)

    def _timer(self, deadline_ns: int) -> None:
        if deadline_ns != self._timer_ns:  # another one was set since
            return
        self._timer_ns = binding.NEVER
        self.settle()


def join(one: Host, other: Host, there: Conditions, back: Conditions) -> tuple[Link, Link]:
    """Two links, one in each direction, for all addresses of both."""
    forth = Link(one.world, there, other.receive, one.receive)
    return_ = Link(one.world, back, one.receive, other.receive)
    for address in other.addresses:
        one.route(address, forth)
    for address in one.addresses:
        other.route(address, return_)
    return forth, return_
