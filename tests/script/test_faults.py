"""Each fault that is seeded into the engine is found: the scripts and the tests of tests/engine can fail."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.script.faults import Fault, faults, find, patched
from tests.tidy.test_compliance import WANTED


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_it_is_found(fault: Fault) -> None:
    assert find(fault), f"nobody finds that {fault.rule}"


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_it_fits(fault: Fault) -> None:
    with tempfile.TemporaryDirectory() as place:
        patched(fault, Path(place))


def test_every_rfc_has_one() -> None:
    assert not {number for number in WANTED if not any(f"RFC {number}" in fault.rule for fault in faults())}
