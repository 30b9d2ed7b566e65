"""Every way in which a connection can end, as steps of two agents (tests/native/agent.c).

Agent `a` is the sender, `b` the receiver; who connects and who accepts is part of the shape. A case says what happens
after the connection is made and warmed up. `racy` means that Linux itself may give several outcomes for one shape.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MEGABYTE = 1 << 20
UNBLOCKED_BYTES = 40_000
"""So much a kernel sender can always send to a receiver that does not read."""
ENDLESS_BYTES = 1 << 45


@dataclass(frozen=True)
class Shape:
    """What varies between the rounds of one scenario, all drawn from one seed."""

    seed: int
    host: str
    sender_connects: bool
    total_bytes: int
    small_bytes: int
    chunk_bytes: int
    receive_chunk_bytes: int
    send_mode: str
    receive_mode: str
    warm_turns: int
    delay_ms: int
    kill_ms: float
    options: dict[str, str] = field(default_factory=dict)
    pauses_us: tuple[int, int] = (0, 0)
    """The longest pauses of sender and receiver between calls, for kernel rounds that look for what a race may give."""


def draw_shape(seed: int, hosts: Sequence[str], least_bytes: int, most_bytes: int) -> Shape:
    draw = random.Random(seed)
    return Shape(
        seed=seed,
        host=draw.choice(list(hosts)),
        sender_connects=draw.random() < 0.5,
        total_bytes=random.Random(seed + 1).randint(least_bytes, most_bytes),
        small_bytes=draw.randint(1, UNBLOCKED_BYTES),
        chunk_bytes=draw.choice([1000, 4096, 16384, 65536, 65536, 262144, 1 << 20]),
        receive_chunk_bytes=draw.choice([1000, 4096, 65536, 65536, 1 << 20]),
        send_mode=draw.choice(["block", "block", "poll", "epoll"]),
        receive_mode=draw.choice(["block", "block", "poll", "select", "epoll", "epollet"]),
        warm_turns=draw.choice([0, 1, 3, 10, 30, 30]),
        delay_ms=draw.choice([0, 1, 5, 50, 200]),
        kill_ms=draw.uniform(0, 60),
        options=draw.choice(
            [
                {},
                {"attach_after": "0"},
                {"attach_after": "0", "attach_wait_us": "100000"},
                {"attach_after": "1", "ring_bytes": "4096"},
                {"ring_bytes": "1048576"},
                {"spin_us": "0"},
                {"bells": "1"},
            ]
        ),
    )


@dataclass(frozen=True)
class Case:
    """Steps of both agents, and what the test does meanwhile: `exit a`, `tell NAME`, `kill b MS`, `said a TEXT`."""

    a: list[str]
    b: list[str]
    conduct: list[str] = field(default_factory=list)
    racy: bool = False
    any_outcome: bool = False
    """Nobody is left to tell: only hangs, wrong bytes and what is left count."""


Scenario = Callable[[Shape], Case]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


# -- the sender ends at once ------------------------------------------------------------------------------------------


@scenario
def write_close(s: Shape) -> Case:
    return Case(a=[f"send:{s.total_bytes}", "close"], b=["drain"])


@scenario
def write_exit(s: Shape) -> Case:
    return Case(a=[f"send:{s.total_bytes}", "exit"], b=["drain"])


@scenario
def write_killed(s: Shape) -> Case:
    return Case(a=[f"send:{s.total_bytes}", "kill"], b=["drain"])


@scenario
def small_write_close_read_late(s: Shape) -> Case:
    return Case(
        a=[f"send:{s.small_bytes}", "close"], b=["wait:gone", "drain", "error"], conduct=["exit a", "tell gone"]
    )


@scenario
def small_write_killed_read_late(s: Shape) -> Case:
    return Case(a=[f"send:{s.small_bytes}", "kill"], b=["wait:gone", "drain", "error"], conduct=["exit a", "tell gone"])


@scenario
def write_killed_read_late(s: Shape) -> Case:
    return Case(a=[f"send:{s.total_bytes}", "kill"], b=[f"sleep:{s.delay_ms}", "drain", "error"])


@scenario
def write_close_read_late(s: Shape) -> Case:
    return Case(a=[f"send:{s.total_bytes}", "close"], b=[f"sleep:{s.delay_ms}", "drain", "error"])


@scenario
def write_exit_read_late(s: Shape) -> Case:
    return Case(a=[f"send:{s.total_bytes}", "return"], b=[f"sleep:{s.delay_ms}", "drain", "error"])


@scenario
def write_close_read_slowly(s: Shape) -> Case:
    pause = f"slow:{max(s.total_bytes // 200, 1000)}:500"
    return Case(a=[f"send:{s.total_bytes}", "close"], b=[pause, "drain", "state"])


@scenario
def write_killed_read_slowly(s: Shape) -> Case:
    pause = f"slow:{max(s.total_bytes // 200, 1000)}:500"
    return Case(a=[f"send:{s.total_bytes}", "kill"], b=[pause, "drain", "state"])


@scenario
def full_then_closed(s: Shape) -> Case:
    return Case(a=["fill", "close"], b=["wait:gone", "drain"], conduct=["exit a", "tell gone"])


@scenario
def full_then_killed(s: Shape) -> Case:
    return Case(a=["fill", "kill"], b=["wait:gone", "drain"], conduct=["exit a", "tell gone"])


@scenario
def aborted_with_linger(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "linger0", "close"]
    return Case(a=a, b=["wait:gone", "state", "drain", "error"], conduct=["exit a", "tell gone"], racy=True)


@scenario
def aborted_while_reading(s: Shape) -> Case:
    return Case(a=[f"send:{s.total_bytes}", "linger0", "close"], b=["drain"], racy=True)


# -- the receiver ends ------------------------------------------------------------------------------------------------


AFTER_RESET = ["settle", "state", "recv:1", "error", "send:1", "state"]
"""What a program can ask of a connection that was reset while it did nothing."""


@scenario
def reader_killed_with_bytes_unread(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "tell:sent", "wait:gone", *AFTER_RESET]
    return Case(a=a, b=["wait:sent", "kill"], conduct=["exit b", "tell gone"])


@scenario
def reader_closes_with_bytes_unread(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "tell:sent", "wait:gone", *AFTER_RESET]
    return Case(a=a, b=["wait:sent", "close"], conduct=["exit b", "tell gone"])


@scenario
def reader_closes_with_some_unread(s: Shape) -> Case:
    a = [f"send:{s.small_bytes + 5000}", "tell:sent", "wait:gone", *AFTER_RESET]
    return Case(a=a, b=["wait:sent", f"recv:{s.small_bytes}", "close"], conduct=["exit b", "tell gone"])


@scenario
def reader_killed_with_bytes_unread_then_send(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "tell:sent", "wait:gone", "send:100", "send:100", "recv:1"]
    return Case(a=a, b=["wait:sent", "kill"], conduct=["exit b", "tell gone"])


@scenario
def reader_dies_having_read_all(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "wait:gone", "state", "recv:1", "send:1", "settle", "send:1", "recv:1", "error"]
    return Case(a=a, b=[f"recv:{s.small_bytes}", "kill"], conduct=["exit b", "tell gone"])


@scenario
def reader_closes_having_read_all(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "wait:gone", "state", "recv:1", "send:1", "settle", "send:1", "recv:1", "error"]
    return Case(a=a, b=[f"recv:{s.small_bytes}", "close"], conduct=["exit b", "tell gone"])


@scenario
def reader_killed_while_writing(s: Shape) -> Case:
    a = [f"send:{s.total_bytes}", "recv:1", "send:1", "state"]
    return Case(a=a, b=[f"recv:{s.total_bytes // 3}", "kill"], racy=True)


@scenario
def reader_closes_while_writing(s: Shape) -> Case:
    a = [f"send:{s.total_bytes}", "recv:1", "send:1", "state"]
    return Case(a=a, b=[f"recv:{s.total_bytes // 3}", "close"], racy=True)


@scenario
def reader_dies_under_sigpipe(s: Shape) -> Case:
    a = ["sigpipe", f"send:{s.small_bytes}", "wait:gone", "send:1", "settle", "send:1", "send:1"]
    return Case(a=a, b=[f"recv:{s.small_bytes}", "kill"], conduct=["exit b", "tell gone"])


@scenario
def full_then_reader_killed(s: Shape) -> Case:
    a = ["fill", "tell:full", "wait:gone", *AFTER_RESET]
    return Case(a=a, b=["wait:full", "kill"], conduct=["exit b", "tell gone"])


@scenario
def blocked_then_reader_killed(s: Shape) -> Case:
    a = ["fill", "tell:full", f"send:{4 * MEGABYTE}", "recv:1", "state"]
    return Case(a=a, b=["wait:full", "sleep:20", "kill"], racy=True)


# -- half-close and death ---------------------------------------------------------------------------------------------


@scenario
def half_close_then_answer_and_death(s: Shape) -> Case:
    a = [f"send:{s.total_bytes}", "shutdown", "drain", "error"]
    return Case(a=a, b=["drain", f"send:{s.total_bytes // 2}", "kill"])


@scenario
def half_close_then_sender_killed(s: Shape) -> Case:
    a = [f"send:{s.total_bytes}", "shutdown", "kill"]
    return Case(
        a=a,
        b=["drain", "wait:gone", "send:10", "settle", "send:10", "recv:1"],
        conduct=["exit a", "tell gone"],
        racy=True,
    )


@scenario
def half_close_unread_then_reader_killed(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "shutdown", "tell:sent", "wait:gone", "settle", "state", "recv:1", "error"]
    return Case(a=a, b=["wait:sent", "kill"], conduct=["exit b", "tell gone"])


@scenario
def half_close_unread_then_sender_killed(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "shutdown", "kill"]
    return Case(a=a, b=["wait:gone", "state", "drain", "send:10", "settle", "send:10"], conduct=["exit a", "tell gone"])


@scenario
def answer_unread_then_half_closer_killed(s: Shape) -> Case:
    """The sender half-closes, gets an answer that it does not read, and dies: the answerer sees a reset."""
    a = [f"send:{s.small_bytes}", "shutdown", "wait:answered", "kill"]
    b = ["drain", f"send:{s.small_bytes}", "tell:answered", "wait:gone", "settle", "state", "recv:1", "send:1", "error"]
    return Case(a=a, b=b, conduct=["exit a", "tell gone"])


@scenario
def both_half_close(s: Shape) -> Case:
    side = [f"send:{s.small_bytes}", "shutdown", "drain", "settle", "state", "error", "close"]
    return Case(a=side, b=side)


@scenario
def half_close_while_the_other_streams(s: Shape) -> Case:
    """The half-close comes while the other direction is full of unread bytes: they all arrive, in order."""
    a = ["recv:1000", f"send:{s.small_bytes}", "shutdown", f"sleep:{s.delay_ms % 10}", "drain", "error", "close"]
    return Case(a=a, b=[f"send:{s.total_bytes}", "drain", "shutdown", "drain", "close"])


@scenario
def half_close_while_the_other_streams_then_death(s: Shape) -> Case:
    a = ["recv:1000", f"send:{s.small_bytes}", "shutdown", "drain", "error"]
    return Case(a=a, b=[f"send:{s.total_bytes}", "drain", "kill"])


# -- both ways, both ends ---------------------------------------------------------------------------------------------


@scenario
def duplex_then_close(s: Shape) -> Case:
    side = [f"duplex:{s.total_bytes}", "shutdown", "drain", "close"]
    return Case(a=side, b=side)


@scenario
def duplex_sender_killed_at_random(s: Shape) -> Case:
    side = [f"duplex:{ENDLESS_BYTES}", "state"]
    return Case(a=side, b=side, conduct=[f"kill a {s.kill_ms:.3f}"], racy=True)


@scenario
def stream_sender_killed_at_random(s: Shape) -> Case:
    return Case(
        a=[f"send:{ENDLESS_BYTES}"], b=["drain", "state", "error"], conduct=[f"kill a {s.kill_ms:.3f}"], racy=True
    )


@scenario
def stream_receiver_killed_at_random(s: Shape) -> Case:
    a = [f"send:{ENDLESS_BYTES}", "recv:1", "send:1"]
    return Case(a=a, b=["drain"], conduct=[f"kill b {s.kill_ms:.3f}"], racy=True)


@scenario
def conversation_killed_at_random(s: Shape) -> Case:
    return Case(
        a=["ping:100000000", "recv:1", "state"],
        b=["pong:100000000", "state"],
        conduct=[f"kill b {s.kill_ms:.3f}"],
        racy=True,
    )


@scenario
def both_killed_at_random(s: Shape) -> Case:
    side = [f"duplex:{ENDLESS_BYTES}"]
    return Case(a=side, b=side, conduct=[f"kill a {s.kill_ms:.3f}", "kill b 0"], racy=True, any_outcome=True)


# -- forks ------------------------------------------------------------------------------------------------------------


@scenario
def forked_sender_parent_killed(s: Shape) -> Case:
    """The parent dies; the child goes on where it stopped; the end comes when the child ends."""
    child = ["fork", "wait:go", f"send:{s.total_bytes // 2}", "exit", "end"]
    a = [f"send:{s.small_bytes}", *child, f"send:{s.small_bytes}", "kill"]
    b = [f"recv:{2 * s.small_bytes}", "wait:gone", "state", "tell:go", "drain"]
    return Case(a=a, b=b, conduct=["exit a", "tell gone"])


@scenario
def forked_sender_child_killed(s: Shape) -> Case:
    child = ["fork", f"send:{s.small_bytes}", "kill", "end"]
    return Case(a=[*child, "reap", f"send:{s.total_bytes}", "close"], b=["drain"])


@scenario
def forked_sender_child_holds(s: Shape) -> Case:
    """The parent's close is not the last: no end is seen until the child ends."""
    a = ["fork", "wait:go", "exit", "end", f"send:{s.small_bytes}", "close", "tell:closed", "reap"]
    b = [f"recv:{s.small_bytes}", "wait:closed", "state", "send:10", "state", "tell:go", "settle", "state", "drain"]
    return Case(a=a, b=b)


@scenario
def forked_reader_child_killed(s: Shape) -> Case:
    """The child reads half and dies with bytes unread: the parent still holds the socket and reads the rest."""
    half = s.small_bytes // 2 + 1
    child = ["fork", "wait:sent", f"recv:{half}", "kill", "end"]
    a = [f"send:{2 * s.small_bytes + 2}", "tell:sent", f"send:{s.total_bytes}", "shutdown", "drain"]
    return Case(a=a, b=[*child, "reap", "drain", "close"])


@scenario
def forked_reader_parent_killed(s: Shape) -> Case:
    """The child goes on reading where its dead parent stopped, and dies with bytes unread."""
    child = ["fork", "wait:gone", f"recv:{s.small_bytes}", "tell:read", "wait:more", "kill", "end"]
    a = ["nodelay", f"send:{2 * s.small_bytes}", "wait:read", f"send:{s.small_bytes}", "tell:more", *AFTER_RESET]
    b = [*child, f"recv:{s.small_bytes}", "kill"]
    return Case(a=a, b=b, conduct=["exit b", "tell gone"])


@scenario
def forked_holders_close_with_bytes_unread(s: Shape) -> Case:
    """Nobody reads. The parent's close is not the last; the child's is, and resets."""
    a = [f"send:{s.small_bytes}", "tell:sent", *AFTER_RESET]
    return Case(a=a, b=["wait:sent", "fork", "wait:go", "exit", "end", "close", "tell:go", "reap"])


@scenario
def forked_child_ends_with_bytes_unread(s: Shape) -> Case:
    """The child's end is not the last: only the parent's close resets."""
    a = [f"send:{s.small_bytes}", "tell:sent", "wait:ended", "state", "tell:go", *AFTER_RESET]
    return Case(a=a, b=["wait:sent", "fork", "exit", "end", "reap", "tell:ended", "wait:go", "close"])


@scenario
def forked_holders_killed_with_bytes_unread(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "tell:sent", *AFTER_RESET]
    return Case(a=a, b=["wait:sent", "fork", "wait:go", "kill", "end", "kill"], conduct=["exit b", "tell go"])


@scenario
def executed_sender(s: Shape) -> Case:
    """The sender becomes another program, under Byway too, with the socket on descriptor 5."""
    a = [f"send:{s.total_bytes // 2}", "exec:5", f"send:{s.total_bytes // 2}", "close"]
    return Case(a=a, b=["drain"])


@scenario
def executed_receiver_with_bytes_unread(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "tell:sent", f"send:{s.total_bytes}", "close"]
    return Case(a=a, b=["wait:sent", f"recv:{s.small_bytes // 2 + 1}", "exec:5", "drain"])


@scenario
def executed_both_while_streaming(s: Shape) -> Case:
    """Again and again, on both sides, with bytes on their way."""
    part = s.total_bytes // 3
    a = [f"send:{part}", "exec:5", f"send:{part}", "exec:6", f"send:{part}", "shutdown", "drain"]
    b = [f"recv:{s.small_bytes}", "exec:5", f"recv:{part}", "exec:7", "drain", "close"]
    return Case(a=a, b=b)


@scenario
def executed_between_duplex(s: Shape) -> Case:
    side = [f"duplex:{s.total_bytes // 2}", "exec:5", f"duplex:{s.total_bytes // 2}", "shutdown", "drain", "close"]
    return Case(a=side, b=side)


@scenario
def executed_reader_killed_with_bytes_unread(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "tell:sent", "wait:gone", *AFTER_RESET]
    return Case(a=a, b=["wait:sent", "exec:5", "kill"], conduct=["exit b", "tell gone"])


@scenario
def executed_reader_closes_with_bytes_unread(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "exec:5", "tell:sent", "wait:gone", *AFTER_RESET]
    return Case(a=a, b=["wait:sent", "exec:5", "close"], conduct=["exit b", "tell gone"])


@scenario
def executed_after_half_close(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "shutdown", "exec:5", "drain", "error"]
    return Case(a=a, b=["drain", "exec:5", f"send:{s.total_bytes // 2}", "exec:6", "close"])


@scenario
def executed_reader_of_the_dead(s: Shape) -> Case:
    """The sender is killed first, then the receiver becomes another image: it gets all, and the end."""
    b = ["wait:gone", "exec:5", "drain", "error"]
    return Case(a=[f"send:{s.small_bytes}", "kill"], b=b, conduct=["exit a", "tell gone"])


@scenario
def executed_child_with_the_parent_gone(s: Shape) -> Case:
    """A forked child execs with the connection, when its parent has ended or not yet."""
    child = ["fork", "exec:5", f"send:{s.total_bytes // 2}", "close", "exit", "end"]
    return Case(a=[f"send:{s.small_bytes}", *child, "close", "reap"], b=["drain"])


@scenario
def executed_foreign_sender(s: Shape) -> Case:
    """The sender becomes a program that is not under Byway."""
    a = [f"send:{s.total_bytes // 2}", "exec-foreign:5", f"send:{s.total_bytes // 2}", "close"]
    return Case(a=a, b=["drain"])


@scenario
def executed_foreign_receiver(s: Shape) -> Case:
    """The receiver becomes a foreign program while bytes are unread: they must be in the kernel then."""
    a = [f"send:{s.small_bytes}", "tell:sent", f"send:{s.total_bytes}", "close"]
    return Case(a=a, b=["wait:sent", "exec-foreign:5", "drain"])


# -- foreign programs with bytes unread: a relay, where they do not get into the kernel --------------------------------


@scenario
def foreign_receiver_after_close(s: Shape) -> Case:
    """The sender has closed when the receiver becomes a foreign program."""
    a = [f"send:{s.small_bytes}", "close"]
    return Case(a=a, b=["wait:gone", "exec-foreign:40", "drain", "error", "close"], conduct=["exit a", "tell gone"])


@scenario
def foreign_receiver_after_kill(s: Shape) -> Case:
    """The reset that answers the first bytes comes back through the relay, a moment later than Linux's own."""
    a = [f"send:{s.small_bytes}", "kill"]
    b = ["wait:gone", "exec-foreign:40", "drain", "send:10", "sleep:100", "send:10", "recv:1"]
    return Case(a=a, b=b, conduct=["exit a", "tell gone"], racy=True)


@scenario
def foreign_receiver_after_half_close(s: Shape) -> Case:
    """The foreign program reads all, answers, and closes."""
    a = [f"send:{s.small_bytes}", "shutdown", "tell:sent", "drain", "error", "close"]
    return Case(a=a, b=["wait:sent", "exec-foreign:40", "drain", f"send:{s.total_bytes}", "close"])


@scenario
def foreign_receiver_after_full_half_close(s: Shape) -> Case:
    """The kernel is full behind the ring, and the sender has half-closed."""
    a = ["fill", "shutdown", "tell:sent", "drain", "error", "close"]
    return Case(a=a, b=["wait:sent", "exec-foreign:40", "drain", f"send:{s.total_bytes}", "close"])


@scenario
def foreign_receiver_answers(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "tell:sent", f"send:{s.total_bytes}", "shutdown", "drain", "error", "close"]
    return Case(a=a, b=["wait:sent", "exec-foreign:40", "drain", f"send:{s.total_bytes}", "close"])


@scenario
def foreign_receiver_converses(s: Shape) -> Case:
    """Small bytes back and forth through a relay."""
    a = [f"send:{s.total_bytes}", "ping:300", "close"]
    return Case(a=a, b=[f"sleep:{s.delay_ms}", "exec-foreign:40", f"recv:{s.total_bytes}", "pong:300", "drain"])


@scenario
def foreign_receiver_half_closes(s: Shape) -> Case:
    """The foreign program has said its end, and reads on."""
    a = ["fill", "tell:full", "recv:1", f"send:{s.total_bytes}", "close"]
    return Case(a=a, b=["wait:full", "exec-foreign:40", "shutdown", "drain", "close"])


@scenario
def foreign_receiver_that_had_half_closed(s: Shape) -> Case:
    a = ["recv:1", "fill", "tell:full", f"send:{s.total_bytes}", "close"]
    return Case(a=a, b=["shutdown", "wait:full", "exec-foreign:40", "drain", "send:1", "close"])


@scenario
def foreign_receiver_that_had_half_closed_after_close(s: Shape) -> Case:
    """Both directions have ended when the receiver becomes a foreign program: it reads the rest, and a clean end."""
    a = ["fill", "tell:full", "recv:1", "close"]
    b = ["wait:full", "shutdown", "wait:gone", "exec-foreign:40", "drain", "error", "close"]
    return Case(a=a, b=b, conduct=["exit a", "tell gone"])


@scenario
def foreign_receiver_with_out_of_band_data(s: Shape) -> Case:
    """Both ways through a relay, between ordinary bytes."""
    a = [f"send:{s.total_bytes}", "oob", f"send:{s.small_bytes}", "recv:1000", "recv-oob", "drain", "close"]
    b = [f"recv:{s.total_bytes}", "recv-oob", f"recv:{s.small_bytes}", "send:1000", "oob", "send:10", "close"]
    return Case(a=a, b=[f"sleep:{s.delay_ms}", "exec-foreign:40", *b])


@scenario
def foreign_receiver_killed_with_bytes_unread(s: Shape) -> Case:
    a = ["fill", "tell:full", "wait:gone", "settle", *AFTER_RESET]
    return Case(a=a, b=["wait:full", "exec-foreign:40", "recv:1000", "kill"], conduct=["exit b", "tell gone"])


@scenario
def foreign_receiver_killed_having_read_all(s: Shape) -> Case:
    """Nothing is unread: an end, then what Linux does to those who go on."""
    a = ["fill", "tell:full", f"send:{s.total_bytes}", "shutdown", "drain", "error"]
    return Case(a=a, b=["wait:full", "exec-foreign:40", "drain", "kill"])


@scenario
def foreign_receiver_of_a_killed_full_sender(s: Shape) -> Case:
    a = ["fill", "tell:full", "kill"]
    return Case(a=a, b=["wait:full", "wait:gone", "exec-foreign:40", "drain", "error"], conduct=["exit a", "tell gone"])


@scenario
def foreign_receiver_of_an_aborting_sender(s: Shape) -> Case:
    """The sender resets: what was received is read, then the reset."""
    a = [f"send:{s.small_bytes}", "tell:sent", "wait:read", "linger0", "close"]
    b = ["wait:sent", "exec-foreign:40", f"recv:{s.small_bytes}", "tell:read", "drain", "error"]
    return Case(a=a, b=b)


@scenario
def foreign_receiver_without_copies(s: Shape) -> Case:
    """The receiver may not copy the sender's descriptor: the sender does it, or a relay."""
    a = [f"send:{s.small_bytes}", "tell:sent", f"send:{s.total_bytes}", "shutdown", "drain", "close"]
    b = ["wait:sent", "deny-getfd", "exec-foreign:40", "drain", f"send:{s.total_bytes}", "close"]
    return Case(a=a, b=b)


@scenario
def foreign_receiver_of_an_idle_sender(s: Shape) -> Case:
    """Nor does the sender call: only a relay is left."""
    a = [f"send:{s.small_bytes}", "tell:sent", "wait:read", f"send:{s.total_bytes}", "shutdown", "drain", "close"]
    b = [f"recv:{s.small_bytes}", "tell:read", "drain", "send:100", "close"]
    return Case(a=a, b=["wait:sent", "deny-getfd", "exec-foreign:40", *b])


@scenario
def passed_foreign_receiver(s: Shape) -> Case:
    """The socket goes to a foreign program in a message."""
    a = [f"send:{s.small_bytes}", "tell:sent", f"send:{s.total_bytes}", "shutdown", "drain", "close"]
    return Case(a=a, b=["wait:sent", "pass-foreign", "drain", f"send:{s.total_bytes}", "close"])


@scenario
def passed_foreign_receiver_after_close(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "close"]
    return Case(a=a, b=["wait:gone", "pass-foreign", "drain", "error", "close"], conduct=["exit a", "tell gone"])


@scenario
def vforked_foreign_receiver(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "tell:sent", f"send:{s.total_bytes}", "shutdown", "drain", "close"]
    return Case(a=a, b=["wait:sent", "vfork-foreign:40", "drain", f"send:{s.total_bytes}", "close"])


@scenario
def vforked_foreign_receiver_after_close(s: Shape) -> Case:
    a = [f"send:{s.small_bytes}", "close"]
    return Case(a=a, b=["wait:gone", "vfork-foreign:40", "drain", "error", "close"], conduct=["exit a", "tell gone"])


@scenario
def foreign_child_of_a_holder(s: Shape) -> Case:
    """A child becomes foreign and reads all, while its parent holds the socket too."""
    a = [f"send:{s.small_bytes}", "tell:sent", f"send:{s.total_bytes}", "close"]
    b = ["wait:sent", "fork", "exec-foreign:40", "drain", "exit", "end", "reap", "close"]
    return Case(a=a, b=b)


@scenario
def foreign_child_leaves_the_rest(s: Shape) -> Case:
    """A foreign child reads a part, and ends; its parent reads the rest."""
    a = [f"send:{s.small_bytes}", "tell:sent", f"send:{s.total_bytes}", "close"]
    part = s.small_bytes // 2 + 1
    b = ["wait:sent", "fork", "exec-foreign:40", f"recv:{part}", "sleep:60", "exit", "end", "reap", "drain"]
    return Case(a=a, b=b)


@scenario
def foreign_child_does_not_touch_it(s: Shape) -> Case:
    """A server runs some other program, which inherits the socket and leaves it alone."""
    a = [f"send:{s.small_bytes}", "close"]
    b = ["wait:gone", "fork", "exec-foreign:40", "sleep:100", "exit", "end", "drain", "reap"]
    return Case(a=a, b=b, conduct=["exit a", "tell gone"])
