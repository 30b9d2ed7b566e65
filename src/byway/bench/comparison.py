"""Rounds in which kernel and Byway take turns, and what follows from them: ratios within a round, and their median."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from byway.bench import processes
from byway.bench.metrics import Metric
from byway.bench.processes import Sample
from byway.bench.stats import Interval, median_interval
from byway.errors import UserError

KERNEL, BYWAY = "kernel", "Byway"


@dataclass(frozen=True)
class Plan:
    """What is run, and how often."""

    server: Sequence[str]
    load: Sequence[str]
    environments: Mapping[str, Mapping[str, str]]  # by variant
    rounds: int
    server_cpus: set[int] | None  # None: where the system puts it
    load_cpus: set[int] | None
    start_timeout_s: float
    load_timeout_s: float


@dataclass(frozen=True)
class Comparison:
    """One metric over all rounds."""

    name: str
    more_is_better: bool
    kernel: list[float]
    byway: list[float]

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.byway, self.kernel, strict=True) if theirs]

    @property
    def interval(self) -> Interval | None:
        return median_interval(self.ratios) if self.ratios else None

    @property
    def kernel_median(self) -> float:
        return median(self.kernel)

    @property
    def byway_median(self) -> float:
        return median(self.byway)

    @property
    def verdict(self) -> str:
        """What the interval of the ratio allows to be said."""
        found = self.interval
        if found is None or found.low <= 1 <= found.high:
            return "no difference found"
        return "better" if (found.low > 1) == self.more_is_better else "worse"


Rounds = list[dict[str, Sample]]


def measure(plan: Plan, progress: Callable[[int], None]) -> Rounds:
    """`progress` is told how many rounds are done. Who comes first alternates."""
    rounds: Rounds = []
    for index in range(plan.rounds):
        progress(index)
        order = (KERNEL, BYWAY) if index % 2 == 0 else (BYWAY, KERNEL)
        rounds.append({variant: measure_one(plan, variant) for variant in order})
    progress(plan.rounds)
    return rounds


def measure_one(plan: Plan, variant: str) -> Sample:
    environment = plan.environments[variant]
    with processes.serving(plan.server, environment, plan.server_cpus, plan.start_timeout_s) as server:
        return processes.run_load(server, plan.load, environment, plan.load_cpus, plan.load_timeout_s, variant == BYWAY)


def compare(rounds: Rounds, metrics: Sequence[Metric]) -> list[Comparison]:
    """The metrics that every round has; without any, how long the load took. And the processor time."""
    found = [one for metric in metrics if (one := read_all(rounds, metric)) is not None]
    rate = next((one for metric in metrics for one in found if metric.is_rate and one.name == metric.name), None)
    if not found:
        found = [of_samples("seconds", rounds, lambda sample: sample.seconds)]
    if rate is None:
        return [*found, of_samples("processor seconds", rounds, lambda sample: sample.processor_seconds)]
    return [*found, processor_time_of_work(rounds, rate)]


def read_all(rounds: Rounds, metric: Metric) -> Comparison | None:
    values = {name: [metric.read(one[name].output) for one in rounds] for name in (KERNEL, BYWAY)}
    numbers = {name: [value for value in list_ if value is not None] for name, list_ in values.items()}
    if any(len(list_) < len(rounds) for list_ in numbers.values()):
        return None
    return Comparison(metric.name, metric.more_is_better, numbers[KERNEL], numbers[BYWAY])


def of_samples(name: str, rounds: Rounds, value: Callable[[Sample], float]) -> Comparison:
    return Comparison(name, False, [value(one[KERNEL]) for one in rounds], [value(one[BYWAY]) for one in rounds])


def processor_time_of_work(rounds: Rounds, rate: Comparison) -> Comparison:
    """Both ends' processor time for one request (or whatever the rate counts)."""
    unit = rate.name.partition("/")[0].rstrip("s")

    def per_unit(samples: list[Sample], rates: list[float]) -> list[float]:
        pairs = zip(samples, rates, strict=True)
        return [1e6 * sample.processor_seconds / (number * sample.seconds) for sample, number in pairs]

    kernel, byway = ([one[name] for one in rounds] for name in (KERNEL, BYWAY))
    name = f"processor time a {unit}, µs"
    return Comparison(name, False, per_unit(kernel, rate.kernel), per_unit(byway, rate.byway))


def need_rings(rounds: Rounds) -> str | None:
    """Why Byway's figures are the kernel's, if no byte went by a ring."""
    if all(one[BYWAY].ring_bytes for one in rounds):
        return None
    causes = sorted({reason for one in rounds for reason in one[BYWAY].reasons})
    why = "; ".join(causes) or "its connections ended too early to tell; perhaps each carries one request only"
    if any(one[BYWAY].ring_bytes for one in rounds):
        return f"in some rounds no byte went by the ring: {why}"
    return f"no byte went by the ring, so the kernel is compared with itself: {why}"


def check(asked: Sequence[Metric], rounds: Rounds) -> None:
    """What the user asked for by name must be there."""
    for metric in asked:
        if read_all(rounds, metric) is None:
            raise UserError(f"{metric.pattern!r} ({metric.name}) was not found in the load's output")
