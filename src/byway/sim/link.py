"""A link in one direction: what happens to a packet on its way, drawn from the world's random numbers.

Everything adverse that happens is counted by its name, so that a run can say how hostile it was.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from byway.sim import wire

if TYPE_CHECKING:
    from byway.sim.world import World

NS_PER_SECOND = 1_000_000_000


class Corrupted(bytes):
    """A packet of which a byte was changed on the way: what it says means nothing."""


@dataclass(frozen=True)
class Conditions:
    """How a link treats packets. Times in nanoseconds; shares between 0 and 1."""

    delay_ns: int = 0
    jitter_ns: int = 0  # more delay, up to this: packets overtake each other
    loss: float = 0
    burst_begins: float = 0  # of packets after which all are lost, until the burst ends (Gilbert's model)
    burst_ends: float = 1
    duplicate: float = 0
    corrupt: float = 0  # one byte becomes another one
    late: float = 0  # comes later by up to late_ns
    late_ns: int = 0
    mtu: int = 65535  # a larger packet is answered by ICMP, and lost
    tells_mtu: bool = True  # False: a black hole, nothing is said
    bits_per_second: int = 0  # 0: without end
    queue_bytes: int = 1 << 20  # what waits for the line; more is lost


class Link:
    """Takes packets from one side and delivers them at the other."""

    def __init__(
        self, world: World, conditions: Conditions, deliver: Callable[[bytes], None], answer: Callable[[bytes], None]
    ) -> None:
        self.world = world
        self.conditions = conditions
        self.deliver = deliver
        self.answer = answer  # to the sender: what a router says
        self.events: Counter[str] = Counter()
        self._in_burst = False
        self._line_free_ns = 0

    def become(self, conditions: Conditions) -> None:
        """Other conditions from now on."""
        self.conditions = conditions
        self.events["change"] += 1

    def lose(self, share: float) -> None:
        """So much is lost from now on."""
        self.become(dataclasses.replace(self.conditions, loss=share))

    def narrow(self, mtu: int) -> None:
        """No larger packets from now on."""
        self.become(dataclasses.replace(self.conditions, mtu=mtu))

    def send(self, packet: bytes) -> None:
        now = self.conditions
        if len(packet) > now.mtu:
            self._refuse(packet)
            return
        reason = self._loses()
        ready_ns = None if reason else self._pass_line(len(packet))
        if ready_ns is None:
            self.events[reason or "queue full"] += 1
            return
        self._carry(packet, ready_ns)
        if now.duplicate and self.world.random.random() < now.duplicate:
            self.events["duplicate"] += 1
            self._carry(packet, ready_ns)

    def _refuse(self, packet: bytes) -> None:
        self.events["too big"] += 1
        if self.conditions.tells_mtu:
            self.world.after(self.conditions.delay_ns, self.answer, wire.too_big(packet, self.conditions.mtu))

    def _loses(self) -> str:
        """Why the packet is lost; empty: it is not."""
        now, draw = self.conditions, self.world.random.random
        if self._in_burst:
            self._in_burst = draw() >= now.burst_ends
            return "burst"
        if now.burst_begins and draw() < now.burst_begins:
            self._in_burst = True
            return "burst"
        return "loss" if now.loss and draw() < now.loss else ""

    def _pass_line(self, count: int) -> int | None:
        """When the packet has left the line; None: its queue was full."""
        now = self.conditions
        if not now.bits_per_second:
            return self.world.now_ns
        begins = max(self._line_free_ns, self.world.now_ns)
        waiting = (begins - self.world.now_ns) * now.bits_per_second // (8 * NS_PER_SECOND)
        if waiting + count > now.queue_bytes:
            return None
        self._line_free_ns = begins + count * 8 * NS_PER_SECOND // now.bits_per_second
        return self._line_free_ns

    def _carry(self, packet: bytes, ready_ns: int) -> None:
        now, random = self.conditions, self.world.random
        arrives = ready_ns + now.delay_ns
        if now.jitter_ns:
            arrives += int(random.random() * now.jitter_ns)
        if now.late and random.random() < now.late:
            arrives += int(random.random() * now.late_ns)
            self.events["late"] += 1
        if now.corrupt and random.random() < now.corrupt:
            packet = self._corrupted(packet)
        self.world.at(arrives, self.deliver, packet)

    def _corrupted(self, packet: bytes) -> bytes:
        """Never in the first bytes of IPv6, which no checksum has in it: that would be taken, and rightly."""
        self.events["corrupt"] += 1
        at = self.world.random.randrange(8, len(packet))
        changed = bytearray(packet)
        changed[at] ^= self.world.random.randrange(1, 256)
        return Corrupted(changed)
