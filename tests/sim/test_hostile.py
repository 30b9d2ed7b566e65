"""Two thousand networks that are against everybody: nothing is lost, nothing comes twice, nothing is left.

byway.sim.hostile says what must hold.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from byway.sim import hostile
from byway.sim.capture import Capture
from tests.sim import campaign

NETWORKS = 2000
CHUNKS = 10


@pytest.mark.parametrize("first", range(0, NETWORKS, NETWORKS // CHUNKS))
def test_hostile_networks(first: int) -> None:
    starts = list(range(first, first + NETWORKS // CHUNKS, 25))
    total = campaign.Sum()
    for _, found in campaign.run_each(starts, os.cpu_count() or 2, 25):
        total.merge(found)
    assert not total.violations
    assert total.networks == NETWORKS // CHUNKS
    assert total.failed_connections < total.connections / 50


def test_a_seed_does_the_same_each_time(tmp_path: Path) -> None:
    captures = []
    for name in ("one", "other"):
        network = hostile.Network(7)
        with Capture(tmp_path / name) as capture:
            network.world.observers.append(capture)
            network.run()
        captures.append((tmp_path / name).read_bytes())
    assert captures[0] == captures[1]
    assert len(captures[0]) > hostile.BYTES_MIN
