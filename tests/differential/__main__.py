"""`python -m tests.differential`: runs cases, prints what differs, and how fast and how much was tried."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import variant

from .agents import AgentError, agent_program, blob_file
from .case import Case
from .check import Verdict, World, check
from .generate import generate
from .record import record
from .shrink import shrink
from .workers import workers

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = variant.library()
CHUNK = 4
SLOW_S = 15


@dataclass
class Summary:
    cases: int = 0
    differing: int = 0
    by_ring: int = 0
    changed: int = 0
    timing: int = 0
    once: int = 0
    seconds: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.cases / self.seconds if self.seconds else 0.0

    def line(self) -> str:
        return (
            f"{self.cases} cases, {self.differing} differences, {self.by_ring} carried ring bytes, "
            f"{self.changed} changed carriers, {self.once} seen once and never again, {self.rate:.1f} cases per second"
        )


def world_of(library: str) -> World:
    """`kernel` as library compares the kernel with itself."""
    if library == "kernel":
        return World({}, {})
    if not Path(library).exists():
        raise AgentError(f"{library} is not built; `./dev build` builds it, `--library kernel` needs none")
    return World({}, {"LD_PRELOAD": variant.preload() if library == str(LIBRARY) else str(Path(library).resolve())})


def work(job: tuple[int, int, World]) -> Verdict:
    seed, number, world = job
    began = time.monotonic()
    verdict = check(generate(seed, number), world)
    verdict.seconds = time.monotonic() - began
    return verdict


def report(verdict: Verdict, world: World, shrink_seconds: float) -> dict[str, Any]:
    """Prints a difference, small, and keeps it so that --replay finds it."""
    case = verdict.case
    often = f"in {verdict.seen} of {verdict.runs} runs"
    relayed = f", {verdict.carried.relays} relays" if verdict.carried.relays else ""
    print(f"\nDIFFERENCE in case {case.seed} ({often}{relayed})")
    for difference in verdict.differences[:3]:
        print(f"    {difference}")
    small = case
    if shrink_seconds and verdict.seen == verdict.runs:
        last = verdict.differences[0].index
        small = shrink(case, lambda candidate: check(candidate, world, quick=True).differs, shrink_seconds, last)
        again = check(small, world, quick=True)
        verdict = again if again.differs else verdict
    directory = Path(os.environ.get("BYWAY_DIFF_DIR", "build/diff"))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"case-{case.seed.replace('/', '-')}.json"
    path.write_text(small.dumps())
    if small is not case:
        print(f"  shrunk from {len(case.steps)} steps to {len(small.steps)}:")
        print("  " + str(small).replace("\n", "\n  "))
        for difference in verdict.differences[:3]:
            print(f"    {difference}")
    if verdict.stderr:
        print("  stderr: " + verdict.stderr.strip().replace("\n", "\n    "))
    seed, _, number = case.seed.partition("/")
    print(f"  again: ./dev diff --seed {seed} --case {number}    the small one: ./dev diff --replay {path}", flush=True)
    return {"case": case.seed, "seen": often, "file": str(path), "differences": [str(d) for d in verdict.differences]}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev diff", description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="how many cases")
    parser.add_argument("--seed", type=int, default=1, help="what they are made from")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--case", type=int, help="only this one of the seed; prints its steps")
    parser.add_argument("--replay", type=Path, help="a case from a file")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first difference")
    parser.add_argument("--library", default=str(LIBRARY), help="`kernel`: compare the kernel with itself")
    parser.add_argument("--json", type=Path, help="write the summary here")
    parser.add_argument("--record", action="store_true", help="write the summary into tests/differential/RESULTS.md")
    parser.add_argument("--shrink-seconds", type=float, default=60.0, help="0: do not shrink")
    return parser.parse_args()


def replay(arguments: argparse.Namespace, world: World) -> int:
    if arguments.replay:
        case = Case.from_json(json.loads(arguments.replay.read_text()))
    else:
        case = generate(arguments.seed, arguments.case)
    print(case)
    verdict = check(case, world)
    print(f"carried: {verdict.carried}")
    if not verdict.differs:
        print("no difference" + (" (the kernel's own runs differ)" if verdict.timing else ""))
        return 0
    report(verdict, world, 0 if arguments.replay else arguments.shrink_seconds)
    return 1


def run_many(arguments: argparse.Namespace, world: World) -> Summary:
    summary = Summary()
    jobs = [(arguments.seed, number, world) for number in range(arguments.first, arguments.first + arguments.cases)]
    began = time.monotonic()
    with workers(arguments.jobs) as pool:
        for verdict in pool.imap_unordered(work, jobs, CHUNK):
            summary.cases += 1
            summary.once += bool(verdict.once)
            if verdict.once:
                print(f"seen once: case {verdict.case.seed} {verdict.once[0]}", flush=True)
            if verdict.seconds > SLOW_S:
                print(f"slow: case {verdict.case.seed} took {verdict.seconds:.0f} s", flush=True)
            summary.by_ring += verdict.carried.by_ring
            summary.changed += verdict.carried.changed
            summary.timing += verdict.timing
            summary.seconds = time.monotonic() - began
            if verdict.differs:
                summary.differing += 1
                summary.failures.append(report(verdict, world, arguments.shrink_seconds))
                if not arguments.keep_going:
                    break
    return summary


def main() -> int:
    arguments = parse()
    try:
        world = world_of(arguments.library)
        agent_program()
        blob_file()
        if arguments.replay or arguments.case is not None:
            return replay(arguments, world)
        summary = run_many(arguments, world)
    except AgentError as error:
        print(f"differential: {error}", file=sys.stderr)
        return 2
    print(summary.line())
    if arguments.json:
        arguments.json.write_text(json.dumps(vars(summary), indent=1))
    if arguments.record:
        record(arguments.seed, summary.cases, summary.differing, summary.once, summary.by_ring, summary.rate)
    return 1 if summary.differing else 0


if __name__ == "__main__":
    sys.exit(main())
