"""The fuzz targets build, survive some thousands of inputs, and find what is planted. Campaigns are `./dev fuzz`."""

from __future__ import annotations

import pytest

from tests.fuzz import targets
from tests.fuzz.targets import TARGETS

INPUTS = 20_000


@pytest.fixture(scope="module", autouse=True)
def needs_clang() -> None:
    if reason := targets.missing():
        pytest.skip(reason)


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if not target.must_fail])
def test_nothing_is_found(name: str) -> None:
    ran = targets.run(TARGETS[name], INPUTS, keep=False)
    assert ran.finding is None, ran.summary()
    assert ran.inputs >= INPUTS


@pytest.mark.parametrize(("name", "what"), [("canary", "heap-buffer-overflow"), ("loss", "every cell is free again")])
def test_what_is_planted_is_found(name: str, what: str) -> None:
    ran = targets.run(TARGETS[name], 5_000_000, keep=False)
    assert ran.finding
    assert what in ran.output
    ran.finding.unlink()
