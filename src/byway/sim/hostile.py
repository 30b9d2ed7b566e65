"""Networks that are against everybody, each drawn from a seed: what the hosts are like, what the links do and when
they change, who talks.

`Network.run` makes connections, lets it go on until at least BYTES_MIN bytes have arrived and EVENTS_MIN adverse
things have happened, waits for all that is left to end, and says what it saw. What must hold is a ViolationError
where it does not: every byte arrives once and in order, or both programs know that the connection failed; every
packet keeps the rules of watch.py; and when all is over no memory and no socket is in use.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from byway.engine.stack import TcpSocket
from byway.sim.link import NS_PER_SECOND, Conditions, Link
from byway.sim.traffic import Habits, Pattern, Server, Talker
from byway.sim.watch import ViolationError, Watch
from byway.sim.world import BEGINS_NS, Host, World, join

BYTES_MIN = 1_000_000
EVENTS_MIN = 100
MS = 1_000_000
FLOW_LIMIT_NS = 4 * 3600 * NS_PER_SECOND  # of virtual time: more than any timeout takes
LEFT_OVER_NS = 4000 * NS_PER_SECOND
ROUNDS_MAX = 60
FIRST_PORT = 1024


@dataclass(frozen=True)
class Seen:
    """What happened in one network."""

    seed: int
    bytes: int  # that programs read
    packets: int
    connections: int
    failed: int  # connections that neither side reset, and that failed
    events: dict[str, int]  # adverse ones, by name
    counters: dict[str, int]  # of both stacks together
    virtual_ns: int


def _sometimes(random: Random, share: float, value: float) -> float:
    return value if random.random() < share else 0


def draw_conditions(random: Random, mtu: int) -> Conditions:
    """One direction of a path."""
    delay_ns = int(10 ** random.uniform(3, 8.2))
    return Conditions(
        delay_ns=delay_ns,
        jitter_ns=int(_sometimes(random, 0.3, delay_ns * random.random())),
        loss=_sometimes(random, 0.8, random.choice([0.005, 0.02, 0.05, 0.1, 0.2]) * random.random()),
        burst_begins=_sometimes(random, 0.3, 0.01 * random.random()),
        burst_ends=random.uniform(0.1, 0.9),
        duplicate=_sometimes(random, 0.4, 0.1 * random.random()),
        corrupt=_sometimes(random, 0.3, 0.03 * random.random()),
        late=_sometimes(random, 0.5, 0.1 * random.random()),
        late_ns=int(delay_ns * random.uniform(0.1, 4)),
        mtu=mtu,
        bits_per_second=int(_sometimes(random, 0.4, 10 ** random.uniform(5.5, 9))),
        queue_bytes=random.choice([8_000, 30_000, 200_000]),
    )


def _draw_piece(random: Random, of_bytes: int, least: int) -> int:
    """What one call moves: small only where there is little in all, or nothing but calls would be simulated."""
    return random.choice([piece for piece in (least, 100, 1448, 10_000, 65_000) if of_bytes < 1000 * piece])


def draw_habits(random: Random, send_bytes: int) -> Habits:
    """How one side of a connection behaves."""
    return Habits(
        send_bytes=send_bytes,
        write_bytes=_draw_piece(random, send_bytes, 1),
        read_bytes=random.choice([500, 5000, 65_000]),
        pause=_sometimes(random, 0.3, 0.2 * random.random()),
        pause_ns=int(10 ** random.uniform(6, 9.5)),
        wait_ns=int(_sometimes(random, 0.2, 10 ** random.uniform(5, 8))) if send_bytes < 100_000 else 0,
        abort_after=random.randrange(1, 50_000) if random.random() < 0.05 else None,
        nodelay=random.random() < 0.3,
        keepalive_ms=random.choice([10_000, 600_000]),  # a reset may be lost: without it nobody would ever know
    )


def draw_gathering(random: Random) -> int:
    """For how long a host gathers packets before it looks at them."""
    return int(_sometimes(random, 0.3, 10 ** random.uniform(3, 6.5)))


def draw_settings(random: Random, mtu: int) -> dict[str, int]:
    """What one host's stack is made with."""
    return {
        "endpoints": 64,
        "cells": random.choice([64, 128, 512, 4096]),
        "mtu": mtu,
        "send_bytes": random.choice([2048, 10_000, 65_536, 1 << 20]),
        "receive_bytes": random.choice([2048, 10_000, 65_535, 65_536, 1 << 20]),
        "rto_min_ms": random.choice([1, 50, 200, 1000]),
        "delayed_ack_ms": random.choice([1, 40, 200]),
        "time_wait_ms": random.choice([1000, 60_000]),
        "initial_window": random.choice([1, 2, 4, 10]),
    }


class Network:
    """Two hosts, a path, and who talks over it."""

    def __init__(self, seed: int, library: str | None = None) -> None:
        self.seed = seed
        self.world = World(seed)
        self.random = self.world.random
        self.is_v6 = self.random.random() < 0.4
        self.mtu_min = 1280 if self.is_v6 else 576
        mtu = self.random.choice([self.mtu_min, 1500, 1500, 1900])
        self.watch = Watch(mtu)
        self.world.observers.append(self.watch)
        one, other = ("fd00::1", "fd00::2") if self.is_v6 else ("10.0.0.1", "10.0.0.2")
        self.client, self.server = self.hosts = (self._host(one, mtu, library), self._host(other, mtu, library))
        self.free = [(host.stack.free_cells, host.stack.free_endpoints) for host in self.hosts]
        there, back = draw_conditions(self.random, mtu), draw_conditions(self.random, mtu)
        self.links = join(self.client, self.server, there, back)
        self.talkers: list[Talker] = []
        self.patterns = Pattern(2 * seed), Pattern(2 * seed + 1)
        self.pauses = 0
        self._port = FIRST_PORT
        self.listener = Server(self.server, 80, self._accepted, backlog=self.random.choice([1, 5, 128]))

    def _host(self, address: str, mtu: int, library: str | None) -> Host:
        settings = draw_settings(self.random, mtu)
        return Host(self.world, address, library=library, gather_ns=draw_gathering(self.random), **settings)

    def _talk(self, host: Host, sock: TcpSocket, side: int) -> Talker:
        size = int(10 ** self.random.uniform(0, 5.7))
        talker = Talker(host, sock, draw_habits(self.random, size), self.patterns[side], self.patterns[1 - side])
        self.talkers.append(talker)
        return talker

    def _accepted(self, sock: TcpSocket) -> Talker:
        return self._talk(self.server, sock, 1)

    def connect(self) -> None:
        """One more connection from the client's side."""
        self.client.stack.now_ns = self.world.now_ns
        sock = self.client.stack.tcp()
        sock.bind(self.client.addresses[0], self._port)
        self._port += 1
        sock.connect(self.server.addresses[0], 80)
        self._talk(self.client, sock, 0)
        self.client.settle()

    def change_path(self) -> None:
        """One direction of the path becomes another one for a while: worse, narrower, or dead."""
        link: Link = self.random.choice(self.links)
        what = self.random.choice(["dead", "narrow", "new"])
        if what == "dead":
            link.lose(1.0)
            self.world.after(int(self.random.random() * 5 * NS_PER_SECOND), link.lose, 0.02)
        elif what == "narrow":
            link.narrow(self.random.randrange(self.mtu_min, link.conditions.mtu + 1))
        else:
            link.become(draw_conditions(self.random, link.conditions.mtu))

    def run_round(self) -> None:
        """Some connections at once, from their first packet until both sides are done with them."""
        first = len(self.talkers)
        for _ in range(self.random.choice([1, 1, 2, 4])):
            self.connect()
        for _ in range(self.random.choice([0, 0, 1, 3])):
            self.world.after(int(10 ** self.random.uniform(6, 9.7)), self.change_path)
        if not self.world.run(lambda: all(talker.is_done for talker in self.talkers[first:]), FLOW_LIMIT_NS):
            stuck = [talker for talker in self.talkers[first:] if not talker.is_done]
            raise ViolationError(f"{len(stuck)} programs wait for ever: {[_describe(talker) for talker in stuck]}")

    def run(self) -> Seen:
        """Until it was hostile enough and all is over."""
        for _ in range(ROUNDS_MAX):
            self.run_round()
            if self.bytes >= BYTES_MIN and self.adverse().total() >= EVENTS_MIN:
                break
        failed, virtual_ns = _check_pairs(self), self.world.now_ns - BEGINS_NS
        self.finish()
        counters: Counter[str] = Counter()
        for host in self.hosts:
            counters.update(host.stack.counters())
        connections = len(self.talkers) // 2
        events = dict(self.adverse())
        return Seen(self.seed, self.bytes, self.watch.packets, connections, failed, events, dict(counters), virtual_ns)

    def adverse(self) -> Counter[str]:
        return sum((link.events for link in self.links), Counter())

    @property
    def bytes(self) -> int:
        return sum(talker.received for talker in self.talkers)

    def finish(self) -> None:
        """All that is left ends; nothing is in use then."""
        self.world.pass_time(LEFT_OVER_NS)
        self.listener.close()
        self.server.settle()
        for host, (cells, endpoints) in zip(self.hosts, self.free, strict=True):
            if host.stack.free_cells != cells:
                raise ViolationError(f"{cells - host.stack.free_cells} cells are still in use")
            if host.stack.free_endpoints != endpoints:
                raise ViolationError("a socket is still in use")


def _describe(talker: Talker) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in talker.sock.info().named().items())
    return f"sent {talker.sent} of {talker.habits.send_bytes}, received {talker.received}; {facts}"


def _check_pairs(network: Network) -> int:
    """What one side has read is all that the other side has sent, unless the connection failed. How many failed by
    themselves."""
    failed = 0
    for talker in network.talkers:
        is_aborted = isinstance(talker.error, (ConnectionAbortedError, ConnectionResetError, BrokenPipeError))
        if talker.error is not None and not is_aborted:
            failed += 1
        if talker.error is None and not (talker.has_end and talker.sent == talker.habits.send_bytes):
            raise ViolationError("a program is done without error, and without all bytes")
    return failed


def run(seed: int, library: str | None = None) -> Seen:
    """The network of a seed, from beginning to end."""
    return Network(seed, library).run()
