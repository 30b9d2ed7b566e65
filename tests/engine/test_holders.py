"""A process is killed while it has a stack's lock, at any instruction: the others go on, no byte is wrong, and hardly a
cell is lost (tests/engine/native/holders.c)."""

from __future__ import annotations

import json

import pytest

from tests.engine.native_engine import compiled, output_of

KILLS = 100
RUN_TIMEOUT_S = 100
HELD_SHARE_MIN = 0.5  # of the kills that met a holder: else the test tests little
ENDED_SHARE_MAX = 0.2  # connections that were being changed, for each kill
CELLS_A_KILL_MAX = 0.5  # one that was on its way from one owner to the next


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_holders(seed: int) -> None:
    result = json.loads(output_of([compiled("holders"), str(seed), str(KILLS)], RUN_TIMEOUT_S))
    assert result["kills"] == KILLS
    assert result["repairs"] >= HELD_SHARE_MIN * KILLS
    assert result["ended"] <= ENDED_SHARE_MAX * KILLS
    assert result["compared_bytes"] > KILLS * 10_000
    assert result["missing_cells"] <= CELLS_A_KILL_MAX * KILLS
