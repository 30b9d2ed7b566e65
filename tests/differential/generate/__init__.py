"""Makes a case from a seed: one connection or two, then a random walk over what programs do with sockets.

The walk keeps a rough model (who holds which end, how much is under way) so that most calls mean something; it does not
have to be right, since every sequence of steps is a valid case. One method a subject; WEIGHTS says how often.
"""

from __future__ import annotations

from collections.abc import Callable

from ..case import Case, end_of
from .connections import Connections
from .sleeps import Sleeps

WALK_MIN, WALK_MAX = 8, 34


class Generator(Connections, Sleeps):
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
        methods, weights = zip(*(WEIGHTS + OF_THREADS if self.topology == "threads" else WEIGHTS), strict=True)
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
    (Generator.unread_for_long, 0.5),
    (Generator.low_water, 0.8),
    (Generator.polled_set, 0.8),
    (Generator.writable_set, 0.5),
    (Generator.closed_but_shared, 0.4),
    (Generator.edge_by_shutdown, 0.5),
    (Generator.half_closed_peer_ends, 0.8),
    (Generator.held_back, 1),
    (Generator.drain, 3),
    (Generator.zero_length, 1.5),
    (Generator.bad_pointer, 2),
    (Generator.out_of_band, 0.8),
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
    (Generator.becomes_another, 1.5),
    (Generator.kill_one, 0.8),
    (Generator.pass_descriptor, 0.8),
    (Generator.signals, 2.5),
    (Generator.refused, 0.6),
    (Generator.another, 1.2),
    (Generator.left_to_a_child, 0.8),
]

OF_THREADS: list[tuple[Callable[[Generator], None], float]] = [
    (Generator.closed_under_a_sleeper, 4),
    (Generator.two_sleepers, 4),
]


def generate(seed: int, number: int) -> Case:
    return Generator(seed, number).make()
