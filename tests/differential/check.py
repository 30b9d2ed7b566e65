"""Decides whether a case differs: kernel, Byway, and, where these differ, both again until it is clear whose it is.

A difference counts when no run on the kernel ever showed it, at a step where the kernel always shows the same, and when
it comes again. One that does not is told as *seen once*, unless something hung: waiting is never explained by a slow
machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .case import Case
from .compare import Difference, differences, strictly_same
from .counters import Carried
from .run import Trace, play

SETTLE_S = 0.002
# How a difference is looked at again: rounds, pause after each step, in how many it must be seen. First calmly, since
# the kernel too puts off work when processors are wanted; then fast, for what only a race shows.
MANNERS = ((4, SETTLE_S, 1), (8, 0.0, 2))


@dataclass(frozen=True)
class World:
    """How each side is started. `byway` may be the kernel's environment: then the tester tests itself."""

    kernel: dict[str, str]
    byway: dict[str, str]

    def byway_for(self, case: Case) -> dict[str, str]:
        if "LD_PRELOAD" not in self.byway:
            return self.byway
        return {**self.byway, **{f"BYWAY_{name.upper()}": str(value) for name, value in case.options.items()}}


@dataclass
class Verdict:
    case: Case
    differences: list[Difference] = field(default_factory=list)
    seen: int = 0  # in how many of the runs under Byway
    runs: int = 1
    carried: Carried = field(default_factory=Carried)
    stderr: str = ""
    timing: bool = False  # the kernel's own runs differ
    once: list[Difference] = field(default_factory=list)  # what never came again
    seconds: float = 0.0

    @property
    def differs(self) -> bool:
        return bool(self.differences)


def unstable_steps(kernels: list[Trace]) -> set[int]:
    """Steps that the kernel itself does not always do in the same way."""
    first = kernels[0].outcomes
    return {
        index
        for trace in kernels[1:]
        for index, outcome in enumerate(trace.outcomes)
        if not strictly_same(first[index], outcome)
    }


def unexplained(case: Case, kernels: list[Trace], byway: Trace) -> list[Difference]:
    """What `byway` shows and no run on the kernel does; the first kernel run's view of it."""
    unstable = unstable_steps(kernels)
    views = [[d for d in differences(case, kernel, byway) if d.index not in unstable] for kernel in kernels]
    return min(views, key=len)


@dataclass
class Sample:
    """Runs of one case on both sides, in one manner."""

    kernels: list[Trace]
    byways: list[Trace]

    @staticmethod
    def take(case: Case, world: World, rounds: int, settle_s: float) -> Sample:
        """The kernel first. A run that hangs and differs says enough: no more are made."""
        sample = Sample([], [])
        for _ in range(rounds):
            sample.kernels.append(play(case, world.kernel, sample.kernels[0] if sample.kernels else None, settle_s))
        for _ in range(rounds):
            sample.byways.append(play(case, world.byway_for(case), sample.kernels[0], settle_s))
            if sample.byways[-1].hung and sample.bad(case):
                break
        return sample

    def bad(self, case: Case) -> list[tuple[list[Difference], Trace]]:
        views = [(unexplained(case, self.kernels, run), run) for run in self.byways]
        return [(view, run) for view, run in views if view]


def check(case: Case, world: World, quick: bool = False) -> Verdict:
    """`quick`: for the shrinker, that asks about a case known to differ."""
    sample = Sample.take(case, world, 1, 0.0)
    verdict = Verdict(case, carried=sample.byways[0].carried)
    first = differences(case, sample.kernels[0], sample.byways[0])
    if not first:
        return verdict
    for rounds, settle_s, least in ((2, SETTLE_S, 1),) if quick else MANNERS:
        sample = Sample.take(case, world, rounds, settle_s)
        verdict.timing = verdict.timing or bool(unstable_steps(sample.kernels))
        bad = sample.bad(case)
        verdict.runs, verdict.seen = len(sample.byways), len(bad)
        if len(bad) >= least or any(run.hung for _, run in bad):
            verdict.differences, verdict.stderr = bad[0][0], bad[0][1].stderr
            return verdict
    verdict.once = first
    return verdict
