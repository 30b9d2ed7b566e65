"""The seeded faults follow the code: each applies (`./dev faults --build-only` compiles them, `./dev faults` looks)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .faults.__main__ import HERE, ROOT, apply_command, rule_of
from .faults.record import record, rows

PATCHES = sorted(HERE.glob("*.patch"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_fault_applies_to_the_code_as_it_is(patch: Path) -> None:
    done = subprocess.run([*apply_command(patch), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_fault_names_the_rule_that_it_breaks() -> None:
    assert not [patch.stem for patch in PATCHES if rule_of(patch) == "(no rule named)"]


def test_every_fault_was_found_when_it_was_last_looked_for() -> None:
    found = rows()
    assert set(found) <= {patch.stem for patch in PATCHES}
    assert not [name for name, row in found.items() if "| hidden |" in row]


def test_what_is_recorded_stays_until_it_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.differential.faults.record.RESULTS", tmp_path / "RESULTS.md")
    record("a", "3.1: one", 5, 1, ["a", "b"])
    record("b", "two", None, 1, ["a", "b"])
    record("b", "two", 7, 2, ["a", "b", "c"])
    assert "| 5 | 1 |" in rows()["a"] and "| 7 | 2 |" in rows()["b"]
    assert "3 faults, 2 tried, 2 found." in (tmp_path / "RESULTS.md").read_text()
