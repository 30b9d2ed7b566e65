"""No program is slower under Byway than on the kernel: the benchmarks' own measurements, short, until one shows it.

How much faster is for `./dev bench` to say, on a quiet machine.
"""

from __future__ import annotations

import pytest

from bench.figures import all_figures
from bench.harness import byway_missing, processors, run_round
from bench.model import Figure, Settings
from tests.programs import harness

ROUNDS_MAX = 10
SECONDS = 0.2
AS_FAST = 0.9  # the machine moves by more from one moment to the next
NOT_BESIDE_THE_KERNEL = {"round_trip", "engine", "idle"}  # compared with something else first
LONG = {"together"}

pytestmark = [
    pytest.mark.programs,
    pytest.mark.alone,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(byway_missing()), reason=str(byway_missing())),
]


def chosen() -> list[Figure]:
    return [figure for figure in all_figures() if figure.name not in NOT_BESIDE_THE_KERNEL | LONG]


@pytest.mark.parametrize("figure", chosen(), ids=lambda figure: figure.name)
def test_no_slow_down(figure: Figure) -> None:
    if missing := figure.missing():
        pytest.skip(missing)
    settings = Settings(ROUNDS_MAX, SECONDS, *processors(), harness.ROOT / "build" / "bench")
    seen = []
    for index in range(ROUNDS_MAX):
        one = run_round(figure, settings, index)
        assert not one.failures
        seen.append(figure.comparisons[0].ratio(one.samples))
        if seen[-1] >= AS_FAST:
            return
    pytest.fail(f"as fast as on the kernel in none of {ROUNDS_MAX} rounds: {[round(ratio, 2) for ratio in seen]}")
