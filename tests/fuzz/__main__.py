"""`python -m tests.fuzz --inputs 5000000`: libFuzzer on the engine, under AddressSanitizer and UBSan. `./dev fuzz`
runs this.

Inputs that reach something new are kept in build/fuzz/corpus, and the next call begins with them. Ends with 1 if
anything was found, or if what is planted was not.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.crash.results import commit, machine
from tests.fuzz import targets
from tests.fuzz.targets import TARGETS, Ran, Target
from tests.variant import ROOT

RESULTS = Path(__file__).with_name("RESULTS.md")
CANARY_INPUTS = 10_000_000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only these (all)")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="to each target (1,000,000)")
    parser.add_argument("--seconds", type=int, default=0, help="for each target at most; 0: until all inputs are tried")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    return parser.parse_args()


def judge(target: Target, ran: Ran) -> str | None:
    """What is wrong, if anything."""
    if target.must_fail:
        return None if ran.finding else "the planted fault was not found: fuzzing finds nothing"
    if not ran.finding:
        return None
    return f"{ran.summary()}\n  again: {targets.build(target)} {ran.finding}"


def record(wish: argparse.Namespace, ran: dict[str, Ran], failed: int) -> None:
    rows = "\n".join(
        f"| {name} | {TARGETS[name].about} | {one.inputs:,} | {one.per_second:,} | {one.features:,} | "
        f"{'found' if one.finding else 'none'} |"
        for name, one in ran.items()
    )
    total = sum(one.inputs for name, one in ran.items() if not TARGETS[name].must_fail)
    RESULTS.write_text(
        "# Fuzzing\n\n"
        f"`./dev fuzz --inputs {wish.inputs} --seed {wish.seed} --record`, {datetime.now(UTC):%Y-%m-%d}, "
        f"commit {commit()}, {machine()}.\n\n"
        f"{total:,} inputs, {failed} targets with a finding that was not planted.\n\n"
        "| target | what | inputs | a second | features | findings |\n| --- | --- | ---: | ---: | ---: | --- |\n"
        f"{rows}\n"
    )


def main() -> int:
    wish = parse()
    if reason := targets.missing():
        print(reason, file=sys.stderr)
        return 2
    failed, ran = 0, dict[str, Ran]()
    for name in wish.target or TARGETS:
        target = TARGETS[name]
        count = min(wish.inputs, CANARY_INPUTS) if target.must_fail else wish.inputs
        one = ran[name] = targets.run(target, count, seed=wish.seed, seconds=wish.seconds, keep=not target.must_fail)
        print(f"{name}: {one.inputs:,} inputs, {one.per_second:,} a second, {one.features:,} features", flush=True)
        if wrong := judge(target, one):
            failed += 1
            print(wrong, flush=True)
    if wish.record:
        record(wish, ran, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
