"""A kill at every named crash point (csrc/base/crash.def), in a library built with -DBYWAY_CRASH_POINTS=1.

The case is a conversation with everything in it: turns, bulk both ways, a half-close. One of the two dies at the Nth
passing of the point. What the other may see is what it sees on the kernel when its peer is killed at some moment.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.crash.runner import Outcome, repeat_command, run_case
from tests.crash.scenarios import Case, Scenario, Shape
from tests.programs import harness

BULK_BYTES = 600_000
RING_BYTES_MIN = 4096


def names() -> list[str]:
    table = harness.ROOT / "csrc" / "base" / "crash.def"
    return re.findall(r"^CRASH\((\w+)", table.read_text(), re.MULTILINE) if table.exists() else []


def missing() -> str | None:
    if not names():
        return "csrc/base/crash.def is not there"
    return harness.byway_missing(harness.CRASH_LIBRARY)


def conversation(shape: Shape) -> Case:
    """Bulk with and without a reader (so that rings fill), turns, a half-close, an unread rest."""
    bulk = BULK_BYTES
    a = [
        "ping:40",
        f"send:{bulk}",
        "ping:5",
        "sleep:3",
        f"recv:{bulk}",
        f"duplex:{bulk}",
        "ping:3",
        "shutdown",
        "drain",
    ]
    b = [
        "pong:40",
        "sleep:3",
        f"recv:{bulk}",
        "pong:5",
        f"send:{bulk}",
        f"duplex:{bulk}",
        "pong:3",
        "drain",
        "send:5000",
        "close",
    ]
    return Case(a, b, racy=True)


def unread(shape: Shape) -> Case:
    """Both end with bytes unread."""
    a = ["ping:20", f"send:{shape.small_bytes}", "sleep:2", "settle", "recv:1", "send:1"]
    b = ["pong:20", "sleep:1", "shutdown", "sleep:1", "close"]
    return Case(a, b, racy=True)


def given_back(shape: Shape) -> Case:
    """The receiver wants all in the kernel, and cannot put it there itself: the sender takes unread bytes back.

    They fit the smallest ring: what lies behind them in the kernel would have to be taken back too."""
    few = shape.small_bytes % RING_BYTES_MIN // 2 + 1
    a = ["ping:20", f"send:{few}", "recv:1000", f"send:{BULK_BYTES}", "shutdown", "drain"]
    b = ["pong:20", "sleep:2", "deny-getfd", "stdio", "send:1000", "drain", "close"]
    return Case(a, b, racy=True)


def handed_back(shape: Shape) -> Case:
    """The receiver wants all in the kernel, and puts it there itself: in front of what the sender sends meanwhile."""
    few = shape.small_bytes % RING_BYTES_MIN // 2 + 1
    a = ["ping:20", f"send:{few}", "tell:sent", "send:1000", "recv:1000", f"send:{BULK_BYTES}", "shutdown", "drain"]
    b = ["pong:20", "wait:sent", "stdio", "send:1000", "drain", "close"]
    return Case(a, b, racy=True)


def inserted(shape: Shape) -> Case:
    """The same where the sender has gone on in the kernel: that must come out, and go in again behind the ring's."""
    a = ["ping:20", "send:3000", "send:12000", "tell:sent", "recv:1000", f"send:{BULK_BYTES}", "shutdown", "drain"]
    b = ["pong:20", "wait:sent", "stdio", "send:1000", "drain", "close"]
    return Case(a, b, racy=True)


def relayed(shape: Shape) -> Case:
    """The receiver becomes a foreign program with more unread than the kernel holds."""
    a = ["ping:20", "fill", "tell:full", f"send:{BULK_BYTES}", "shutdown", "drain"]
    b = ["pong:20", "wait:full", "exec-foreign:40", "drain", f"send:{BULK_BYTES}", "close"]
    return Case(a, b, racy=True)


def executing(shape: Shape) -> Case:
    """Both become another image twice, with bytes on their way."""
    small, bulk = shape.small_bytes, f"duplex:{BULK_BYTES}"
    a = ["ping:20", f"send:{small}", "exec:5", "ping:20", "exec:6", "ping:5", bulk, "drain"]
    b = ["pong:20", "exec:5", f"recv:{small}", "pong:20", "exec:7", "pong:5", bulk, "close"]
    return Case(a, b, racy=True)


RECEIVE_MODES = {"send_woken_half": "epoll", "sleep_published": "block", "sleep_revoked": "block"}
"""Points that only one way of waiting passes."""

OPTIONS = {"hand_back_taken_out": {"ring_bytes": str(RING_BYTES_MIN)}}
"""Points that are passed only with these."""


def cases(point: str) -> list[Scenario]:
    if point.startswith("relay"):
        return [relayed]
    if point.startswith("exec_"):
        return [executing]
    if point.startswith("hand_back"):
        return [inserted] if point == "hand_back_taken_out" else [handed_back]
    return [given_back] if point.startswith("take_back") else [conversation, unread]


@dataclass(frozen=True)
class Plan:
    """Who is to die where."""

    point: str
    shape: Shape
    case: Scenario
    victim: int
    passing: int

    def __str__(self) -> str:
        return f"{self.point}:{self.passing} in {'ab'[self.victim]} of {self.case.__name__}"

    def run(self, directory: Path, timeout_s: float) -> Outcome:
        world = harness.byway_world(harness.CRASH_LIBRARY)
        armed = {"BYWAY_CRASH": f"{self.point}:{self.passing}"}
        environments = (armed, {}) if self.victim == 0 else ({}, armed)
        return run_case(self.case(self.shape), self.shape, (world, world), directory, timeout_s, environments)

    def is_death(self, outcome: Outcome) -> bool:
        if self.point == "relay_took":  # it is the relay that dies: its program sees a reset
            return any("ECONNRESET" in line or "EPIPE" in line for line in (outcome.a, outcome.b)[self.victim])
        return (outcome.a, outcome.b)[self.victim][-1:] == ("status -9",)


def plans(point: str, shape: Shape) -> Iterator[Plan]:
    """One as drawn; then others, since not every case passes every point so often, in both programs."""
    draw = random.Random(shape.seed ^ 0x5A5A)
    first, *others = draw.sample(cases(point), len(cases(point)))
    victim = draw.randrange(2)
    yield Plan(point, shape, first, victim, draw.choice([1, 1, 1, 2, 3, 5, 10, 40]))
    mode = RECEIVE_MODES.get(point, shape.receive_mode)
    fitting = replace(shape, receive_mode=mode, options=OPTIONS.get(point, shape.options))
    for case in (first, *others):
        for one in (victim, 1 - victim):
            yield Plan(point, fitting, case, one, 1)


END_LINES = re.compile(
    r"(drain|recv|send|ping|pong|duplex|duplex recv|duplex send) (errno (ECONNRESET|EPIPE)|end|done)$"
    r"|fill errno EAGAIN$"  # what the step is for
)


class PointOracle:
    """What a peer may see of a death at any instant: an end or a reset; no wrong byte, none missing before an end."""

    def __init__(self, directory: Path, timeout_s: float) -> None:
        self.directory = directory
        self.timeout_s = timeout_s

    def objection(self, victim: int, outcome: Outcome) -> str | None:
        if outcome.broken:
            return outcome.broken
        died = (outcome.a, outcome.b)[victim]
        survivor = (outcome.b, outcome.a)[victim]
        if died[-1] not in ("status -9", "status 0"):
            return f"the armed one ended with {died[-1]}"
        if survivor[-1] != "status 0":
            return f"the other one ended with {survivor[-1]}"
        strange = [line for line in survivor[:-2] if not END_LINES.match(line)]
        if strange:
            return f"the other one saw {strange}"
        for lines in (survivor, died):
            if first_failure(lines).endswith(" end") and "got part" in lines:
                return "a clean end was seen before all bytes"
        return None


def first_failure(lines: tuple[str, ...]) -> str:
    bad = (line for line in lines if line.endswith(" end") or "errno" in line)
    return next((line for line in bad if not line.startswith("fill")), "")


@dataclass(frozen=True)
class Verdict:
    failure: str | None
    is_reached: bool


def run_point(point: str, shape: Shape, directory: Path, timeout_s: float) -> Verdict:
    """One death at the point, and whether the other one saw what it may see; plans without a death are judged too."""
    oracle = PointOracle(directory, timeout_s)
    for plan in plans(point, shape):
        outcome = plan.run(directory, timeout_s)
        objection = oracle.objection(plan.victim, outcome)
        if objection:
            again = repeat_command(point, shape)
            return Verdict(f"{plan}: {objection}\n  {shape}\n  {outcome}\n  again: {again}", True)
        if plan.is_death(outcome):
            return Verdict(None, True)
    return Verdict(None, False)
