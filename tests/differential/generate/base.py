"""What every subject of the walk builds on: the model of who holds what, sizes, and the list of steps so far."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ..case import Step, Value, end_of, other_end

POLLRDHUP = 0x2000
F_GETFD, F_SETFD, F_GETFL, F_SETFL, FD_CLOEXEC, O_RDWR, O_NONBLOCK = 1, 2, 3, 4, 1, 2, 0o4000
TCP_INFO, TCP_NODELAY, TCP_CORK, TCP_QUICKACK, TCP_MAXSEG = 11, 1, 3, 12, 2
FOREVER_MS, SHORT_MS = (-1, 20_000), (8, 15)
SENDS = ("send", "sendto", "write", "sendmsg", "writev", "sendmmsg", "sendfile", "syscall", "pwritev2")
RECEIVES = ("recv", "recvfrom", "read", "recvmsg", "readv", "recvmmsg", "syscall", "preadv2")
POLLS = ("poll", "ppoll", "__poll_chk")
EPOLL_WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")


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
    low_waters: set[str] = field(default_factory=set)  # ends with SO_RCVLOWAT
    epolls: list[Holder] = field(default_factory=list)
    files: list[Holder] = field(default_factory=list)
    links: list[Holder] = field(default_factory=list)  # UNIX socket pairs, named u0.a and u0.b
    dead: set[str] = field(default_factory=set)
    children: dict[str, str] = field(default_factory=dict)  # actor → parent
    listeners: list[Holder] = field(default_factory=list)


class Base:
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
