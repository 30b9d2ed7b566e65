"""COMPLIANCE.md names files, scenarios and tests that are there, and every scenario's RFC has a row."""

from __future__ import annotations

import re
from pathlib import Path

from tests.script.language import parse

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "script" / "cases"
WANTED = {
    *("9293", "1122", "896", "7323", "5681", "6582", "2018", "6675", "2883", "6298"),
    *("6928", "3390", "3465", "3042", "5961", "6528", "1191", "8201", "2525"),
}


def rows() -> list[list[str]]:
    lines = [line for line in (ROOT / "COMPLIANCE.md").read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][1:]


def test_files_are_there_and_name_the_rfc() -> None:
    for row in rows():
        for name in re.findall(r"`(\w+/\w+\.c)`", row[3]):
            text = (ROOT / "csrc" / name).read_text()
            assert any(f"RFC {number}" in text for number in row[0].split(", ")), f"{name} does not name RFC {row[0]}"


def test_tests_are_there() -> None:
    for row in rows():
        for case in re.findall(r"`(\w+)`", row[4]):
            assert any(number in one.name for number in row[0].split(", ") for one in parse(CASES / f"{case}.txt")), row
        for path in re.findall(r"tests/\w+/\w+\.py", row[4]):
            assert (ROOT / path).exists(), path


def test_every_rfc_has_a_row() -> None:
    have = {number for row in rows() for number in row[0].split(", ")}
    assert not WANTED - have
    scenarios = [one for path in CASES.glob("*.txt") for one in parse(path)]
    named = {found[1] for one in scenarios if (found := re.match(r"RFC (\d+)", one.name))}
    assert not named - have - {"1337"}  # which is about what RFC 9293 says otherwise
