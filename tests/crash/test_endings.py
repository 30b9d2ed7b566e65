"""Every ending, small, on the kernel (is the test itself right?) and under Byway (is it what the kernel gives?)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import points
from tests.crash.__main__ import hash_seed
from tests.crash.runner import Oracle, difference, run_case
from tests.crash.scenarios import MEGABYTE, SCENARIOS, draw_shape
from tests.programs import harness

ROUNDS = 3

# docs/local-transport.md, section 9. They are shown as xfail, and are to become passes.
# A program that knows nothing of rings cannot be given more than the kernel holds: it may even wait, or miss bytes.
KNOWN_BROKEN = {"executed_foreign_receiver", "executed_receiver_with_bytes_unread"}
# The outcome may differ; a hang or wrong bytes still fail.
KNOWN_DIFFERENCES = {
    # an abort throws away what waits in the sender's kernel, and less waits there
    "aborted_while_reading",
    # a reset by a forked holder is told as an end
    "forked_sender_child_holds",
    # end or reset, by the microsecond of the death: too few kernel rounds here to have seen both
    "conversation_killed_at_random",
}
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
        known = name in KNOWN_BROKEN or (name in KNOWN_DIFFERENCES and not outcome.broken)
        if not oracle.allows(shape, outcome) and known:
            pytest.xfail(difference(oracle, shape, outcome))
        if not oracle.allows(shape, outcome):
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
@pytest.mark.parametrize("name", points.names())
def test_death_at_crash_point(name: str, tmp_path: Path) -> None:
    if missing := points.missing():
        pytest.skip(missing)
    oracle = points.PointOracle(tmp_path, ROUND_S)
    for number in range(4):
        shape = draw_shape(hash_seed(1, name, number), harness.local_addresses(), MEGABYTE, MEGABYTE)
        outcome = points.run_point(name, shape, tmp_path, ROUND_S)
        objection = points.failure(name, shape, outcome, oracle)
        if objection:
            pytest.fail(objection, pytrace=False)
