"""What must hold of every packet, whatever the network does: rules of RFC 9293 that can be seen from outside.

Both ends' packets are seen where they leave and where they arrive, so that it is known what each end knew.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from byway.sim import wire
from byway.sim.link import Corrupted

if TYPE_CHECKING:
    from byway.sim.world import Host

WINDOW_SCALE, SACK = 3, 5
_HALF = 1 << 31
_MASK = 0xFFFFFFFF


class ViolationError(AssertionError):
    """A rule was broken; the text says which, and by what."""


def after(one: int, other: int) -> int:
    """How far `one` is behind `other` in the sequence space; less than 0: it is before."""
    return ((one - other + _HALF) & _MASK) - _HALF


@dataclass
class End:
    """What is known of one end of a connection."""

    first: int | None = None  # its SYN's number
    scale: int = 0
    scale_offered: int | None = None  # of its SYN
    edge: int | None = None  # right edge of the window that it has offered
    edge_heard: int | None = None  # the largest right edge that it has heard of from the other end
    next_expected: int | None = None  # its latest acknowledgement
    heard_until: int | None = None  # behind the last byte that has reached it


@dataclass
class Watch:
    """An observer of a world; raises ViolationError."""

    mtu: int = 65535
    ends: dict[tuple[bytes, int, bytes, int], End] = field(default_factory=dict)
    packets: int = 0

    def _end(self, packet: bytes, segment: wire.Segment, of_source: bool) -> End:
        source, destination = wire.addresses_of(packet)
        key = (source, segment.source_port, destination, segment.destination_port)
        if not of_source:
            key = (destination, segment.destination_port, source, segment.source_port)
        return self.ends.setdefault(key, End())

    def leaves(self, host: Host, packet: bytes) -> None:
        self.packets += 1
        if len(packet) > self.mtu:
            raise ViolationError(f"a packet of {len(packet)} bytes, where {self.mtu} is the most")
        if wire.protocol_of(packet) != wire.TCP:
            return
        segment = wire.read_segment(packet)
        own, other = self._end(packet, segment, True), self._end(packet, segment, False)
        if segment.flags & wire.SYN:
            self._begin(own, other, segment)
        if segment.flags & wire.RST:
            return
        self._check_window(own, segment)
        if segment.flags & wire.ACK:
            self._check_acknowledgement(own, segment)

    def reaches(self, host: Host, packet: bytes) -> None:
        if isinstance(packet, Corrupted) or wire.protocol_of(packet) != wire.TCP:
            return
        segment = wire.read_segment(packet)
        source, destination = wire.addresses_of(packet)
        own = self.ends.get((destination, segment.destination_port, source, segment.source_port))
        other = self.ends.get((source, segment.source_port, destination, segment.destination_port))
        if own is None or other is None or segment.flags & wire.RST:
            return
        self._learn(own, other, segment)

    def _begin(self, own: End, other: End, segment: wire.Segment) -> None:
        """Another number is another connection of the same ends: an old SYN that came late makes one, too. The scale
        counts if both have offered one (RFC 7323, 2.2)."""
        value = wire.read_options(segment).get(WINDOW_SCALE)
        if segment.sequence != own.first:
            heard_until = segment.acknowledgement if segment.flags & wire.ACK else None
            own.__init__(segment.sequence, heard_until=heard_until)  # type: ignore[misc]
        own.scale_offered = value[0] if value else None
        if own.scale_offered is not None and other.scale_offered is not None:
            own.scale, other.scale = own.scale_offered, other.scale_offered

    def _learn(self, own: End, other: End, segment: wire.Segment) -> None:
        until = (segment.sequence + segment.length) & _MASK
        if own.heard_until is None or after(until, own.heard_until) > 0:
            own.heard_until = until
        if not segment.flags & wire.ACK:
            return
        scale = 0 if segment.flags & wire.SYN else other.scale
        edge = (segment.acknowledgement + (segment.window << scale)) & _MASK
        if own.edge_heard is None or after(edge, own.edge_heard) > 0:
            own.edge_heard = edge

    def _check_window(self, own: End, segment: wire.Segment) -> None:
        """RFC 9293, 3.8.6: nothing beyond the window of the peer."""
        if segment.flags & wire.SYN or not segment.length or own.edge_heard is None:
            return
        end = (segment.sequence + segment.length) & _MASK
        if after(end, own.edge_heard) > 0:
            raise ViolationError(f"bytes up to {end}, where the window ends at {own.edge_heard}")

    def _check_acknowledgement(self, own: End, segment: wire.Segment) -> None:
        """Acknowledged is what has come, never less than before; the window's right edge does not go back
        (3.8.6.2.2), but for what its scale rounds off (RFC 7323, 2.4)."""
        if own.heard_until is not None and after(segment.acknowledgement, own.heard_until) > 0:
            raise ViolationError(f"{segment.acknowledgement} acknowledged, {own.heard_until} has come")
        if own.next_expected is not None and after(segment.acknowledgement, own.next_expected) < 0:
            raise ViolationError(f"{segment.acknowledgement} acknowledged after {own.next_expected}")
        own.next_expected = segment.acknowledgement
        if segment.flags & wire.SYN:
            return
        edge = (segment.acknowledgement + (segment.window << own.scale)) & _MASK
        if own.edge is not None and after(edge, own.edge) < -((1 << own.scale) - 1):
            raise ViolationError(f"the window's edge went back from {own.edge} to {edge}")
        if own.edge is None or after(edge, own.edge) > 0:
            own.edge = edge
        self._check_sacks(own, segment)

    def _check_sacks(self, own: End, segment: wire.Segment) -> None:
        """RFC 2018, 4: what has come, and is not acknowledged; the first may be what came twice (RFC 2883)."""
        blocks = wire.read_options(segment).get(SACK, b"") if len(segment.header) > 12 else b""
        for at in range(0, len(blocks), 8):
            left, right = struct.unpack_from(">II", blocks, at)
            if after(right, left) <= 0:
                raise ViolationError(f"SACK of [{left}, {right})")
            if own.heard_until is not None and after(right, own.heard_until) > 0:
                raise ViolationError(f"SACK up to {right}, {own.heard_until} has come")
            if at and after(left, segment.acknowledgement) <= 0:
                raise ViolationError(f"SACK from {left}, {segment.acknowledgement} is acknowledged")
