"""Medians and their confidence intervals, without assumptions about the distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

CONFIDENCE_WANTED = 0.95


@dataclass(frozen=True)
class Interval:
    """The median of some values lies in [low, high] with probability `confidence`."""

    median: float
    low: float
    high: float
    confidence: float

    @property
    def half_width_share(self) -> float:
        """Half the interval's width, as a share of the median."""
        return (self.high - self.low) / 2 / self.median


def coverage(count: int, rank: int) -> float:
    """The probability that a median lies between the `rank`-th smallest and the `rank`-th largest of `count` values.

    The number of values below the true median is binomial (count, 1/2), whatever the distribution; the interval
    misses when fewer than `rank` values lie on one side.
    """
    misses_on_one_side: int = sum(comb(count, below) for below in range(rank))
    return 1 - misses_on_one_side / 2.0 ** (count - 1)


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE_WANTED) -> Interval:
    """The median of `values` and the narrowest order-statistic interval that has at least `confidence`.

    With fewer than 6 values no interval has 95 %: then it is the smallest and the largest, with what confidence
    these have.
    """
    if not values:
        raise ValueError("a median needs at least one value")
    ordered = sorted(values)
    count = len(ordered)
    ranks = [rank for rank in range(1, (count + 1) // 2 + 1) if coverage(count, rank) >= confidence]
    rank = max(ranks, default=1)
    return Interval(median(ordered), ordered[rank - 1], ordered[count - rank], coverage(count, rank))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the sorted values do not exceed (nearest rank)."""
    if not ordered:
        raise ValueError("a percentile needs at least one value")
    return ordered[round(share * (len(ordered) - 1))]
