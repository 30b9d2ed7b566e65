"""Calls that sleep, and what wakes them: bytes, ends, deaths, signals."""

from __future__ import annotations

import signal
import socket as s
from select import EPOLLET, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLRDHUP, POLLIN, POLLPRI

from ..case import Value, end_of, other_end
from .base import EPOLL_WAITS, FOREVER_MS, POLLRDHUP, POLLS, RECEIVES, SENDS, Holder
from .lives import Lives
from .transfers import STRICT_FLIGHT
from .waits import EPOLL_ADD, Waits


class Sleeps(Lives, Waits):
    def blocked_receive(self) -> None:
        """Somebody sleeps in a call; then something happens."""
        holder = self.holder()
        if holder is None or self.under_way_to(holder):
            return
        peers = self.peers_of(holder)
        if not peers or not self.may_block(holder):
            return
        whole = self.chance(15)  # as much as a ring does not hold, and Linux shows at once
        size = min(self.options["ring_bytes"] + 8, STRICT_FLIGHT) if whole else self.size()
        way = self.sleep_in_call(holder, size)
        peer = self.random.choice(peers)
        end = end_of(peer.slot) or ""
        event = self.random.choices(("send", "shutdown", "close", "signal", "kill", "reset"), (60, 10, 8, 12, 4, 6))[0]
        if way == "all" and size > 1 and end not in self.model.finished and self.chance(50):
            self.end_after_a_part(holder, peer, size)
            return
        if event == "signal":
            self.do(holder.actor, "signal", signal=int(signal.SIGUSR1 if self.chance(80) else signal.SIGURG))
            event = "send"
        if event == "send":
            sent = size if whole else self.random.choice((size, 1, max(size // 2, 1), size + 1))
            self.do(peer.actor, "send", fd=peer.slot, len=sent, api=self.random.choice(SENDS))
            if end not in self.model.finished:
                self.model.flight[end] = max(self.model.flight.get(end, 0) + sent - size, 0)
        elif event == "shutdown":
            self.do(peer.actor, "shutdown", fd=peer.slot, how=int(s.SHUT_WR))
            self.model.finished.add(end)
        elif event == "close":
            self.close(peer)
        elif event == "kill":
            self.kill(peer.actor)
        else:
            self.do(peer.actor, "setsockopt", fd=peer.slot, level=1, name=int(s.SO_LINGER), value=0)
            self.close(peer)

    def end_after_a_part(self, holder: Holder, peer: Holder, size: int) -> None:
        """Somebody waits for all, and gets a part and the end: the part is its result, an error the next call's."""
        self.do(peer.actor, "send", fd=peer.slot, len=self.random.randint(1, size - 1))
        if self.chance(70):
            self.do(peer.actor, "setsockopt", fd=peer.slot, level=1, name=int(s.SO_LINGER), value=0)
        self.close(peer)
        self.look_at_end(holder)

    def sleep_in_call(self, holder: Holder, size: int) -> str:
        """In which way."""
        way = self.random.choices(("recv", "poll", "select", "epoll", "all"), (50, 20, 8, 14, 8))[0]
        timeout = self.random.choice(FOREVER_MS)
        timed = {"timed": 1} if end_of(holder.slot) in self.model.timeouts else {}
        if way == "poll":
            events = POLLIN | self.random.choice((0, POLLRDHUP, POLLPRI))
            self.do(
                holder.actor, "poll", items=[[holder.slot, events]], timeout_ms=timeout, api=self.random.choice(POLLS)
            )
        elif way == "select":
            api = self.random.choice(("select", "pselect"))
            self.do(holder.actor, "select", items=[[holder.slot, 1]], timeout_ms=timeout, api=api)
        elif way == "epoll":
            epoll = self.epoll_of(holder.actor)
            self.watch(epoll, holder, EPOLLIN | self.random.choice((0, EPOLLET, EPOLLRDHUP, EPOLLONESHOT)))
            api = self.random.choice(EPOLL_WAITS)
            self.do(holder.actor, "epoll_wait", epfd=epoll, timeout_ms=timeout, api=api)
        else:
            flags = int(s.MSG_WAITALL) if way == "all" else 0
            arguments: dict[str, Value] = {"flags": flags} if flags else {}
            api = self.random.choice(("recv", "recvmsg", "recvfrom") if flags else RECEIVES[:5])
            self.do(holder.actor, "recv", fd=holder.slot, len=size, api=api, **arguments, **timed)
        return str(way)

    def blocked_send(self) -> None:
        """More than any buffer holds; the other end then reads, or goes."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers or not self.may_block(holder):
            return
        end = end_of(holder.slot) or ""
        if end in self.model.finished:
            return
        self.do(holder.actor, "setsockopt", fd=holder.slot, level=1, name=int(s.SO_SNDBUF), value=32_768)
        size = 1_500_000 + self.random.randint(0, 99)
        self.do(holder.actor, "send", fd=holder.slot, len=size, api=self.random.choice(("send", "write", "sendmsg")))
        peer = self.random.choice(peers)
        if self.chance(15):
            self.close(peer)
        elif self.chance(15):
            self.do(holder.actor, "signal", signal=int(signal.SIGUSR1))
        self.do(peer.actor, "drain", fd=peer.slot)
        self.model.flight[end] = 0

    def fresh_set(self, holder: Holder, events: int) -> str:
        name = self.fresh("e")
        self.do(holder.actor, "epoll_create", new=name)
        self.model.epolls.append(Holder(holder.actor, name))
        data = self.data_of(holder.slot)
        self.do(holder.actor, "epoll_ctl", epfd=name, fd=holder.slot, op=EPOLL_ADD, events=events, data=data)
        return name

    def polled_set(self) -> None:
        """A set of one socket is itself polled, or a member of another set, before or after bytes come."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers:
            return
        peer, end = self.random.choice(peers), end_of(holder.slot) or ""
        if end in self.model.low_waters:  # a bell says only that the ring has bytes
            return
        name = self.fresh_set(holder, EPOLLIN | self.random.choice((0, 0, EPOLLET, EPOLLOUT | EPOLLET)))
        asleep = self.chance(50) and not self.under_way_to(holder)
        if not asleep:
            self.do(peer.actor, "send", fd=peer.slot, len=10)
        timeout = 20_000 if asleep else 0
        if self.chance(60):
            self.do(holder.actor, "poll", items=[[name, POLLIN]], timeout_ms=timeout)
        else:
            outer = self.fresh("e")
            self.do(holder.actor, "epoll_create", new=outer)
            self.do(holder.actor, "epoll_ctl", epfd=outer, fd=name, op=EPOLL_ADD, events=EPOLLIN, data=7)
            self.do(holder.actor, "epoll_wait", epfd=outer, timeout_ms=timeout)
        if asleep:
            self.do(peer.actor, "send", fd=peer.slot, len=10)
        self.do(holder.actor, "epoll_wait", epfd=name, timeout_ms=0)
        if other_end(end) not in self.model.finished:
            self.model.flight[other_end(end)] = self.under_way_to(holder) + 10

    def writable_set(self) -> None:
        """What is sent goes by the ring, then by the kernel: a set goes on showing that more may be sent."""
        holder = self.holder()
        end = end_of(holder.slot) or "" if holder else ""
        if holder is None or not self.peers_of(holder) or self.model.flight.get(end, 0) or end in self.model.finished:
            return
        name = self.fresh_set(holder, EPOLLIN | EPOLLOUT)
        for size in (10, min(self.options["ring_bytes"] + 1000, STRICT_FLIGHT - 10)):
            self.do(holder.actor, "send", fd=holder.slot, len=size)
            self.do(holder.actor, "epoll_wait", epfd=name, timeout_ms=0)
            self.model.flight[end] = self.model.flight.get(end, 0) + size

    def closed_but_shared(self) -> None:
        """A set goes on showing a socket that was closed here, as long as another process holds it."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers or holder.actor not in ("c0", "s0") or self.topology not in ("two", "family"):
            return
        peer, end = self.random.choice(peers), end_of(holder.slot) or ""
        name = self.fresh_set(holder, EPOLLIN | self.random.choice((0, EPOLLRDHUP, EPOLLRDHUP | EPOLLET)))
        if self.fork_of(holder.actor) is None:
            return
        for act in self.random.sample((0, 1), k=2):
            if act:
                self.close(holder)
            else:
                self.do(peer.actor, "send", fd=peer.slot, len=10)
        self.do(holder.actor, "epoll_wait", epfd=name, timeout_ms=0)
        if other_end(end) not in self.model.finished:
            self.model.flight[other_end(end)] = self.under_way_to(holder) + 10

    def edge_by_shutdown(self) -> None:
        """An edge-triggered item has shown its bytes; then the program's own shutdown is an edge."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers:
            return
        name = self.fresh_set(holder, EPOLLIN | EPOLLET | self.random.choice((0, EPOLLOUT, EPOLLRDHUP)))
        peer, end = self.random.choice(peers), end_of(holder.slot) or ""
        self.do(peer.actor, "send", fd=peer.slot, len=10)
        self.do(holder.actor, "epoll_wait", epfd=name, timeout_ms=0)
        self.do(holder.actor, "shutdown", fd=holder.slot, how=int(s.SHUT_WR))
        self.do(holder.actor, "epoll_wait", epfd=name, timeout_ms=0)
        self.model.finished.add(end)
        if other_end(end) not in self.model.finished:
            self.model.flight[other_end(end)] = self.under_way_to(holder) + 10

    def half_closed_peer_ends(self) -> None:
        """Somebody waits for errors; the other end has sent its end already, and goes with or without bytes unread."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers:
            return
        peer = self.random.choice(peers)
        if self.chance(70):
            self.do(holder.actor, "send", fd=holder.slot, len=self.random.randint(1, 3000))
        self.do(peer.actor, "shutdown", fd=peer.slot, how=int(s.SHUT_WR))
        self.model.finished.add(end_of(peer.slot) or "")
        if self.chance(30):
            self.do(holder.actor, "send", fd=holder.slot, len=self.random.randint(1, 3000))
        if self.chance(60):
            items: Value = [[holder.slot, self.random.choice((0, POLLPRI))]]
            self.do(holder.actor, "poll", items=items, timeout_ms=20_000, api=self.random.choice(POLLS))
        else:
            epoll = self.epoll_of(holder.actor)
            self.watch(epoll, holder, self.random.choice((0, EPOLLET, EPOLLIN | EPOLLET, EPOLLIN | EPOLLOUT | EPOLLET)))
            for _ in range(2):
                self.do(holder.actor, "epoll_wait", epfd=epoll, timeout_ms=self.random.choice((0, 20_000)))
        if self.chance(50):
            self.kill(peer.actor)
        else:
            self.close(peer)
        if self.chance(70):
            self.look_at_end(holder)

    def unread_for_long(self) -> None:
        """The ring is full and nobody reads; the sender goes on, with pauses, and so tries the ring again and again."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        end, ring = end_of(holder.slot) or "" if holder else "", self.options["ring_bytes"]
        if holder is None or not peers or self.model.flight.get(end, 0) or ring > 8192 or end in self.model.finished:
            return
        for size in (ring, 100, 100, 100, 100, 100, 100):
            self.do(holder.actor, "send", fd=holder.slot, len=size)
            self.do(holder.actor, "poll", items=[[holder.slot, 0]], timeout_ms=8, timed=1)
        self.do(peers[0].actor, "drain", fd=peers[0].slot)

    def low_water(self) -> None:
        """A receive that sleeps goes on when as much as SO_RCVLOWAT is there, also where it wants less."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers or self.under_way_to(holder) or not self.may_block(holder):
            return
        peer, end = self.random.choice(peers), end_of(holder.slot) or ""
        if end in self.model.finished:  # the acknowledgement of FIN, which may be late, wakes the receive too
            return
        self.do(holder.actor, "setsockopt", fd=holder.slot, level=1, name=int(s.SO_RCVLOWAT), value=100)
        self.model.low_waters.add(end)
        timed = {"timed": 1} if end in self.model.timeouts else {}
        self.do(holder.actor, "recv", fd=holder.slot, len=self.random.choice((10, 200)), **timed)
        for size in (20, self.random.choice((80, 200))):
            self.do(peer.actor, "send", fd=peer.slot, len=size)
        if self.chance(70):
            self.do(holder.actor, "setsockopt", fd=holder.slot, level=1, name=int(s.SO_RCVLOWAT), value=1)
        self.do(holder.actor, "drain", fd=holder.slot)

    def two_sleepers(self) -> None:
        """Where a set has the only bell, a thread that sleeps in a receive has none; another wakes before it."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers or not self.may_block(holder) or holder.actor not in ("c0", "s0"):
            return
        self.options["bells"] = 1
        self.do(holder.actor, "drain", fd=holder.slot)
        self.model.flight[other_end(end_of(holder.slot) or "")] = 0
        self.fresh_set(holder, EPOLLIN)
        self.do(holder.actor, "recv", fd=holder.slot, len=10)
        other = holder.actor[0] + "1"
        self.do(other, "poll", items=[[holder.slot, POLLIN]], timeout_ms=12, timed=1)
        peer = self.random.choice(peers)
        self.do(peer.actor, "send", fd=peer.slot, len=10, flags=int(s.MSG_NOSIGNAL))

    def closed_under_a_sleeper(self) -> None:
        """A thread closes what another sleeps on: the call holds the socket until it ends."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers or self.under_way_to(holder) or not self.may_block(holder):
            return
        others = [h for h in self.model.holders if h.slot == holder.slot and h.actor[0] == holder.actor[0]]
        others = [h for h in others if h.actor != holder.actor and h.actor[1] in "01" and holder.actor[1] in "01"]
        if not others:
            return
        self.do(holder.actor, "recv", fd=holder.slot, len=100, api=self.random.choice(("recv", "read", "recvmsg")))
        self.close(others[0])
        peer = self.random.choice(peers)
        self.do(peer.actor, "send", fd=peer.slot, len=self.random.choice((1, 100, 5000)), flags=int(s.MSG_NOSIGNAL))
        self.look_at_end(peer)

    def signals(self) -> None:
        actors = [a for a in self.actors() if a not in ("c1", "s1")]
        if not actors:
            return
        actor = self.random.choice(actors)
        if self.topology == "one" and actor == "s0":
            return  # its signals are blocked: it is the second thread
        number = int(self.random.choice((signal.SIGUSR1, signal.SIGPIPE, signal.SIGALRM)))
        modes = (
            ("handle", "restart", "ignore", "default") if number == signal.SIGPIPE else ("handle", "restart", "ignore")
        )
        self.do(actor, "sigaction", signal=number, mode=self.random.choice(modes))
        way = self.random.choice(("nothing", "idle", "alarm", "masked"))
        mine = [h for h in self.model.holders if h.actor == actor]
        if way == "idle" and number == signal.SIGUSR1:
            self.do(actor, "signal", signal=number)
        elif way == "alarm" and number == signal.SIGALRM and mine and not self.under_way_to(mine[0]):
            self.do(actor, "alarm", after_us=25_000)
            if self.chance(60):
                self.do(actor, "recv", fd=mine[0].slot, len=5, timed=1)
            else:
                items: Value = [[mine[0].slot, POLLIN]]
                self.do(actor, "poll", items=items, timeout_ms=20_000, timed=1, api=self.random.choice(POLLS))
            for peer in self.peers_of(mine[0])[:1]:
                self.do(peer.actor, "send", fd=peer.slot, len=5)
        elif way == "masked" and number == signal.SIGUSR1 and mine:
            self.do(actor, "sigprocmask", signal=number, how="block")
            self.do(actor, "signal", signal=number)
            self.do(actor, "poll", items=[[mine[0].slot, POLLIN]], timeout_ms=0, api="ppoll", mask="empty")
            self.do(actor, "sigprocmask", signal=number, how="unblock")
