"""What a figure is, what a round of it gives, and how a whole run is kept as JSON.

A figure compares variants (kernel, Byway, sometimes a bare limit). A round measures each variant once, one right after
the other; a comparison is a ratio *within* a round, and what is published is the median of these ratios over the
rounds, because the machine itself moves from round to round.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from byway.bench.stats import Interval, median_interval


class BenchError(Exception):
    """A measurement that is not there, and why, in a sentence for the user."""


@dataclass(frozen=True)
class Variant:
    """One way to run the same programs."""

    name: str
    title: str
    byway: bool = False
    profile: str = "default"  # of both ends
    load_byway: bool | None = None  # the load alone; None: as `byway`

    @property
    def of_load(self) -> Variant:
        """How the load runs."""
        return self if self.load_byway is None else replace(self, byway=self.load_byway)


KERNEL = Variant("kernel", "kernel")
BYWAY = Variant("byway", "Byway", byway=True)
BARE = Variant("bare", "bare shared memory")


@dataclass(frozen=True)
class Sample:
    """What one variant did in one round."""

    rate_per_s: float | None = None  # requests, messages, connections or bytes a second
    p50_us: float | None = None  # latency seen by the load
    p99_us: float | None = None
    payload_bytes: float = 0  # at least so many bytes went to and fro
    ring_bytes: int | None = None  # bytes that went by rings, both directions; None: not asked

    @property
    def tail(self) -> float:
        """p99 / p50."""
        return need(self.p99_us) / need(self.p50_us)


def need(value: float | None) -> float:
    """`value`, which the figure says is measured."""
    if value is None:
        raise BenchError("the load did not report a value that the comparison needs")
    return value


RoundSamples = Mapping[str, Sample]  # by the variant's name


@dataclass(frozen=True)
class Comparison:
    """A ratio between two variants of the same round, and the bound that it should keep."""

    title: str
    kernel: str  # the variant shown beside Byway's
    ratio: Callable[[RoundSamples], float]
    bound: float | None = None  # the target; None: only reported
    at_least: bool = True  # the bound is a least value; False: a greatest value
    whole_interval: bool = False  # the bound holds for the whole interval; False: for the median
    byway: str = BYWAY.name


def rate_ratio(samples: RoundSamples) -> float:
    """How many times as much Byway does in the same time."""
    return need(samples[BYWAY.name].rate_per_s) / need(samples[KERNEL.name].rate_per_s)


def p50_ratio(samples: RoundSamples) -> float:
    """How many times as long the kernel takes."""
    return need(samples[KERNEL.name].p50_us) / need(samples[BYWAY.name].p50_us)


@dataclass(frozen=True)
class Settings:
    """What holds for a whole run."""

    rounds: int
    seconds: float  # how long a load should run
    server_cpu: int | None  # None: where the system puts it
    load_cpu: int | None
    build: Path  # where compiled programs are kept


@dataclass(frozen=True)
class Figure:
    """One published number (or a few, of the same measurement)."""

    name: str
    title: str
    unit: str  # of rate_per_s; "" where only latency is measured
    comparisons: Sequence[Comparison]
    measure: Callable[[Variant, Settings], Sample]
    missing: Callable[[], str | None]  # why it cannot be measured here, if so
    variants: Sequence[Variant] = (KERNEL, BYWAY)
    ring_share_min: float = 0.5  # at least this share of the payload must have gone by rings
    rounds_factor: int = 1  # this many times as many rounds,
    seconds_factor: float = 1.0  # each this many times as long
    options: str = "default options"


ONE_CORE, TWO_CORES, UNCLEAR = "one core", "two cores", "unclear"
ONE_CORE_BELOW_US = 0.25  # one line there and back: 0.07 to 0.16 µs inside a core, 0.45 to 0.6 µs between cores


# -- results: plain values, as they are in the JSON -------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """The samples of one round, by variant; a variant that failed has a sentence instead."""

    order: list[str]
    samples: dict[str, Sample]
    failures: dict[str, str]
    limits_us: list[float]  # the bare limit's p50 just before and just after; empty where it cannot be measured

    @property
    def placement(self) -> str:
        """How the two processors lay to each other, as the bare limit shows it.

        A virtual machine's processors are threads of one core at one time and two cores at another; kernel and Byway
        are both two to six times as fast on one core, and their ratio is another.
        """
        kinds = {ONE_CORE if limit < ONE_CORE_BELOW_US else TWO_CORES for limit in self.limits_us}
        return kinds.pop() if len(kinds) == 1 else UNCLEAR


@dataclass(frozen=True)
class Ratio:
    """A comparison's outcome."""

    title: str
    placement: str  # only of rounds in which the processors lay so; "": of all
    kernel: str
    byway: str
    bound: float | None
    at_least: bool
    whole_interval: bool
    per_round: list[float]
    interval: Interval | None  # None: no round was complete

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the bound; None where there is no bound or no value."""
        if self.bound is None or self.interval is None:
            return None
        found = self.interval
        if self.at_least:
            return (found.low if self.whole_interval else found.median) >= self.bound
        return (found.high if self.whole_interval else found.median) <= self.bound


@dataclass(frozen=True)
class FigureResult:
    """All rounds of a figure, and what follows from them."""

    name: str
    title: str
    unit: str
    options: str
    skipped: str | None
    busy_processors: float  # by other programs, while it was measured
    rounds: list[Round]
    ratios: list[Ratio]

    def median_of(self, variant: str, attribute: str, placement: str = "") -> float | None:
        """The median over the rounds of one attribute of a variant's samples; None where it was not measured."""
        rounds = rounds_of(self.rounds, placement)
        values = [getattr(one.samples[variant], attribute) for one in rounds if variant in one.samples]
        present = [value for value in values if value is not None]
        return median(present) if present else None

    @property
    def failures(self) -> list[str]:
        """What went wrong, and in how many rounds."""
        counted = Counter((variant, why) for one in self.rounds for variant, why in one.failures.items())
        return [f"{variant}, {count} of {len(self.rounds)} rounds: {why}" for (variant, why), count in counted.items()]


@dataclass(frozen=True)
class Report:
    """A whole run."""

    date: str  # ISO 8601, UTC
    machine: dict[str, str]
    commit: str
    settings: dict[str, Any]
    figures: list[FigureResult]

    def save(self, path: Path) -> None:
        """Writes the run as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> Report:
        """Reads what `save` wrote."""
        plain = json.loads(path.read_text())
        return Report(**{**plain, "figures": [figure_from_plain(figure) for figure in plain["figures"]]})


def figure_from_plain(plain: dict[str, Any]) -> FigureResult:
    """A figure's result from its JSON."""
    rounds = [
        Round(**{**r, "samples": {name: Sample(**sample) for name, sample in r["samples"].items()}})
        for r in plain["rounds"]
    ]
    ratios = [Ratio(**{**r, "interval": Interval(**r["interval"]) if r["interval"] else None}) for r in plain["ratios"]]
    return FigureResult(**{**plain, "rounds": rounds, "ratios": ratios})


def rounds_of(rounds: Sequence[Round], placement: str) -> list[Round]:
    """The rounds of a placement; all of them for ""."""
    return [one for one in rounds if not placement or one.placement == placement]


def compare_all(comparisons: Sequence[Comparison], rounds: Sequence[Round]) -> list[Ratio]:
    """Every comparison over all rounds, and by placement too where there was more than one."""
    placements = sorted({one.placement for one in rounds} - {UNCLEAR})
    kinds = ["", *(placements if len(placements) > 1 else [])]
    return [compare(comparison, rounds, placement) for comparison in comparisons for placement in kinds]


def compare(comparison: Comparison, rounds: Sequence[Round], placement: str = "") -> Ratio:
    """The ratios of the rounds in which all variants were measured, and their median."""
    per_round = [comparison.ratio(one.samples) for one in rounds_of(rounds, placement) if not one.failures]
    interval = median_interval(per_round) if per_round else None
    return Ratio(
        comparison.title,
        placement,
        comparison.kernel,
        comparison.byway,
        comparison.bound,
        comparison.at_least,
        comparison.whole_interval,
        per_round,
        interval,
    )
