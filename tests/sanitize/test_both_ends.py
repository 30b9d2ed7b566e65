"""Both ends as threads of one process, at full speed, while both go on through relays: no wrong byte, no hang.

What the campaign of endings does with one thread at an end is done here with several: calls are under way at the moment
when the relay takes the socket.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sanitize.native_build import both_ends, run
from tests.variant import ROOT

RELAYED = ("relay", "relay, sleep", "relay, epoll", "relay, half-close", "relay, many")
SEEDS = 4
ROUNDS = 6


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both_ends(ROOT, tmp_path_factory.mktemp("both_ends") / "both_ends", "test")


@pytest.mark.parametrize("seed", range(1, 1 + SEEDS * ROUNDS, ROUNDS))
def test_calls_under_way_go_on(program: Path, seed: int) -> None:
    done = run(program, seed, ROUNDS, *RELAYED)
    assert done.returncode == 0, done.stdout + done.stderr
