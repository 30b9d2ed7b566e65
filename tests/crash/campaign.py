"""Runs many rounds of all scenarios and crash points, some side by side, in slices that are recorded one by one.

A slice is a few rounds of one scenario, in a process of its own pool: it has its own folder, its own programs and its
own ports, and the kernel's outcomes come and go with the record. No two slices of one scenario run at once, so rounds
of one scenario are in order, and each round is the same whenever and beside whatever it runs.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash import points, results
from tests.crash.results import Results
from tests.crash.runner import Oracle, Outcome, difference, run_case
from tests.crash.scenarios import SCENARIOS, Shape, draw_shape
from tests.programs import harness

SLICE_ROUNDS = 10
SLICE_S = 20.0
"""A slice ends after the round in which it has become this old."""


@dataclass(frozen=True)
class Settings:
    seed: int
    least_bytes: int
    most_bytes: int
    carrier: str
    timeout_s: float
    one_shape: int | None = None

    def shape(self, name: str, number: int) -> Shape:
        seed = hash_seed(self.seed, name, number) if self.one_shape is None else self.one_shape
        return draw_shape(seed, harness.local_addresses(), self.least_bytes, self.most_bytes)


@dataclass
class Slice:
    """Some rounds of one scenario, and what came of them."""

    name: str
    first: int
    rounds: int
    known: set[Outcome]
    done: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    kernel_rounds: int = 0
    deaths: int = 0


def hash_seed(seed: int, name: str, number: int) -> int:
    value = seed
    for byte in f"{name}/{number}".encode():
        value = (value * 16777619 ^ byte) & 0x7FFFFFFF
    return value


# -- in a process of the pool ------------------------------------------------------------------------------------------


def judge(oracle: Oracle, shape: Shape, outcome: Outcome) -> str | None:
    try:
        return None if oracle.allows(shape, outcome) else difference(oracle, shape, outcome)
    except AssertionError as error:
        return f"{oracle.scenario}: {error}"


def failures_of_scenario(part: Slice, settings: Settings, directory: Path) -> Iterator[str | None]:
    oracle = Oracle(part.name, directory, settings.timeout_s, seen=part.known)
    world = harness.byway_world() if settings.carrier == "byway" else harness.KERNEL
    for number in range(part.first, part.first + part.rounds):
        shape = settings.shape(part.name, number)
        case = SCENARIOS[part.name](shape)
        outcome = run_case(case, shape, (world, world), directory, settings.timeout_s)
        failure = judge(oracle, shape, outcome)
        part.kernel_rounds = oracle.rounds
        yield failure


def failures_of_point(part: Slice, settings: Settings, directory: Path) -> Iterator[str | None]:
    for number in range(part.first, part.first + part.rounds):
        shape = settings.shape(part.name, number)
        verdict = points.run_point(part.name, shape, directory, settings.timeout_s)
        part.deaths += verdict.is_reached
        yield verdict.failure


def left_by_slice(before: set[str]) -> str | None:
    """Rounds look for processes and names after each of them; the descriptors of the test itself are counted here."""
    children = harness.children()
    after = set(os.listdir("/proc/self/fd"))
    if children or len(after) > len(before):
        return f"left after the rounds: processes {sorted(children)}, descriptors {sorted(after - before)}"
    return None


def run_slice(part: Slice, settings: Settings) -> Slice:
    began = time.monotonic()
    before = set(os.listdir("/proc/self/fd"))
    with tempfile.TemporaryDirectory(prefix="byway-crash-") as place:
        run = failures_of_scenario if part.name in SCENARIOS else failures_of_point
        for failure in run(part, settings, Path(place)):
            part.done += 1
            part.failures += [failure] if failure else []
            if time.monotonic() - began > SLICE_S:
                break
    left = left_by_slice(before)
    part.failures += [f"{part.name}: {left}"] if left else []
    part.seconds = time.monotonic() - began
    return part


# -- in the process that was called ------------------------------------------------------------------------------------


@dataclass
class Campaign:
    settings: Settings
    results: Results
    wanted: list[str]
    rounds: int
    deadline: float
    running: dict[Future[Slice], str] = field(default_factory=dict)

    def next_name(self) -> str | None:
        """The one with the fewest rounds: a campaign that is cut short has tried all of them alike."""
        busy = set(self.running.values())
        open_names = [n for n in self.wanted if n not in busy and self.results.record(n).rounds < self.rounds]
        if not open_names or time.monotonic() > self.deadline:
            return None
        return min(open_names, key=lambda name: self.results.record(name).rounds)

    def start_next(self, pool: ProcessPoolExecutor) -> bool:
        name = self.next_name()
        if name is None:
            return False
        record = self.results.record(name)
        count = min(SLICE_ROUNDS, self.rounds - record.rounds)
        part = Slice(name, record.rounds, count, record.outcomes())
        self.running[pool.submit(run_slice, part, self.settings)] = name
        return True

    def take(self, future: Future[Slice]) -> None:
        del self.running[future]
        part = future.result()
        record = self.results.record(part.name)
        record.rounds += part.done
        record.failures += part.failures
        record.seconds += part.seconds
        record.kernel_rounds += part.kernel_rounds
        record.deaths += part.deaths
        record.kernel_outcomes = [[list(one.a), list(one.b)] for one in sorted(part.known, key=str)]
        self.report(part)

    def report(self, part: Slice) -> None:
        for failure in part.failures:
            print(f"FAIL {failure}", flush=True)
        done = sum(min(self.results.record(name).rounds, self.rounds) for name in self.wanted)
        record = self.results.record(part.name)
        print(
            f"{100 * done / (self.rounds * len(self.wanted)):5.1f} %  {part.name:45} {record.rounds:4} rounds "
            f"{len(record.failures):3} failed {record.seconds:7.1f} s",
            flush=True,
        )

    def run(self, jobs: int) -> None:
        began, before = time.monotonic(), self.results.elapsed_s
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            while True:
                while len(self.running) < jobs and self.start_next(pool):
                    pass
                if not self.running:
                    return
                for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                    self.take(future)
                self.results.elapsed_s = before + time.monotonic() - began
                results.write(self.results, self.wanted, self.rounds)

    def failed(self) -> int:
        return sum(len(self.results.record(name).failures) for name in self.wanted)

    def never_reached(self) -> list[str]:
        """Crash points at which nobody died in all rounds: nothing was tried there."""
        ended = [name for name in self.wanted if self.results.record(name).rounds >= self.rounds]
        return [name for name in ended if name not in SCENARIOS and not self.results.record(name).deaths]

    def is_done(self) -> bool:
        return all(self.results.record(name).rounds >= self.rounds for name in self.wanted)
