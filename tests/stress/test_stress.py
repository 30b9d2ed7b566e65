"""Two processes, many threads and connections, everything at random, while both processors are wanted by others.

Longer: `python -m tests.stress --seconds 600 --seed 5`.
"""

from __future__ import annotations

import pytest

from tests.programs import harness
from tests.programs.harness import Programs, World
from tests.stress.campaign import VARIANTS, run_lookers, run_pollers, run_stress

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("connections", (1, 8, 60))
def test_stress(group: Programs, worlds: tuple[World, World], connections: int) -> None:
    run_stress(group, worlds, seconds=1.5, connections=connections, seed=connections, load=connections == 8)


@pytest.mark.parametrize("variant", VARIANTS)
def test_stress_with_options(group: Programs, variant: str) -> None:
    if missing := harness.byway_missing():
        pytest.skip(missing)
    world = harness.byway_world().with_options(**VARIANTS[variant])
    run_stress(group, (world, world), seconds=1.5, connections=12, seed=7, load=True)


@pytest.mark.parametrize("spin_us", (0, 20))
def test_a_look_leaves_the_bell_to_who_sleeps(group: Programs, spin_us: int) -> None:
    if missing := harness.byway_missing():
        pytest.skip(missing)
    world = harness.byway_world().with_options(attach_after="0", spin_us=str(spin_us))
    assert run_lookers(group, world, rounds=2000, seed=spin_us) == "woken 2000"


@pytest.mark.parametrize("spin_us", (0, 20))
def test_who_polls_is_woken_whatever_others_poll(group: Programs, carrier: World, spin_us: int) -> None:
    world = carrier.with_options(spin_us=str(spin_us)) if carrier.is_byway else carrier
    assert run_pollers(group, world, rounds=20000, seed=spin_us) == "answered 20000"
