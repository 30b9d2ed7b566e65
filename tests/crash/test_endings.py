"""Every ending, small, on the kernel (is the test itself right?) and under Byway (is it what the kernel gives?)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash import points
from tests.crash.campaign import hash_seed
from tests.crash.runner import Oracle, difference, run_case
from tests.crash.scenarios import MEGABYTE, SCENARIOS, Case, Scenario, draw_shape
from tests.programs import harness

ROUNDS = 3

# docs/local-transport.md, section 9. They are shown as xfail, and are to become passes.
KNOWN_BROKEN: set[str] = set()
ROUND_S = 20.0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENARIOS)
def test_kernel_gives_an_outcome(name: str, tmp_path: Path) -> None:
    """Non-racy scenarios give one outcome a shape: else comparing would prove nothing."""
    shape = draw_shape(hash_seed(1, name, 0), harness.local_addresses(), MEGABYTE, 4 * MEGABYTE)
    oracle = Oracle(name, tmp_path, ROUND_S)
    outcomes = {oracle.round(shape) for _ in range(2)}
    assert SCENARIOS[name](shape).racy or len(outcomes) == 1, "\n".join(map(str, outcomes))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENARIOS)
def test_byway_gives_what_the_kernel_gives(name: str, tmp_path: Path) -> None:
    if missing := harness.byway_missing():
        pytest.skip(missing)
    world = harness.byway_world()
    oracle = Oracle(name, tmp_path, ROUND_S)
    for number in range(ROUNDS):
        shape = draw_shape(hash_seed(1, name, number), harness.local_addresses(), MEGABYTE, 20 * MEGABYTE)
        outcome = run_case(SCENARIOS[name](shape), shape, (world, world), tmp_path, ROUND_S)
        if oracle.allows(shape, outcome):
            continue
        if name in KNOWN_BROKEN:
            pytest.xfail(difference(oracle, shape, outcome))
        pytest.fail(difference(oracle, shape, outcome), pytrace=False)


MIXED = ["write_killed", "reader_killed_with_bytes_unread", "half_close_then_answer_and_death", "full_then_killed"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("byway_index", (0, 1), ids=("sender", "receiver"))
@pytest.mark.parametrize("name", MIXED)
def test_one_end_under_byway(name: str, byway_index: int, tmp_path: Path) -> None:
    if missing := harness.byway_missing():
        pytest.skip(missing)
    worlds = (harness.byway_world(), harness.KERNEL) if byway_index == 0 else (harness.KERNEL, harness.byway_world())
    oracle = Oracle(name, tmp_path, ROUND_S)
    shape = draw_shape(hash_seed(2, name, byway_index), harness.local_addresses(), MEGABYTE, 8 * MEGABYTE)
    outcome = run_case(SCENARIOS[name](shape), shape, worlds, tmp_path, ROUND_S)
    if not oracle.allows(shape, outcome):
        pytest.fail(difference(oracle, shape, outcome), pytrace=False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", (points.conversation, points.unread))
@pytest.mark.parametrize("victim", (0, 1))
def test_kernel_obeys_the_rule_of_crash_points(case: Scenario, victim: int, tmp_path: Path) -> None:
    """Killed at any moment on the kernel: the rule forbids nothing that Linux does."""
    oracle = points.PointOracle(tmp_path, ROUND_S)
    for number in range(20):
        shape = draw_shape(hash_seed(3, case.__name__, number), harness.local_addresses(), MEGABYTE, MEGABYTE)
        dying = replace(case(shape), conduct=[f"kill {'ab'[victim]} {shape.kill_ms / 4:.3f}"])
        outcome = run_case(dying, shape, (harness.KERNEL, harness.KERNEL), tmp_path, ROUND_S)
        assert oracle.objection(victim, outcome) is None, outcome


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", points.names())
def test_death_at_crash_point(name: str, tmp_path: Path) -> None:
    if missing := points.missing():
        pytest.skip(missing)
    verdicts = []
    for number in range(4):
        shape = draw_shape(hash_seed(1, name, number), harness.local_addresses(), MEGABYTE, MEGABYTE)
        verdicts.append(points.run_point(name, shape, tmp_path, ROUND_S))
        if verdicts[-1].failure:
            pytest.fail(verdicts[-1].failure, pytrace=False)
    assert any(verdict.is_reached for verdict in verdicts), "nobody died there in any round"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ("take_back_taken", "take_back_sent", "take_back_untaken"))
def test_survivor_goes_on(name: str, tmp_path: Path) -> None:
    """The sender dies while it takes back, and a child of it has the socket still: all bytes of both come, in order."""
    if missing := points.missing():
        pytest.skip(missing)
    for number in range(4):
        shape = draw_shape(hash_seed(4, name, number), harness.local_addresses(), MEGABYTE, MEGABYTE)
        shape = replace(shape, options={}, receive_mode="block")
        few = shape.small_bytes % 2000 + 1000
        child = ["fork", "sleep:300", "send:50000", "shutdown", "drain", "exit", "end"]
        a = ["ping:20", f"send:{few}", *child, "recv:1000", "sleep:2000"]
        b = ["pong:20", "sleep:2", "deny-getfd", "stdio", "send:1000", "drain", "close"]
        world = harness.byway_world(harness.CRASH_LIBRARY)
        armed = {"BYWAY_CRASH": f"{name}:1"}
        outcome = run_case(Case(a, b, racy=True), shape, (world, world), tmp_path, ROUND_S, (armed, {}))
        assert not outcome.broken, outcome
        assert outcome.a[-1] == "status -9", outcome
        assert outcome.b == ("send done", "drain end", "got whole", "status 0"), outcome


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ("take_back_taken", "take_back_sent", "take_back_untaken"))
def test_survivor_that_only_receives(name: str, tmp_path: Path) -> None:
    """The same with a survivor that never sends: its first use of the socket is enough."""
    if missing := points.missing():
        pytest.skip(missing)
    for number in range(4):
        shape = draw_shape(hash_seed(6, name, number), harness.local_addresses(), MEGABYTE, MEGABYTE)
        shape = replace(shape, options={}, receive_mode="block")
        few = shape.small_bytes % 2000 + 1000
        a = ["ping:20", f"send:{few}", "fork", "sleep:300", "recv:1000", "exit", "end", "recv:1000", "sleep:2000"]
        b = ["pong:20", "sleep:2", "deny-getfd", "stdio", f"recv:{few}", "send:1000", "drain", "close"]
        world = harness.byway_world(harness.CRASH_LIBRARY)
        armed = {"BYWAY_CRASH": f"{name}:1"}
        outcome = run_case(Case(a, b, racy=True), shape, (world, world), tmp_path, ROUND_S, (armed, {}))
        assert not outcome.broken, outcome
        assert outcome.a[-1] == "status -9", outcome
        assert outcome.b == ("recv done", "send done", "drain end", "got whole", "status 0"), outcome


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ("hand_back_claimed", "hand_back_sent", "hand_back_taken_out"))
def test_survivor_of_a_hand_back(name: str, tmp_path: Path) -> None:
    """The receiver dies while it hands back, and a child of it has the socket still.

    Where nothing had been moved all comes; else both see a reset, and no byte that is wrong."""
    if missing := points.missing():
        pytest.skip(missing)
    for number in range(4):
        shape = draw_shape(hash_seed(5, name, number), harness.local_addresses(), MEGABYTE, MEGABYTE)
        shape = replace(shape, options=points.OPTIONS.get(name, {}), receive_mode="block")
        child = ["fork", "sleep:300", "drain", "exit", "end"]
        a = ["ping:20", "send:3000", "send:12000", "tell:sent", "sleep:100", "send:50000", "shutdown", "drain"]
        b = ["pong:20", "wait:sent", *child, "stdio", "sleep:2000"]
        world = harness.byway_world(harness.CRASH_LIBRARY)
        armed = {"BYWAY_CRASH": f"{name}:1"}
        outcome = run_case(Case(a, b, racy=True), shape, (world, world), tmp_path, ROUND_S, ({}, armed))
        assert not outcome.broken, outcome
        assert outcome.b[-1] == "status -9", outcome
        if name == "hand_back_claimed":
            assert outcome.a == ("send done", "send done", "send done", "drain end", "got whole", "status 0"), outcome
            assert outcome.b[0] == "drain end", outcome
        else:
            assert outcome.a[2] == "send errno ECONNRESET" and outcome.a[-1] == "status 0", outcome
            assert outcome.b[0] == "drain errno ECONNRESET", outcome


@pytest.mark.timeout(120)
def test_a_peer_killed_while_both_stream_is_a_reset(tmp_path: Path) -> None:
    """It reads less than comes, so the kernel alone always shows ECONNRESET; two in a hundred showed an end once."""
    if missing := harness.byway_missing():
        pytest.skip(missing)
    world = harness.byway_world()
    drawn = draw_shape(1493717097, ["127.0.0.1"], 300 * MEGABYTE, 300 * MEGABYTE)
    for number in range(150):
        shape = replace(drawn, kill_ms=4 + 15 * number / 150)
        case = SCENARIOS["duplex_sender_killed_at_random"](shape)
        outcome = run_case(case, shape, (world, world), tmp_path, ROUND_S)
        assert outcome.b[0] in ("duplex recv errno ECONNRESET", "duplex send errno ECONNRESET"), outcome
