"""`python -m bench`: measures the published figures and shows them. `./dev bench` runs this."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.figures import all_figures, wire_figures
from bench.harness import ROOT, busy_processors, byway_missing, end_on_signals, machine, processors, run_figure
from bench.model import Figure, Report, Settings
from bench.publish import publish
from bench.report import draw, libraries_missing, print_report

RESULTS = ROOT / "bench" / "results"
BUSY_PROCESSORS_MAX = 0.1  # above this the machine is not quiet, and the figures mean little
ROUNDS, ROUNDS_QUICK = 9, 3
SECONDS, SECONDS_QUICK = 1.0, 0.3


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    known = [figure.name for figure in (*all_figures(), *wire_figures())]
    names = ", ".join(known)
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__, epilog=f"figures: {names}")
    parser.add_argument("--only", metavar="NAME,...", help="only these figures")
    parser.add_argument("--wire", action="store_true", help="the figures over an adapter instead; needs root")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of each figure ({ROUNDS})")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"how long a load runs in a round ({SECONDS:g})")
    parser.add_argument(
        "--quick", action="store_true", help="few and short rounds: to see that it works, not to publish"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the result (bench/results/DATE.json)")
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="source", help="show an earlier result, measure nothing"
    )
    parser.add_argument(
        "--publish", action="store_true", help="put the tables of a whole run into README.md and docs/figures.md"
    )
    options = parser.parse_args(words)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds needs at least 1")
    if options.seconds is not None and options.seconds <= 0:
        parser.error("--seconds needs more than 0")
    unknown = set((options.only or "").split(",")) - {""} - set(known)
    if unknown:
        parser.error(f"no figure is called {', '.join(sorted(unknown))}; there are {names}")
    return options


def commit() -> str:
    """The commit that is measured, "-dirty" if files were changed since; "unknown" outside a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def settings_of(options: argparse.Namespace) -> Settings:
    """Rounds, their length, and the processors."""
    server_cpu, load_cpu = processors()
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    seconds = options.seconds or (SECONDS_QUICK if options.quick else SECONDS)
    return Settings(rounds, seconds, server_cpu, load_cpu, ROOT / "build" / "bench")


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def tell(title: str, done: int, total: int) -> None:
    """Progress: on a terminal a line that counts, elsewhere one line at the end."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r\033[K{title}: {done} of {total} rounds", end=end, file=sys.stderr, flush=True)
    elif done == total:
        say(f"{title}: done")


def measure(figures: Sequence[Figure], settings: Settings) -> Report:
    """Runs the figures one after the other."""

    results = [run_figure(figure, settings, partial(tell, figure.title)) for figure in figures]
    plain = {
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "server_cpu": settings.server_cpu,
        "load_cpu": settings.load_cpu,
    }
    return Report(datetime.now(UTC).isoformat(timespec="seconds"), machine(), commit(), plain, results)


def new_report(options: argparse.Namespace) -> tuple[Report, Path]:
    """Measures, and writes the JSON."""
    wanted = set(options.only.split(",")) if options.only else None
    measured = wire_figures() if options.wire else all_figures()
    figures = [figure for figure in measured if wanted is None or figure.name in wanted]
    if missing := byway_missing():
        say(f"{missing}; only the kernel is measured")
    busy = busy_processors()
    if busy > BUSY_PROCESSORS_MAX:
        say(f"this machine is not quiet: other programs keep {busy:.1f} processors busy, so the figures mean little")
    report = measure(figures, settings_of(options))
    path = options.json or RESULTS / f"{report.date[:19].replace(':', '')}.json"
    report.save(path)
    return report, path


def main(words: Sequence[str] | None = None) -> int:
    """Status 1: something could not be measured."""
    options = arguments_of(words)
    if missing := libraries_missing():
        say(missing)
        return 1
    end_on_signals()
    try:
        report, path = (Report.load(options.source), options.source) if options.source else new_report(options)
    except KeyboardInterrupt:
        say("\nstopped; nothing was written")
        return 130
    print_report(report)
    picture = path.with_suffix(".png")
    say(f"result:  {path}")
    if draw(report, picture):
        say(f"picture: {picture}")
    if options.publish:
        try:
            for document in publish(report, ROOT):
                say(f"table:   {document}")
        except ValueError as why:
            say(str(why))
            return 1
    return 1 if any(result.failures for result in report.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
