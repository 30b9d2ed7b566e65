"""How often a wait spins: not while a program waits for its timers, again as soon as what it waits for comes fast."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.programs import harness
from tests.programs.harness import Program, Programs
from tests.programs.ring import read_ring, wait_ring_bytes

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(bool(harness.byway_missing()), reason=str(harness.byway_missing())),
]

TALKS, WAITS, WAIT_MS = 3000, 400, 2
SPINS_LOST_MAX = 8  # three say that spinning does not pay; the rest is for a machine that is busy with other things
CLIENT = harness.ROOT / "tests" / "programs" / "clients.py"
SHORT, LONG = "30", "2000"  # microseconds of a sleep


def spins(*waits: str) -> str:
    """Of each wait, whether it spins: 1, or 0."""
    return subprocess.check_output([harness.compile_native(harness.NATIVE / "spinning.c"), *waits], text=True).strip()


def test_a_spin_that_pays_is_made_again() -> None:
    assert spins(*["+"] * 100) == "1" * 100


def test_three_lost_spins_and_long_sleeps_end_spinning() -> None:
    assert spins(*[LONG] * 1000) == "1" * 3 + "0" * 997


def test_after_them_three_short_sleeps_bring_it_back() -> None:
    assert spins(*[LONG] * 100, *[SHORT] * 3, *["+"] * 50).endswith("000" + "1" * 50)


def test_where_it_does_not_pay_it_is_tried_ever_more_rarely() -> None:
    made = spins(*[SHORT] * 2000)
    gaps = [len(gap) for gap in made.strip("0").split("1") if gap]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (3, 63)


def take_turn(client: Program, number: int, what: str) -> dict[str, int]:
    """Tells the client what to do; the counters after it."""
    assert client.process.stdin
    client.process.stdin.write(what.encode() + b"\n")
    client.process.stdin.flush()
    client.wait_output(f"turn {number} done")
    ring = read_ring(client.pid)
    assert ring
    return ring.counters


def test_a_program_that_waits_for_its_timers_does_not_spin(group: Programs) -> None:
    port = harness.free_port()
    world = harness.byway_world()
    server = group.start([sys.executable, harness.SERVERS / "asyncio_echo.py", "serve-protocol", str(port)], world)
    server.wait_listening(port)
    client = group.start([sys.executable, CLIENT, "by-turns", "127.0.0.1", str(port)], world, stdin=subprocess.PIPE)
    talked = take_turn(client, 0, f"talk {TALKS}")
    wait_ring_bytes(client.pid, sent=1, received=1)
    waited = take_turn(client, 1, f"wait {WAITS} {WAIT_MS}")
    assert waited["sleeps"] - talked["sleeps"] >= WAITS
    assert waited["spins_lost"] - talked["spins_lost"] <= SPINS_LOST_MAX
