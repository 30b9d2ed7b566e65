"""Medians and their intervals."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.bench.stats import coverage, median_interval, percentile


def test_coverage_is_the_binomials() -> None:
    assert coverage(9, 1) == pytest.approx(1 - 2 / 512)
    assert coverage(9, 2) == pytest.approx(1 - 2 * (1 + 9) / 512)


def test_nine_rounds_leave_out_one_value_at_either_end() -> None:
    found = median_interval([9, 1, 8, 2, 7, 3, 6, 4, 5])
    assert (found.low, found.median, found.high) == (2, 5, 8)
    assert found.confidence == pytest.approx(0.961, abs=1e-3)


def test_few_values_say_that_they_are_few() -> None:
    found = median_interval([3.0, 1.0, 2.0])
    assert (found.low, found.median, found.high) == (1, 2, 3)
    assert found.confidence == pytest.approx(0.75)


def test_one_value_has_no_confidence() -> None:
    found = median_interval([4.0])
    assert (found.low, found.high, found.confidence) == (4, 4, 0)


def test_no_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        median_interval([])


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=60))
def test_the_interval_contains_the_median(values: list[float]) -> None:
    found = median_interval(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)


def test_the_interval_holds_what_it_promises() -> None:
    chance = random.Random(1)
    hits = 0
    for _ in range(2000):
        found = median_interval([chance.expovariate(1) for _ in range(9)])
        hits += found.low <= 0.6931 <= found.high
    assert hits / 2000 == pytest.approx(0.961, abs=0.02)


def test_percentile_is_by_nearest_rank() -> None:
    assert percentile([1, 2, 3, 4, 5], 0.5) == 3
    assert percentile([1, 2, 3, 4, 5], 0.99) == 5
