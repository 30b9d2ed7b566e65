"""Both ends as threads of one process, at full speed, while both give the socket back: no wrong byte, no hang.

What the campaign of endings does with one thread at an end is done here with several: calls are under way at the moment
when a relay takes the socket, when bytes go back to the kernel, or when the other end ends its direction meanwhile.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sanitize.native_build import both_ends, run
from tests.variant import ROOT

RELAYED = ("relay", "relay, sleep", "relay, epoll", "relay, half-close", "relay, many")
LATE = ("leave late", "resend")
LATE_ROUNDS = 30
SEEDS = 4
ROUNDS = 6


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both_ends(ROOT, tmp_path_factory.mktemp("both_ends") / "both_ends", "test")


@pytest.mark.parametrize("seed", range(1, 1 + SEEDS * ROUNDS, ROUNDS))
def test_calls_under_way_go_on(program: Path, seed: int) -> None:
    done = run(program, seed, ROUNDS, *RELAYED)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("scenario", LATE)
def test_nothing_is_lost_on_the_way_back(program: Path, scenario: str) -> None:
    """A shutdown while the other end hands back, and a peek at a direction of which a part has been taken back."""
    done = run(program, 1, LATE_ROUNDS, scenario)
    assert done.returncode == 0, done.stdout + done.stderr
