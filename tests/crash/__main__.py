"""The full campaign of endings: `python -m tests.crash --rounds 200 --seed 1`.

Every scenario, and every named crash point, as many rounds as asked for, under Byway, each outcome compared with what
the kernel gives. Ends with 1 if anything differed, was lost, hung, or was left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash import points
from tests.crash.runner import Oracle, Outcome, difference, run_case
from tests.crash.scenarios import MEGABYTE, SCENARIOS, Shape, draw_shape
from tests.programs import harness


@dataclass
class Report:
    rounds: int = 0
    failures: list[str] = field(default_factory=list)

    def note(self, failure: str | None, name: str) -> None:
        self.rounds += 1
        if failure:
            self.failures.append(failure)
            print(f"FAIL {failure}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="rounds of each scenario and crash point")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=[*SCENARIOS, *points.names()], help="only these")
    parser.add_argument("--shape", type=int, help="one shape, as a failure names it")
    parser.add_argument(
        "--bytes", type=int, nargs=2, default=(50 * MEGABYTE, 500 * MEGABYTE), metavar=("LEAST", "MOST")
    )
    parser.add_argument("--carrier", choices=("byway", "kernel"), default="byway")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds that one round may take")
    return parser.parse_args()


def shapes(arguments: argparse.Namespace, name: str) -> Iterator[Shape]:
    hosts = harness.local_addresses()
    least, most = arguments.bytes
    if arguments.shape is not None:
        for _ in range(arguments.rounds):
            yield draw_shape(arguments.shape, hosts, least, most)
        return
    for number in range(arguments.rounds):
        yield draw_shape(hash_seed(arguments.seed, name, number), hosts, least, most)


def hash_seed(seed: int, name: str, number: int) -> int:
    value = seed
    for byte in f"{name}/{number}".encode():
        value = (value * 16777619 ^ byte) & 0x7FFFFFFF
    return value


def run_scenario(name: str, arguments: argparse.Namespace, directory: Path, report: Report) -> None:
    oracle = Oracle(name, directory, arguments.timeout)
    world = harness.byway_world() if arguments.carrier == "byway" else harness.KERNEL
    for shape in shapes(arguments, name):
        outcome: Outcome = run_case(SCENARIOS[name](shape), shape, (world, world), directory, arguments.timeout)
        report.note(None if oracle.allows(shape, outcome) else difference(oracle, shape, outcome), name)


def run_point(name: str, arguments: argparse.Namespace, directory: Path, report: Report) -> None:
    oracle = points.PointOracle(directory, arguments.timeout)
    for shape in shapes(arguments, name):
        outcome = points.run_point(name, shape, directory, arguments.timeout)
        report.note(points.failure(name, shape, outcome, oracle), name)


def main() -> int:
    arguments = parse()
    missing = harness.byway_missing() if arguments.carrier == "byway" else None
    if missing:
        print(missing, file=sys.stderr)
        return 2
    wanted = arguments.scenario or [*SCENARIOS, *(points.names() if not points.missing() else [])]
    total = Report()
    with tempfile.TemporaryDirectory(prefix="byway-crash-") as place:
        for name in wanted:
            began = time.monotonic()
            before = len(total.failures)
            one = run_scenario if name in SCENARIOS else run_point
            one(name, arguments, Path(place), total)
            failed = len(total.failures) - before
            print(
                f"{name:50} {arguments.rounds:5} rounds {failed:4} failed {time.monotonic() - began:8.1f} s", flush=True
            )
    print(f"{total.rounds} rounds, {len(total.failures)} failed (seed {arguments.seed})")
    if points.missing() and not arguments.scenario:
        print(f"crash points skipped: {points.missing()}")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
