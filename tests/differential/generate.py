"""Makes a case from a seed: one connection or two, then a random walk over what programs do with sockets.

The walk keeps a rough model (who holds which end, how much is under way) so that most calls mean something; it does not
have to be right, since every sequence of steps is a valid case. One method a subject; WEIGHTS says how often.
"""

from __future__ import annotations

import random
import signal
import socket as s
from collections.abc import Callable
from dataclasses import dataclass, field
from select import (
    EPOLLERR,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
)

from .case import Case, Step, Value, end_of, other_end

POLLRDHUP = 0x2000
EPOLL_ADD, EPOLL_DEL, EPOLL_MOD = 1, 2, 3
F_GETFD, F_SETFD, F_GETFL, F_SETFL, FD_CLOEXEC, O_RDWR, O_NONBLOCK = 1, 2, 3, 4, 1, 2, 0o4000
MSG_ERRQUEUE = 0x2000
TCP_INFO, TCP_NODELAY, TCP_CORK, TCP_QUICKACK, TCP_MAXSEG = 11, 1, 3, 12, 2
FOREVER_MS, SHORT_MS = (-1, 20_000), (8, 15)
SENDS = ("send", "sendto", "write", "sendmsg", "writev", "sendmmsg", "sendfile", "syscall", "pwritev2")
RECEIVES = ("recv", "recvfrom", "read", "recvmsg", "readv", "recvmmsg", "syscall", "preadv2")
CHECKED_RECEIVES = ("__recv_chk", "__recvfrom_chk", "__read_chk")
NO_FLAGS = ("write", "writev", "sendfile", "pwritev2", "read", "readv", "preadv2", "__read_chk", "stdio", "dprintf")
POLLS = ("poll", "ppoll", "__poll_chk")
EPOLL_WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")
WALK_MIN, WALK_MAX = 8, 34
STRICT_FLIGHT = 32_768
FLIGHT_MAX = 1_500_000


@dataclass
class Holder:
    actor: str
    slot: str


@dataclass
class Model:
    """What the generator believes."""

    flight: dict[str, int] = field(default_factory=dict)  # stream → bytes under way
    holders: list[Holder] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)  # ends that have shut down their sending
    nonblocking: set[str] = field(default_factory=set)  # ends
    timeouts: set[str] = field(default_factory=set)  # ends with a short SO_RCVTIMEO
    epolls: list[Holder] = field(default_factory=list)
    files: list[Holder] = field(default_factory=list)
    links: list[Holder] = field(default_factory=list)  # UNIX socket pairs, named u0.a and u0.b
    dead: set[str] = field(default_factory=set)
    children: dict[str, str] = field(default_factory=dict)  # actor → parent
    listeners: list[Holder] = field(default_factory=list)


class Generator:
    def __init__(self, seed: int, number: int) -> None:
        self.random = random.Random(f"byway {seed} {number}")
        self.seed = f"{seed}/{number}"
        self.steps: list[Step] = []
        self.model = Model()
        self.names = 0
        self.topology = self.random.choices(("two", "threads", "family", "one"), (70, 12, 9, 9))[0]
        self.options = self.choose_options()

    def choose_options(self) -> dict[str, int]:
        pick = self.random
        return {
            "attach_after": pick.choices((0, 2), (9, 1))[0],
            "attach_wait_us": pick.choices((0, 2000), (9, 1))[0],
            "ring_bytes": pick.choices((4096, 8192, 65536), (6, 2, 2))[0],
            "spin_us": pick.choice((0, 0, 50)),
            "bells": pick.choices((8, 1), (8, 2))[0],
            "overflow_spin_us": pick.choice((0, 0, 20)),
        }

    # -- small things --------------------------------------------------------------------------------------------------

    def do(self, actor: str, call: str, **arguments: Value) -> None:
        self.steps.append(Step(actor, call, arguments))

    def chance(self, percent: float) -> bool:
        return self.random.random() * 100 < percent

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names - 1}"

    def size(self) -> int:
        ring = self.options["ring_bytes"]
        pick = self.random
        kind = pick.choices(("tiny", "some", "ring", "rings", "large"), (35, 20, 25, 12, 8))[0]
        if kind == "tiny":
            return pick.randint(1, 64)
        if kind == "some":
            return pick.randint(65, 3000)
        if kind == "ring":
            return max(1, pick.choice((ring // 2, ring, ring, 2 * ring)) + pick.choice((-8, -1, 0, 1, 8)))
        if kind == "rings":
            return pick.randint(2048, 30_000)
        return pick.randint(30_000, 300_000)

    def holder(self, sides: str = "cs") -> Holder | None:
        """A live end, with an actor that has it."""
        choices = [h for h in self.model.holders if h.actor not in self.model.dead and h.actor[0] in sides]
        return self.random.choice(choices) if choices else None

    def peers_of(self, holder: Holder) -> list[Holder]:
        """Holders of the other end that are not the same actor."""
        other = other_end(end_of(holder.slot) or "")
        return [
            h
            for h in self.model.holders
            if end_of(h.slot) == other and h.actor != holder.actor and h.actor not in self.model.dead
        ]

    def under_way_to(self, holder: Holder) -> int:
        return self.model.flight.get(other_end(end_of(holder.slot) or ""), 0)

    def may_block(self, holder: Holder) -> bool:
        return end_of(holder.slot) not in self.model.nonblocking

    def actors(self) -> list[str]:
        return sorted({h.actor for h in self.model.holders} - self.model.dead)

    # -- connections ---------------------------------------------------------------------------------------------------

    def connection(self) -> None:
        pick = self.random
        number = len({(end_of(h.slot) or "")[:-1] for h in self.model.holders})
        name, listener = f"k{number}", self.fresh("L")
        family, address, target_family, target = pick.choice(
            (
                (s.AF_INET, "127.0.0.1", s.AF_INET, "127.0.0.1"),
                (s.AF_INET, "0.0.0.0", s.AF_INET, "127.0.0.1"),
                (s.AF_INET6, "::1", s.AF_INET6, "::1"),
                (s.AF_INET6, "::", s.AF_INET6, "::ffff:127.0.0.1"),
                (s.AF_INET6, "::", s.AF_INET, "127.0.0.1"),
            )
        )
        self.do("s0", "socket", family=int(family), new=listener)
        if self.chance(30):
            self.do("s0", "setsockopt", fd=listener, level=1, name=int(s.SO_REUSEADDR), value=1)
        small = self.chance(4)
        if small:
            self.do("s0", "setsockopt", fd=listener, level=1, name=int(s.SO_RCVBUF), value=16_384)
        self.do("s0", "bind", fd=listener, family=int(family), address=address)
        self.do("s0", "listen", fd=listener, backlog=pick.choice((1, 16)))
        self.do("s0", "name", fd=listener, api="sock")
        kind = int(s.SOCK_STREAM) | (int(s.SOCK_NONBLOCK) if self.chance(20) else 0)
        self.do("c0", "socket", family=int(target_family), type=kind, new=f"{name}c")
        if small:
            self.do("c0", "setsockopt", fd=f"{name}c", level=1, name=int(s.SO_SNDBUF), value=16_384)
        self.model.listeners.append(Holder("s0", listener))
        if kind & s.SOCK_NONBLOCK:
            self.model.nonblocking.add(f"{name}c")
        self.meet(name, listener, int(target_family), target)
        self.model.holders += [Holder("c0", f"{name}c"), Holder("s0", f"{name}s")]
        if self.topology == "threads":
            self.model.holders += [Holder("c1", f"{name}c"), Holder("s1", f"{name}s")]
        if self.chance(94):
            self.warm_up(name)

    def meet(self, name: str, listener: str, family: int, address: str) -> None:
        pick = self.random
        accept_flags = int(s.SOCK_NONBLOCK) if self.chance(15) else 0
        api = pick.choice(("accept", "accept4", "accept4"))
        if accept_flags and api == "accept4":
            self.model.nonblocking.add(f"{name}s")
        accept_first = self.chance(15)

        def accept() -> None:
            self.do("s0", "accept", fd=listener, api=api, flags=accept_flags, new=f"{name}s")

        if accept_first:
            accept()
        if self.chance(10):
            self.do("c0", "poll", items=[[f"{name}c", POLLIN | POLLOUT]], timeout_ms=0)
        self.do("c0", "connect", fd=f"{name}c", family=family, address=address, port_of=listener)
        if f"{name}c" in self.model.nonblocking or self.chance(5):
            self.do("c0", "poll", items=[[f"{name}c", POLLOUT]], timeout_ms=20_000)
            self.do("c0", "getsockopt", fd=f"{name}c", level=1, name=int(s.SO_ERROR), bytes=4)
            if self.chance(30):
                self.do("c0", "connect", fd=f"{name}c", family=family, address=address, port_of=listener)
        if not accept_first:
            accept()
        if self.chance(60) and f"{name}c" in self.model.nonblocking:
            self.model.nonblocking.discard(f"{name}c")
            self.do("c0", "fcntl", fd=f"{name}c", command=F_SETFL, value=O_RDWR)

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

    # -- bytes ---------------------------------------------------------------------------------------------------------

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
                self.do(two.actor, "recv", fd=two.slot, len=size, flags=int(s.MSG_WAITALL))

    def blocked_receive(self) -> None:
        """Somebody sleeps in a call; then something happens."""
        holder = self.holder()
        if holder is None or self.under_way_to(holder):
            return
        peers = self.peers_of(holder)
        if not peers or not self.may_block(holder):
            return
        size = self.size()
        self.sleep_in_call(holder, size)
        peer = self.random.choice(peers)
        end = end_of(peer.slot) or ""
        event = self.random.choices(("send", "shutdown", "close", "signal", "kill", "reset"), (60, 10, 8, 12, 4, 6))[0]
        if event == "signal":
            self.do(holder.actor, "signal", signal=int(signal.SIGUSR1 if self.chance(80) else signal.SIGURG))
            event = "send"
        if event == "send":
            sent = self.random.choice((size, 1, max(size // 2, 1), size + 1))
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

    def sleep_in_call(self, holder: Holder, size: int) -> None:
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
        self.do(holder.actor, "send", fd=holder.slot, len=size, flags=int(s.MSG_OOB))
        peer = self.random.choice(peers)
        self.do(peer.actor, "ioctl", fd=peer.slot, api="SIOCATMARK")
        self.do(peer.actor, "poll", items=[[peer.slot, POLLIN | POLLPRI]], timeout_ms=0)
        if self.chance(70):
            self.do(peer.actor, "recv", fd=peer.slot, len=1, flags=int(s.MSG_OOB))
        end = end_of(holder.slot) or ""
        self.model.flight[end] = self.model.flight.get(end, 0) + size - 1

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

    # -- readiness -----------------------------------------------------------------------------------------------------

    def slots_of(self, actor: str) -> list[str]:
        slots = [h.slot for h in self.model.holders if h.actor == actor]
        return slots + [f.slot for f in self.model.files if f.actor == actor]

    def poll(self) -> None:
        actors = self.actors()
        if not actors:
            return
        actor = self.random.choice(actors)
        slots = self.random.sample(self.slots_of(actor), k=min(3, len(self.slots_of(actor))))
        timeout = self.random.choices((0, self.random.choice(SHORT_MS)), (85, 15))[0]
        timed = {"timed": 1} if timeout else {}
        if self.chance(70):
            masks = (POLLIN, POLLIN | POLLOUT, POLLIN | POLLRDHUP, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0, POLLRDHUP)
            items: Value = [[slot, self.random.choice(masks)] for slot in slots]
            api = self.random.choice(POLLS)
            self.do(actor, "poll", items=items, timeout_ms=timeout, api=api, **timed)
        else:
            items = [[slot, self.random.choice((1, 3, 7, 2))] for slot in slots]
            api = self.random.choice(("select", "pselect"))
            self.do(actor, "select", items=items, timeout_ms=timeout, api=api, **timed)

    def epoll_of(self, actor: str) -> str:
        mine = [e.slot for e in self.model.epolls if e.actor == actor]
        if mine and self.chance(80):
            return self.random.choice(mine)
        name = self.fresh("e")
        self.do(actor, "epoll_create", new=name)
        self.model.epolls.append(Holder(actor, name))
        return name

    def data_of(self, slot: str) -> int:
        return sum(ord(letter) * (place + 1) for place, letter in enumerate(slot))

    def watch(self, epoll: str, holder: Holder, events: int) -> None:
        operation = self.random.choices((EPOLL_ADD, EPOLL_MOD), (75, 25))[0]
        data = self.data_of(holder.slot)
        self.do(holder.actor, "epoll_ctl", epfd=epoll, fd=holder.slot, op=operation, events=events, data=data)
        if operation == EPOLL_MOD:  # was it there? then one of the two fails, as it must
            self.do(holder.actor, "epoll_ctl", epfd=epoll, fd=holder.slot, op=EPOLL_ADD, events=events, data=data)

    def epoll_change(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        epoll = self.epoll_of(holder.actor)
        masks = (EPOLLIN, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLRDHUP, EPOLLOUT, EPOLLIN | EPOLLPRI, EPOLLERR | EPOLLHUP)
        events = self.random.choice(masks) | self.random.choice((0, 0, EPOLLET, EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE))
        if self.chance(15):
            self.do(holder.actor, "epoll_ctl", epfd=epoll, fd=holder.slot, op=EPOLL_DEL)
        else:
            self.watch(epoll, holder, events)
        self.do(holder.actor, "epoll_wait", epfd=epoll, timeout_ms=0, api=self.random.choice(EPOLL_WAITS))

    def epoll_look(self) -> None:
        live = [e for e in self.model.epolls if e.actor not in self.model.dead]
        if not live:
            return self.epoll_change()
        epoll = self.random.choice(live)
        for _ in range(self.random.choice((1, 1, 2))):
            self.do(epoll.actor, "epoll_wait", epfd=epoll.slot, timeout_ms=0, api=self.random.choice(EPOLL_WAITS))
        if self.chance(15):
            self.do(epoll.actor, "poll", items=[[epoll.slot, POLLIN]], timeout_ms=0)
        return None

    def file(self) -> None:
        """A pipe, an eventfd or a timer among the watched; or a set inside a set."""
        actors = self.actors()
        if not actors:
            return
        actor, epoll = self.random.choice(actors), ""
        kind = self.random.choice(("pipe", "eventfd", "timerfd", "nested"))
        epoll = self.epoll_of(actor)
        name = self.fresh("f")
        if kind == "pipe":
            self.do(actor, "pipe", new=f"{name},{name}w", flags=O_NONBLOCK)
            self.do(actor, "write_file", fd=f"{name}w")
        elif kind == "eventfd":
            self.do(actor, "eventfd", new=name, value=self.random.choice((0, 1)))
        elif kind == "timerfd":
            self.do(actor, "timerfd", new=name, after_us=20_000_000)
        else:
            name = self.fresh("e")
            self.do(actor, "epoll_create", new=name)
            self.do(actor, "epoll_ctl", epfd=name, fd=epoll, op=EPOLL_ADD, events=EPOLLIN, data=self.data_of(epoll))
            self.model.epolls.append(Holder(actor, name))
            self.do(actor, "epoll_wait", epfd=name, timeout_ms=0)
            return
        self.model.files.append(Holder(actor, name))
        self.do(actor, "epoll_ctl", epfd=epoll, fd=name, op=EPOLL_ADD, events=EPOLLIN, data=self.data_of(name))
        self.do(actor, "epoll_wait", epfd=epoll, timeout_ms=0)

    # -- asking and setting --------------------------------------------------------------------------------------------

    def ask(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        way = self.random.choices(
            ("FIONREAD", "SIOCOUTQ", "name", "peer", "error", "info", "fl", "opt"), (8, 2, 1, 1, 3, 3, 1, 2)
        )[0]
        if way in ("FIONREAD", "SIOCOUTQ"):
            self.do(holder.actor, "ioctl", fd=holder.slot, api=way)
        elif way in ("name", "peer"):
            self.do(holder.actor, "name", fd=holder.slot, api="peer" if way == "peer" else "sock")
        elif way == "error":
            self.do(holder.actor, "getsockopt", fd=holder.slot, level=1, name=int(s.SO_ERROR), bytes=4)
        elif way == "info":
            self.do(holder.actor, "getsockopt", fd=holder.slot, level=6, name=TCP_INFO)
        elif way == "fl":
            self.do(holder.actor, "fcntl", fd=holder.slot, command=self.random.choice((F_GETFL, F_GETFD)))
        else:
            names = (
                s.SO_TYPE,
                s.SO_KEEPALIVE,
                s.SO_RCVLOWAT,
                s.SO_RCVTIMEO,
                s.SO_LINGER,
                s.SO_REUSEADDR,
                s.SO_ACCEPTCONN,
            )
            self.do(holder.actor, "getsockopt", fd=holder.slot, level=1, name=int(self.random.choice(names)))

    def set_option(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        pick, end = self.random, end_of(holder.slot) or ""
        way = pick.choice(
            ("nodelay", "keepalive", "lowat", "rcvtimeo", "sndtimeo", "linger", "nonblock", "bad", "oobinline")
        )
        options: dict[str, tuple[int, int, int]] = {
            "nodelay": (6, TCP_NODELAY, 1),
            "keepalive": (1, int(s.SO_KEEPALIVE), 1),
            "lowat": (1, int(s.SO_RCVLOWAT), pick.choice((0, 1, 2, 100, 5000))),
            "rcvtimeo": (1, int(s.SO_RCVTIMEO), pick.choice((12_000, 20_000_000, 0))),
            "sndtimeo": (1, int(s.SO_SNDTIMEO), pick.choice((20_000_000, 0))),
            "bad": pick.choice(((1, 9999, 1), (6, 9999, 1), (99, 1, 1))),
            "oobinline": (1, int(s.SO_OOBINLINE), 1),
        }
        if way in options:
            level, name, value = options[way]
            if way == "oobinline" and self.chance(70):
                return
            self.do(holder.actor, "setsockopt", fd=holder.slot, level=level, name=name, value=value)
            if way == "rcvtimeo" and value == 12_000:
                self.model.timeouts.add(end)
                if not self.under_way_to(holder):
                    self.do(holder.actor, "recv", fd=holder.slot, len=10, timed=1)
        elif way == "linger":
            on, value = pick.choice(((1, 0), (0, 0), (1, 1)))
            self.do(holder.actor, "setsockopt", fd=holder.slot, level=1, name=int(s.SO_LINGER), on=on, value=value)
        else:
            on = pick.choice((0, 1))
            if self.chance(50):
                self.do(holder.actor, "ioctl", fd=holder.slot, api="FIONBIO", value=on)
            else:
                self.do(
                    holder.actor, "fcntl", fd=holder.slot, command=F_SETFL, value=O_RDWR | (O_NONBLOCK if on else 0)
                )
            (self.model.nonblocking.add if on else self.model.nonblocking.discard)(end)

    def bad_descriptor(self) -> None:
        actors = self.actors()
        if not actors:
            return
        actor = self.random.choice(actors)
        call = self.random.choice(("send", "recv", "shutdown", "close", "name", "getsockopt", "ioctl", "poll", "dup"))
        if call == "poll":
            self.do(actor, "poll", items=[["nobody", POLLIN]], timeout_ms=0)
        else:
            self.do(actor, call, fd="nobody", name=4, bytes=4)

    # -- descriptors and ends ------------------------------------------------------------------------------------------

    def forget(self, holder: Holder) -> None:
        keep = self.model.holders
        sharing = {holder.actor}
        if holder.actor[1] in "01" and self.topology in ("threads", "one"):
            sharing |= {"c0", "c1", "s0", "s1"} if self.topology == "one" else {holder.actor[0] + n for n in "01"}
        self.model.holders = [h for h in keep if h.slot != holder.slot or h.actor not in sharing]

    def close(self, holder: Holder) -> None:
        self.do(holder.actor, self.random.choices(("close", "close_range"), (9, 1))[0], fd=holder.slot)
        self.forget(holder)

    def close_one(self) -> None:
        holder = self.holder()
        if holder is not None:
            self.close(holder)
            for peer in self.peers_of(holder)[:1]:
                self.look_at_end(peer)

    def look_at_end(self, peer: Holder) -> None:
        """What an end sees after something happened to the other."""
        looks: list[Callable[[], None]] = [
            lambda: self.do(peer.actor, "poll", items=[[peer.slot, POLLIN | POLLOUT | POLLRDHUP]], timeout_ms=0),
            lambda: self.do(peer.actor, "recv", fd=peer.slot, len=self.receive_size(100), flags=int(s.MSG_DONTWAIT)),
            lambda: self.do(peer.actor, "getsockopt", fd=peer.slot, level=1, name=int(s.SO_ERROR), bytes=4),
            lambda: self.do(peer.actor, "send", fd=peer.slot, len=10, flags=int(s.MSG_NOSIGNAL)),
            lambda: self.do(peer.actor, "send", fd=peer.slot, len=10),
            lambda: self.do(peer.actor, "ioctl", fd=peer.slot, api="FIONREAD"),
            lambda: self.do(peer.actor, "getsockopt", fd=peer.slot, level=6, name=TCP_INFO),
            lambda: self.do(peer.actor, "drain", fd=peer.slot),
        ]
        for look in self.random.choices(looks, k=self.random.randint(1, 5)):
            look()

    def shutdown(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        how = self.random.choices((int(s.SHUT_WR), int(s.SHUT_RD), int(s.SHUT_RDWR), 3), (6, 2, 3, 0.3))[0]
        self.do(holder.actor, "shutdown", fd=holder.slot, how=how)
        if how in (s.SHUT_WR, s.SHUT_RDWR):
            self.model.finished.add(end_of(holder.slot) or "")
        peers = self.peers_of(holder)
        if peers and self.chance(70):
            self.look_at_end(self.random.choice(peers))

    def duplicate(self) -> None:
        holder = self.holder()
        if holder is None or holder.actor in ("c1", "s1"):
            return
        end = end_of(holder.slot) or ""
        name = f"{end}.{self.names}"
        self.names += 1
        api = self.random.choice(("dup", "dup2", "dup3", "fcntl"))
        self.do(holder.actor, "dup", fd=holder.slot, api=api, target=60 + self.names, new=name)
        self.model.holders.append(Holder(holder.actor, name))

    def fork(self) -> None:
        parents = [a for a in self.actors() if a in ("c0", "s0")]
        if not parents or (self.topology == "threads" and self.chance(50)):
            return
        parent = self.random.choice(parents)
        names = [f"{parent[0]}2"] if self.topology == "family" else [f"{parent[0]}2", f"{parent[0]}3"]
        free = [name for name in names if name not in self.model.children]
        if not free:
            return
        child = free[0]
        self.model.children[child] = parent
        self.do(parent, "fork", new=child)
        inherited = [Holder(child, slot) for slot in sorted({h.slot for h in self.model.holders if h.actor == parent})]
        self.model.holders += inherited
        if self.chance(25):
            self.execute(child)
        if self.chance(35):
            for holder in [h for h in self.model.holders if h.actor == parent][:2]:
                self.close(holder)  # as a server that hands its connection to a child

    def execute(self, actor: str) -> None:
        """The program becomes another one, which may not be under Byway."""
        self.do(actor, "exec", env=self.random.choice(("keep", "drop")))

    def child_leaves(self) -> None:
        living = [child for child in self.model.children if child not in self.model.dead]
        if not living:
            return
        child = self.random.choice(living)
        if self.chance(30):
            self.kill(child)
        else:
            self.do(child, "exit", code=self.random.choice((0, 3)))
            self.died(child)
        if self.model.children[child] not in self.model.dead:
            self.do(self.model.children[child], "wait", child=child)

    def died(self, actor: str) -> None:
        gone = {actor}
        if actor[1] in "01":
            gone |= {"c0", "c1", "s0", "s1"} if self.topology == "one" else {actor[0] + "0", actor[0] + "1"}
        self.model.dead |= gone
        self.model.holders = [h for h in self.model.holders if h.actor not in gone]

    def kill(self, actor: str) -> None:
        self.do(actor, "kill")
        self.died(actor)

    def kill_one(self) -> None:
        actors = self.actors()
        if len(actors) < 2:
            return
        actor = self.random.choice(actors)
        self.kill(actor)
        for holder in self.random.sample(self.model.holders, k=min(2, len(self.model.holders))):
            self.look_at_end(holder)

    def pass_descriptor(self) -> None:
        """Over a UNIX socket to itself, or to a child forked meanwhile."""
        holder = self.holder()
        if holder is None or holder.actor in ("c1", "s1"):
            return
        links = [link for link in self.model.links if link.actor == holder.actor]
        if not links:
            name = self.fresh("u")
            self.do(holder.actor, "socketpair", new=f"{name}.a,{name}.b")
            links = [Holder(holder.actor, name)]
            self.model.links += links
        link = links[0].slot
        end = end_of(holder.slot) or ""
        new = f"{end}.{self.names}"
        self.names += 1
        receivers = [
            c for c, parent in self.model.children.items() if parent == holder.actor and c not in self.model.dead
        ]
        receiver = self.random.choice([holder.actor, *receivers])
        self.do(holder.actor, "send_fd", fd=f"{link}.a", passed=holder.slot)
        self.do(receiver, "recv_fd", fd=f"{link}.b", new=new)
        self.model.holders.append(Holder(receiver, new))

    # -- signals -------------------------------------------------------------------------------------------------------

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

    def refused(self) -> None:
        """connect to nobody, and to somebody who never accepts."""
        actors = [a for a in self.actors() if a == "c0"]
        if not actors:
            return
        name = f"x{self.names}"
        self.names += 1
        kind = int(s.SOCK_STREAM) | (int(s.SOCK_NONBLOCK) if self.chance(40) else 0)
        self.do("c0", "socket", type=kind, new=name)
        self.do("c0", "connect", fd=name, port_of="nobody")
        self.do("c0", "poll", items=[[name, POLLIN | POLLOUT | POLLRDHUP]], timeout_ms=0)
        self.do("c0", "getsockopt", fd=name, level=1, name=int(s.SO_ERROR), bytes=4)
        self.do("c0", "recv", fd=name, len=4, flags=int(s.MSG_DONTWAIT))
        self.do("c0", "send", fd=name, len=4, flags=int(s.MSG_NOSIGNAL))
        self.do("c0", "close", fd=name)

    def another(self) -> None:
        connections = {(end_of(h.slot) or "")[:-1] for h in self.model.holders}
        if len(connections) < 3 and not self.model.dead & {"c0", "s0"} and "k0" in connections:
            self.names += 1
            used = {(end_of(str(step.arguments.get("new", ""))) or "")[:-1] for step in self.steps}
            if f"k{len(connections)}" not in used:
                self.connection()

    # -- the whole -----------------------------------------------------------------------------------------------------

    def epilogue(self) -> None:
        """Everything that is under way arrives; then each end goes, and the other looks."""
        seen = set()
        for holder in list(self.model.holders):
            end = end_of(holder.slot)
            if end not in seen and holder.actor not in self.model.dead:
                seen.add(end)
                self.do(holder.actor, "drain", fd=holder.slot)
        for holder in self.random.sample(self.model.holders, k=len(self.model.holders)):
            if holder in self.model.holders:
                self.close(holder)
                for peer in self.peers_of(holder)[:1]:
                    self.look_at_end(peer)

    def make(self) -> Case:
        self.connection()
        methods, weights = zip(*WEIGHTS, strict=True)
        target = len(self.steps) + self.random.randint(WALK_MIN, WALK_MAX)
        for _ in range(200):
            if len(self.steps) >= target or not self.actors():
                break
            self.random.choices(methods, weights)[0](self)
        self.epilogue()
        return Case(self.seed, self.topology, self.options, tuple(self.steps))


WEIGHTS: list[tuple[Callable[[Generator], None], float]] = [
    (Generator.send, 24),
    (Generator.receive, 24),
    (Generator.ping_pong, 8),
    (Generator.blocked_receive, 10),
    (Generator.blocked_send, 0.7),
    (Generator.drain, 3),
    (Generator.zero_length, 1.5),
    (Generator.bad_pointer, 2),
    (Generator.out_of_band, 0.6),
    (Generator.stdio, 0.8),
    (Generator.splice, 0.8),
    (Generator.poll, 9),
    (Generator.epoll_change, 7),
    (Generator.epoll_look, 7),
    (Generator.file, 2),
    (Generator.ask, 9),
    (Generator.set_option, 5),
    (Generator.bad_descriptor, 1),
    (Generator.close_one, 1.6),
    (Generator.shutdown, 2.2),
    (Generator.duplicate, 2),
    (Generator.fork, 1.6),
    (Generator.child_leaves, 1.2),
    (Generator.kill_one, 0.8),
    (Generator.pass_descriptor, 0.8),
    (Generator.signals, 2.5),
    (Generator.refused, 0.6),
    (Generator.another, 1.2),
]


def generate(seed: int, number: int) -> Case:
    return Generator(seed, number).make()
