"""A process between two hosts that treats frames badly: loses, delays, doubles and reorders them. (This kernel has no
netem, and XDP cannot delay.)

It stands in a namespace of its own with a veth pair to each of both, and carries raw frames. What finds addresses (ARP,
ICMPv6) is never harmed: that would test the kernel's patience only.
"""

from __future__ import annotations

import gc
import heapq
import os
import random
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.wire.network import Host, Prefix, ip

FRAME_BYTES = 1 << 16
ETH_P_ALL = 3
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER_BYTES = 1 << 24
ETHERTYPE_AT, PROTOCOL_V6_AT = 12, 20
ARP, IPV6 = b"\x08\x06", b"\x86\xdd"
ICMPV6 = 58
SIDES = ("left", "right")


@dataclass(frozen=True)
class Treatment:
    """What happens to frames: shares between 0 and 1, times in seconds."""

    loss: float = 0
    doubled: float = 0
    late: float = 0  # so many come later, by up to late_s: others overtake them
    late_s: float = 0.005
    delay_s: float = 0


def finds_addresses(frame: bytes) -> bool:
    kind = frame[ETHERTYPE_AT : ETHERTYPE_AT + 2]
    return kind == ARP or (kind == IPV6 and frame[PROTOCOL_V6_AT] == ICMPV6)


class Relay:
    """Both directions, with the numbers of one seed."""

    def __init__(self, treatment: Treatment, seed: int) -> None:
        self.treatment = treatment
        self.random = random.Random(seed)
        self.sockets = [self._open(side) for side in SIDES]
        self.waiting: list[tuple[float, int, int, bytes]] = []
        self.order = 0

    @staticmethod
    def _open(adapter: str) -> socket.socket:
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):  # what is lost is to be ours to say
            one.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        one.bind((adapter, ETH_P_ALL))
        one.setblocking(False)
        return one

    def run(self) -> None:
        """For ever."""
        while True:
            timeout = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            for one in select.select(self.sockets, [], [], timeout)[0]:
                self._take(self.sockets.index(one))
            self._send_due()

    def _take(self, side: int) -> None:
        for _ in range(64):
            try:
                frame, place = self.sockets[side].recvfrom(FRAME_BYTES)
            except BlockingIOError:
                return
            if place[2] != socket.PACKET_OUTGOING:
                self._carry(1 - side, frame)

    def _carry(self, to: int, frame: bytes) -> None:
        now, draw = self.treatment, self.random.random
        if finds_addresses(frame):
            self._wait(0, to, frame)
            return
        if draw() < now.loss:
            return
        self._wait(now.delay_s + (draw() * now.late_s if draw() < now.late else 0), to, frame)
        if draw() < now.doubled:
            self._wait(now.delay_s + draw() * now.late_s, to, frame)

    def _wait(self, wait_s: float, to: int, frame: bytes) -> None:
        self.order += 1
        heapq.heappush(self.waiting, (time.monotonic() + wait_s, self.order, to, frame))

    def _send_due(self) -> None:
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, _, to, frame = heapq.heappop(self.waiting)
            try:
                self.sockets[to].send(frame)
            except OSError:  # its queue is full, as that of a line may be
                continue


@contextmanager
def hosts_apart(treatment: Treatment, seed: int) -> Iterator[tuple[Host, Host]]:
    """Two hosts with a relay between them."""
    with Prefix() as prefix:
        one, other = prefix.host(1), prefix.host(2)
        between = prefix.bare("relay")
        for host, side in zip((one, other), SIDES, strict=True):
            ip("link", "add", "eth", "netns", host.name, "type", "veth", "peer", "name", side, "netns", between.name)
            between.ip("link", "set", side, "up")
            host.bring_up()
            host.ip("link", "set", "eth", "gso_max_segs", "1")  # frames of a packet each
        with between.process(lambda: run_relay(treatment, seed)):
            yield one, other


def run_relay(treatment: Treatment, seed: int) -> None:
    gc.freeze()
    os.nice(-5)
    Relay(treatment, seed).run()
