"""Bytes: send and receive in all their spellings."""

from __future__ import annotations

import socket as s
from select import POLLIN, POLLPRI

from ..case import Value, end_of, other_end
from .base import RECEIVES, SENDS, TCP_NODELAY, Base, Holder

MSG_ERRQUEUE = 0x2000
CHECKED_RECEIVES = ("__recv_chk", "__recvfrom_chk", "__read_chk")
NO_FLAGS = ("write", "writev", "sendfile", "pwritev2", "read", "readv", "preadv2", "__read_chk", "stdio", "dprintf")
STRICT_FLIGHT = 32_768
FLIGHT_MAX = 1_500_000


class Transfers(Base):
    def send(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        end = end_of(holder.slot) or ""
        size, under_way = self.size(), self.model.flight.get(end, 0)
        api = self.random.choice(SENDS)
        flags = 0
        if api not in NO_FLAGS:
            flags = int(
                self.random.choice((0, 0, 0, s.MSG_NOSIGNAL, s.MSG_DONTWAIT, s.MSG_MORE if self.chance(20) else 0))
            )
            if size + under_way > 200_000:
                flags |= int(s.MSG_DONTWAIT)
        elif size + under_way > 200_000:
            size = min(size, 2000)
        if under_way > FLIGHT_MAX:
            return
        if flags & s.MSG_MORE:
            flags &= ~int(s.MSG_MORE) if api == "sendmmsg" else ~0
        arguments: dict[str, Value] = {"fd": holder.slot, "len": size, "api": api}
        if flags:
            arguments["flags"] = flags
        if api in ("sendmsg", "writev", "pwritev2"):
            arguments["parts"] = self.random.choice((1, 2, 3, 7))
        self.do(holder.actor, "send", **arguments)
        if flags & s.MSG_MORE:  # held back for up to 200 ms: let it go, or the rest waits on a clock
            self.do(holder.actor, "setsockopt", fd=holder.slot, level=6, name=TCP_NODELAY, value=1)
        if end not in self.model.finished:
            self.model.flight[end] = under_way + size

    def held_back(self) -> None:
        """What is sent with MSG_MORE is not shown before the next send without it."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers or self.model.flight.get(end_of(holder.slot) or "", 0) > STRICT_FLIGHT:
            return
        peer, more = self.random.choice(peers), self.random.choice((1, 100))
        self.do(holder.actor, "setsockopt", fd=holder.slot, level=6, name=TCP_NODELAY, value=1)
        self.do(holder.actor, "send", fd=holder.slot, len=more, flags=int(s.MSG_MORE))
        self.do(peer.actor, "ioctl", fd=peer.slot, api="FIONREAD")
        self.do(holder.actor, "send", fd=holder.slot, len=10)
        self.do(peer.actor, "ioctl", fd=peer.slot, api="FIONREAD")
        end = end_of(holder.slot) or ""
        if end not in self.model.finished:
            self.model.flight[end] = self.model.flight.get(end, 0) + more + 10

    def receive_size(self, waiting: int) -> int:
        pick = self.random
        return pick.choice(
            (max(waiting, 1), waiting + 1, max(waiting // 2, 1), pick.randint(1, 64), self.size(), 65536)
        )

    def receive(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        waiting = self.under_way_to(holder)
        size = self.receive_size(waiting)
        api = self.random.choice(RECEIVES if self.chance(85) else CHECKED_RECEIVES)
        flags = 0
        if api not in NO_FLAGS:
            flags = int(
                self.random.choices(
                    (0, s.MSG_PEEK, s.MSG_WAITALL, s.MSG_TRUNC, s.MSG_PEEK | s.MSG_WAITALL, MSG_ERRQUEUE),
                    (60, 18, 10, 6, 4, 2),
                )[0]
            )
            if flags & MSG_ERRQUEUE or (
                self.chance(90) and (waiting == 0 or (flags & s.MSG_WAITALL and size > waiting))
            ):
                flags |= int(s.MSG_DONTWAIT)
        elif waiting == 0 and self.may_block(holder) and self.chance(90):
            api, flags = "recv", int(s.MSG_DONTWAIT)
        if api == "recvmmsg":  # two peeks show the same bytes, which is not a stream
            flags = flags & ~int(s.MSG_PEEK) | (int(s.MSG_DONTWAIT) if size > waiting else 0)
        arguments: dict[str, Value] = {"fd": holder.slot, "len": size, "api": api}
        if flags:
            arguments["flags"] = flags
        if api in ("recvmsg", "readv", "preadv2"):
            arguments["parts"] = self.random.choice((1, 2, 3, 7))
        if end_of(holder.slot) in self.model.timeouts:
            arguments["timed"] = 1
        self.do(holder.actor, "recv", **arguments)
        if not flags & s.MSG_PEEK:
            self.took(holder, size)

    def took(self, holder: Holder, size: int) -> None:
        stream = other_end(end_of(holder.slot) or "")
        self.model.flight[stream] = max(self.model.flight.get(stream, 0) - size, 0)

    def drain(self) -> None:
        holder = self.holder()
        if holder is not None:
            self.do(holder.actor, "drain", fd=holder.slot)
            self.model.flight[other_end(end_of(holder.slot) or "")] = 0

    def ping_pong(self) -> None:
        """Requests and answers, as most programs do."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers or self.under_way_to(holder) or self.under_way_to(peers[0]):
            return
        peer = self.random.choice(peers)
        for _ in range(self.random.randint(1, 3)):
            size = min(self.size(), STRICT_FLIGHT)
            for one, two in ((holder, peer), (peer, holder)):
                self.do(one.actor, "send", fd=one.slot, len=size, api=self.random.choice(("send", "write", "writev")))
                timed = {"timed": 1} if end_of(two.slot) in self.model.timeouts else {}
                self.do(two.actor, "recv", fd=two.slot, len=size, flags=int(s.MSG_WAITALL), **timed)

    def zero_length(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        if self.chance(50):
            self.do(holder.actor, "send", fd=holder.slot, len=0, api=self.random.choice(SENDS[:6]))
        elif self.under_way_to(holder) or not self.may_block(holder):
            self.do(holder.actor, "recv", fd=holder.slot, len=0, api=self.random.choice(RECEIVES[:3]))

    def bad_pointer(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        size = self.random.choice((1, 100, 5000))
        if self.chance(50):
            api = self.random.choice(("send", "sendto", "write", "sendmsg", "writev"))
            self.do(holder.actor, "send", fd=holder.slot, len=size, api=api, pointer="bad")
        else:
            api = self.random.choice(("recv", "recvfrom", "recvmsg", "syscall"))
            flags = int(s.MSG_DONTWAIT)
            self.do(holder.actor, "recv", fd=holder.slot, len=size, api=api, pointer="bad", flags=flags)

    def out_of_band(self) -> None:
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers:
            return
        size = self.random.choice((1, 3, 100))
        peer = self.random.choice(peers)
        if self.chance(50) and not self.under_way_to(peer):
            self.both_carriers(holder, peer)
        self.do(holder.actor, "send", fd=holder.slot, len=size, flags=int(s.MSG_OOB))
        self.do(peer.actor, "ioctl", fd=peer.slot, api="SIOCATMARK")
        self.do(peer.actor, "poll", items=[[peer.slot, POLLIN | POLLPRI]], timeout_ms=0)
        if self.chance(70):
            self.do(peer.actor, "recv", fd=peer.slot, len=1, flags=int(s.MSG_OOB))
        end = end_of(holder.slot) or ""
        self.model.flight[end] = self.model.flight.get(end, 0) + size - 1

    def both_carriers(self, holder: Holder, peer: Holder) -> None:
        """Unread bytes in the kernel, since no ring holds them, and unread bytes in the ring behind them."""
        large = self.options["ring_bytes"] + 1000
        if large > STRICT_FLIGHT:
            return
        self.do(holder.actor, "send", fd=holder.slot, len=large)
        self.do(peer.actor, "recv", fd=peer.slot, len=100, flags=int(s.MSG_DONTWAIT))
        self.do(holder.actor, "send", fd=holder.slot, len=50)
        end = end_of(holder.slot) or ""
        if end not in self.model.finished:
            self.model.flight[end] = self.model.flight.get(end, 0) + large - 50

    def stdio(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        waiting = self.under_way_to(holder)
        if waiting and waiting < STRICT_FLIGHT:
            size = self.random.randint(1, waiting)
            self.do(holder.actor, "recv", fd=holder.slot, len=size, api="stdio")
            self.took(holder, size)
        else:
            end, size = end_of(holder.slot) or "", self.random.randint(1, 3000)
            self.do(holder.actor, "send", fd=holder.slot, len=size, api=self.random.choice(("stdio", "dprintf")))
            self.model.flight[end] = self.model.flight.get(end, 0) + size

    def splice(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        waiting = self.under_way_to(holder)
        if 0 < waiting < STRICT_FLIGHT:
            self.do(holder.actor, "recv", fd=holder.slot, len=waiting, api="splice", flags=int(s.MSG_DONTWAIT))
            self.do(holder.actor, "drain", fd=holder.slot)
            self.took(holder, waiting)
        else:
            end, size = end_of(holder.slot) or "", self.random.randint(1, 3000)
            self.do(holder.actor, "send", fd=holder.slot, len=size, api="splice", flags=int(s.MSG_DONTWAIT))
            self.model.flight[end] = self.model.flight.get(end, 0) + size
