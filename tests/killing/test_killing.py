"""A round of each kind, and the test is tested: a library with a fault is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.killing import rounds
from tests.killing.setups import SETUPS
from tests.programs import harness
from tests.programs.harness import World

pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(200),
    pytest.mark.skipif(bool(harness.byway_missing()), reason=str(harness.byway_missing())),
]


@pytest.mark.parametrize(("name", "victim"), [("redis", "load"), ("redis", "server"), ("nginx", "worker")])
def test_a_round(name: str, victim: str, tmp_path: Path) -> None:
    if missing := SETUPS[name].missing():
        pytest.skip(f"not installed: {missing}")
    case = rounds.Case(name, victim, 0.4, 1)
    result = rounds.run(case, harness.byway_world(), directory(tmp_path, "byway"))
    assert result.by_ring
    assert rounds.Oracle().allows(case, result.outcome, tmp_path), result


def test_a_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that reports an end where there is none: the load that nobody killed fails."""
    monkeypatch.setattr(rounds, "KERNEL_ROUNDS_MAX", 1)
    library = harness.compile_native(
        harness.ROOT / "tests" / "crash" / "native" / "faulty.c", "-shared", "-fPIC", "-Wno-stringop-overflow"
    )
    case = rounds.Case("asyncio", "load", 0.4, 1)
    faulty = World("faulty", library, {"FAULT": "early_end"})
    result = rounds.run(case, faulty, directory(tmp_path, "faulty"))
    assert not rounds.Oracle().allows(case, result.outcome, tmp_path), result


def directory(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made
