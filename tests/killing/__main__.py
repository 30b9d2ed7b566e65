"""`python -m tests.killing --rounds 1000 --seed 1 [--record]`: kill -9 in the middle of each program's own benchmark.

Ends with 1 if anything was otherwise than on the kernel, hung, or was left. `./dev kill` runs this.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.harness import end_on_signals
from tests.crash.results import commit, machine
from tests.killing import rounds
from tests.killing.setups import SETUPS
from tests.programs import harness

RESULTS = Path(__file__).with_name("RESULTS.md")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin with round N")
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.relative_to(harness.ROOT)}")
    return parser.parse_args()


@dataclass
class Tally:
    """What has been tried, by server and victim."""

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_ring: Counter[tuple[str, str]] = field(default_factory=Counter)

    def table(self) -> str:
        lines = ["| server | victim | rounds | by the ring | failed |", "| --- | --- | ---: | ---: | ---: |"]
        for key, count in sorted(self.tried.items()):
            lines.append(f"| {key[0]} | {key[1]} | {count} | {self.by_ring[key]} | {self.failed[key]} |")
        return "\n".join(lines)


def run_round(case: rounds.Case, oracle: rounds.Oracle, tally: Tally, directory: Path) -> str | None:
    """What was wrong, if anything."""
    key = (case.setup, case.victim)
    tally.tried[key] += 1
    try:
        result = rounds.run(case, harness.byway_world(), Path(tempfile.mkdtemp(dir=directory)))
        tally.by_ring[key] += result.by_ring
        if oracle.allows(case, result.outcome, directory):
            return None
        wrong = f"{result.outcome}, and the kernel showed only {oracle.seen[key]}"
    except AssertionError as error:
        wrong = str(error)
    tally.failed[key] += 1
    return wrong


def record(wish: argparse.Namespace, tally: Tally, kernel_rounds: int, seconds: float) -> None:
    first = f" --first {wish.first}" if wish.first else ""
    command = f"./dev kill --rounds {wish.rounds}{first} --seed {wish.seed} --record"
    counts = f"{tally.tried.total()} rounds, {tally.failed.total()} failed, {kernel_rounds} rounds of the kernel"
    RESULTS.write_text(
        "# kill -9 in the middle of real programs' benchmarks\n\n"
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {machine()}.\n\n"
        f"{counts}, {seconds / 60:.0f} minutes.\n"
        "*By the ring*: rounds in which rings had carried bytes when somebody died.\n\n"
        f"{tally.table()}\n"
    )


def main() -> int:
    wish = parse()
    if missing := harness.byway_missing():
        print(missing, file=sys.stderr)
        return 1
    absent = {name: setup.missing() for name, setup in SETUPS.items() if setup.missing()}
    if absent:
        print(f"left out, for programs that are not installed: {absent}", file=sys.stderr)
    end_on_signals()
    oracle, tally, began = rounds.Oracle(), Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="byway-kill-") as place:
        directory = Path(place)
        directory.chmod(0o755)
        for number in range(wish.first, wish.first + wish.rounds):
            case = rounds.draw(wish.seed, number)
            if wrong := run_round(case, oracle, tally, directory):
                print(f"FAIL round {number}, {case}: {wrong}", flush=True)
            if number % 20 == 19:
                print(f"{tally.tried.total()} rounds, {tally.failed.total()} failed", flush=True)
    print(tally.table())
    if wish.record:
        record(wish, tally, oracle.rounds, time.monotonic() - began)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
