"""A kill at every named crash point (csrc/base/crash.def), in a library built with -DBYWAY_CRASH_POINTS=1.

The case is a conversation with everything in it: turns, bulk both ways, a half-close. One of the two dies at the Nth
passing of the point. What the other may see is what it sees on the kernel when its peer is killed at some moment.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from tests.crash.runner import Outcome, repeat_command, run_case
from tests.crash.scenarios import Case, Shape
from tests.programs import harness

BULK_BYTES = 600_000


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


def choose_case(shape: Shape) -> Case:
    return conversation(shape) if shape.seed % 3 else unread(shape)


def victim(shape: Shape) -> int:
    return random.Random(shape.seed ^ 0x5A5A).randrange(2)


def passing(shape: Shape) -> int:
    return random.Random(shape.seed ^ 0xA5A5).choice([1, 1, 1, 2, 3, 5, 10, 40])


def run_point(name: str, shape: Shape, directory: Path, timeout_s: float) -> Outcome:
    world = harness.byway_world(harness.CRASH_LIBRARY)
    armed = {"BYWAY_CRASH": f"{name}:{passing(shape)}"}
    environments = (armed, {}) if victim(shape) == 0 else ({}, armed)
    return run_case(choose_case(shape), shape, (world, world), directory, timeout_s, environments)


END_LINES = re.compile(
    r"(drain|recv|send|ping|pong|duplex|duplex recv|duplex send) (errno (ECONNRESET|EPIPE)|end|done)$"
)


class PointOracle:
    """What a peer may see of a death at any instant: an end or a reset; no wrong byte, none missing before an end."""

    def __init__(self, directory: Path, timeout_s: float) -> None:
        self.directory = directory
        self.timeout_s = timeout_s

    def objection(self, shape: Shape, outcome: Outcome) -> str | None:
        died_index = victim(shape)
        died = (outcome.a, outcome.b)[died_index]
        survivor = (outcome.b, outcome.a)[died_index]
        if outcome.broken:
            return outcome.broken
        if died[-1] not in ("status -9", "status 0"):
            return f"the armed one ended with {died[-1]}"
        if survivor[-1] != "status 0":
            return f"the other one ended with {survivor[-1]}"
        strange = [line for line in survivor[:-2] if not END_LINES.match(line)]
        if strange:
            return f"the other one saw {strange}"
        if first_failure(survivor).endswith(" end") and "got part" in survivor:
            return "the other one saw a clean end before all bytes"
        return None


def first_failure(lines: tuple[str, ...]) -> str:
    return next((line for line in lines if line.endswith(" end") or "errno" in line), "")


def failure(name: str, shape: Shape, outcome: Outcome, oracle: PointOracle) -> str | None:
    objection = oracle.objection(shape, outcome)
    if objection is None:
        return None
    which = "ab"[victim(shape)]
    again = repeat_command(name, shape)
    return f"{name}:{passing(shape)} in {which}: {objection}\n  {shape}\n  {outcome}\n  again: {again}"
