"""`python -m bench.demo`: a program and its client, both unmodified, on the kernel and under Byway. `./dev demo`.

redis and redis-benchmark where they are installed, else an echo server of Python's standard library and a client.
Ends within a minute; starts everything itself, on free ports, and ends it again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import echo, redis
from bench.harness import ROOT, busy_processors, byway_missing, end_on_signals, machine, processors, run_figure
from bench.model import Figure, FigureResult, Settings
from bench.report import NOTHING, TIMES, libraries_missing
from byway.bench.report import digits

PICTURE = ROOT / "build" / "demo.png"
ROUNDS = 5
SECONDS = 0.6
TABLE_COLUMNS = 110  # where the output is no terminal


def chosen() -> tuple[str, list[Figure]]:
    """What is shown, and the figures."""
    by_name = {figure.name: figure for figure in redis.FIGURES}
    wanted = [by_name["redis_1"], by_name["redis_50"]]
    why_not = wanted[0].missing()
    if why_not is None:
        return "redis-server and redis-benchmark, both as installed", wanted
    text = f"an echo server of Python's standard library and a client (redis would be shown, but is {why_not})"
    return text, [echo.FIGURE]


def latency(result: FigureResult, variant: str) -> str:
    """Median and p99, in µs."""
    p50, p99 = result.median_of(variant, "p50_us"), result.median_of(variant, "p99_us")
    return NOTHING if p50 is None or p99 is None else f"{digits(p50)} · {digits(p99)}"


def rate(result: FigureResult, variant: str) -> str:
    """Requests a second."""
    value = result.median_of(variant, "rate_per_s")
    return NOTHING if value is None else digits(value)


def gain(result: FigureResult) -> str:
    """Byway against the kernel."""
    found = result.ratios[0].interval
    return NOTHING if found is None else f"{found.median:.1f} {TIMES}"


def print_table(results: Sequence[FigureResult]) -> None:
    """Two lines a figure: kernel, Byway."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="The same programs, kernel and Byway in turn", caption=f"medians of {ROUNDS} rounds")
    table.add_column("")
    table.add_column("carried by")
    for heading in ("requests a second", "latency p50 · p99, µs", "Byway / kernel"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(result.title, "kernel", rate(result, "kernel"), latency(result, "kernel"), "")
        bold = [f"[bold]{text}[/bold]" for text in (rate(result, "byway"), latency(result, "byway"), gain(result))]
        table.add_row("", "Byway", *bold, end_section=True)
    Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS).print(table)


def draw(results: Sequence[FigureResult], path: Path) -> None:
    """Requests a second as bars, one panel a figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(1, len(results), figsize=(3.6 * len(results) + 0.6, 3.6), squeeze=False)
    for axis, result in zip(grid[0], results, strict=True):
        values = [result.median_of(name, "rate_per_s") or 0 for name in ("kernel", "byway")]
        bars = axis.bar(["kernel", "Byway"], values, color=["#9aa0a6", "#1f6feb"], width=0.6)
        axis.bar_label(bars, [digits(value) if value else "not measured" for value in values], fontsize=9)
        axis.set_title(f"{result.title}\n{gain(result)}", fontsize=10)
        axis.set_ylabel("requests a second", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.margins(y=0.15)
    figure.text(
        0.01, 0.01, f"{machine()['cpu']}, Linux {machine()['kernel']}, {datetime.now(UTC):%Y-%m-%d}", fontsize=6
    )
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    pyplot.close(figure)


def say(text: str) -> None:
    """To the user, at once."""
    print(text, flush=True)


def measure(figures: Sequence[Figure]) -> list[FigureResult]:
    """Runs the figures, shortly."""
    server_cpu, load_cpu = processors()
    settings = Settings(ROUNDS, SECONDS, server_cpu, load_cpu, ROOT / "build" / "bench")
    results = []
    for figure in figures:
        say(f"  {figure.title} …")
        results.append(run_figure(replace(figure, rounds_factor=1), settings, lambda _done, _total: None))
    return results


def notes() -> list[str]:
    """What the user should know about this machine before believing a number."""
    found = []
    if missing := byway_missing():
        found.append(f"{missing}. Only the kernel is shown.")
    if processors()[0] == processors()[1]:
        found.append("There is only one processor: server and client cannot run at the same time, and gain less.")
    busy = busy_processors()
    if busy > 0.1:
        found.append(
            f"Other programs keep {busy:.1f} processors busy: the numbers will be worse than on a quiet machine."
        )
    return found


def main() -> int:
    """Status 1: Byway could not be shown."""
    if missing := libraries_missing():
        say(missing)
        return 1
    end_on_signals()
    text, figures = chosen()
    say(f"Byway demo: {text}.")
    say(f"Kernel and Byway take turns, {ROUNDS} rounds each; server and load each have a processor of their own.")
    for note in notes():
        say(f"Note: {note}")
    try:
        results = measure(figures)
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130
    print_table(results)
    draw(results, PICTURE)
    say(f"Picture: {PICTURE}")
    failures = [failure for result in results for failure in result.failures]
    for failure in dict.fromkeys(failures):
        say(f"Not measured: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
