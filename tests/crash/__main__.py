"""The full campaign of endings: `python -m tests.crash --rounds 200 --seed 1 --jobs 2`.

Every scenario, and every named crash point, as many rounds as asked for, under Byway, each outcome compared with what
the kernel gives. It may be stopped and called again: it goes on where it was (build/crash/SEED.json), unless seed,
sizes, libraries or the test have changed. Ends with 1 if anything differed, was lost, hung, or was left; with
3 if nothing did and rounds remain to be done.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

from tests.crash import campaign, points, results
from tests.crash.campaign import Campaign, Settings
from tests.crash.scenarios import MEGABYTE, SCENARIOS
from tests.programs import harness

NOT_DONE = 3


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="rounds of each scenario and crash point")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", action="append", choices=[*SCENARIOS, *points.names()], help="only these")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="all but these")
    parser.add_argument("--shape", type=int, help="one shape, as a failure names it; results are not kept")
    parser.add_argument("--jobs", type=int, default=1, help="rounds of so many scenarios side by side")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop then; the next call goes on")
    parser.add_argument("--fresh", action="store_true", help="begin again; earlier results are put aside")
    parser.add_argument("--summary", action="store_true", help="run nothing, print the table")
    parser.add_argument("--record", action="store_true", help="write the table into tests/crash/RESULTS.md")
    parser.add_argument(
        "--bytes", type=int, nargs=2, default=(50 * MEGABYTE, 500 * MEGABYTE), metavar=("LEAST", "MOST")
    )
    parser.add_argument("--carrier", choices=("byway", "kernel"), default="byway")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds that one round may take")
    return parser.parse_args()


def wanted_names(arguments: argparse.Namespace) -> list[str]:
    names = arguments.scenario or [*SCENARIOS, *(points.names() if arguments.carrier == "byway" else [])]
    return [name for name in dict.fromkeys(names) if name not in arguments.without]


def missing(arguments: argparse.Namespace) -> str | None:
    if arguments.carrier == "kernel":
        return None
    return harness.byway_missing() or points.missing()


def run_one_shape(settings: Settings, names: list[str], rounds: int) -> int:
    failed = 0
    for name in names:
        part = campaign.run_slice(campaign.Slice(name, 0, rounds, set()), settings)
        print("\n".join(part.failures))
        print(f"{name}: {part.done} rounds, {len(part.failures)} failed, {part.seconds:.1f} s")
        failed += len(part.failures)
    return 1 if failed else 0


def run_campaign(arguments: argparse.Namespace, settings: Settings, names: list[str]) -> int:
    who = results.identity(settings.seed, settings.least_bytes, settings.most_bytes, settings.carrier)
    kept = results.begin(who, arguments.fresh)
    deadline = time.monotonic() + arguments.minutes * 60
    one = Campaign(settings, kept, names, arguments.rounds, deadline)
    harness.compile_native(harness.NATIVE / "agent.c")  # once, not by two at once
    if not arguments.summary:
        one.run(arguments.jobs)
    results.write(kept, names, arguments.rounds)
    print(results.summary(kept, names, arguments.rounds))
    if arguments.record:
        results.record(kept, names, arguments.rounds)
    if one.never_reached():
        print(f"nobody ever died at {', '.join(one.never_reached())}")
    if one.failed() or one.never_reached():
        return 1
    return 0 if one.is_done() else NOT_DONE


def main() -> int:
    arguments = parse()
    if reason := missing(arguments):
        print(reason, file=sys.stderr)
        return 2
    least, most = arguments.bytes
    settings = Settings(arguments.seed, least, most, arguments.carrier, arguments.timeout, arguments.shape)
    names = wanted_names(arguments)
    if arguments.shape is not None:
        return run_one_shape(settings, names, arguments.rounds)
    return run_campaign(arguments, settings, names)


if __name__ == "__main__":
    sys.exit(main())
