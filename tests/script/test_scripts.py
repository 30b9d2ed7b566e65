"""Every scenario of tests/script/cases, over IPv4 and over IPv6."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.script.language import Scenario, parse
from tests.script.runner import ADDRESSES, run

CASES = Path(__file__).with_name("cases")
SCENARIOS = [scenario for path in sorted(CASES.glob("*.txt")) for scenario in parse(path)]
SCENARIOS_MIN = 200


def runs() -> list[tuple[Scenario, str]]:
    return [(one, family) for one in SCENARIOS for family in ADDRESSES if one.only in ("", family)]


@pytest.mark.parametrize(
    ("scenario", "family"), runs(), ids=lambda one: one if isinstance(one, str) else f"{one.file}: {one.name}"
)
def test_scenario(scenario: Scenario, family: str) -> None:
    run(scenario, family)


def test_there_are_enough() -> None:
    assert len(SCENARIOS) >= SCENARIOS_MIN
    names = [(one.file, one.name) for one in SCENARIOS]
    assert len(names) == len(set(names))
