"""Shows a run: a table for the terminal, the same for the documents, and a picture. All from what the JSON holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.model import FigureResult, Ratio, Report, rounds_of
from byway.bench.report import digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE_COLUMNS = 180
NOTHING = "—"
TIMES = "\N{MULTIPLICATION SIGN}"


def libraries_missing() -> str | None:
    """Why a run could not be shown, if so: better known before measuring."""
    absent = [name for name in ("rich", "matplotlib") if not find_spec(name)]
    return f"not installed: {', '.join(absent)}; ./dev installs them, into .venv" if absent else None


@dataclass(frozen=True)
class Row:
    """One line of the table, as text."""

    figure: str
    kernel: str
    byway: str
    ratio: str
    target: str
    met: str


HEADINGS = Row("figure", "kernel (median · p99)", "Byway (median · p99)", "ratio [95 %]", "target", "met")


def measured(result: FigureResult, variant: str, placement: str = "") -> str:
    """What a variant did: the rate where there is one, and the latency's median and p99, each a median of rounds."""
    rate = result.median_of(variant, "rate_per_s", placement) if result.unit else None
    p50, p99 = (result.median_of(variant, name, placement) for name in ("p50_us", "p99_us"))
    parts = [f"{digits(rate)} {result.unit}"] if rate is not None else []
    if p50 is not None and p99 is not None:
        parts.append(f"{digits(p50)} · {digits(p99)} µs")
    return ", ".join(parts) or NOTHING


def ratio_text(ratio: Ratio) -> str:
    """A median with its interval."""
    if ratio.interval is None:
        return NOTHING
    return f"{ratio.interval.median:.2f} [{ratio.interval.low:.2f}, {ratio.interval.high:.2f}]"


def target_text(ratio: Ratio) -> str:
    """The bound, and whether the whole interval must keep it."""
    if ratio.bound is None:
        return NOTHING
    return f"{'≥' if ratio.at_least else '≤'} {ratio.bound:g}{' (interval)' if ratio.whole_interval else ''}"


def met_text(result: FigureResult, ratio: Ratio) -> str:
    """'yes' only if every round of every variant was measured."""
    if failed := sum(bool(one.failures) for one in rounds_of(result.rounds, ratio.placement)):
        return f"no: {failed} rounds failed"
    return {True: "yes", False: "no", None: NOTHING}[ratio.met]


def figure_title(result: FigureResult, ratio: Ratio) -> str:
    """The figure, and which of its comparisons this is, where there is more than one."""
    several = len({one.title for one in result.ratios}) > 1
    title = f"{result.title}: {ratio.title}" if several else result.title
    if not ratio.placement:
        return title
    return f"{title} (rounds on {ratio.placement}: {len(rounds_of(result.rounds, ratio.placement))})"


def rows_of(report: Report) -> list[Row]:
    """The table."""
    rows: list[Row] = []
    for result in report.figures:
        if result.skipped:
            rows.append(Row(result.title, NOTHING, NOTHING, NOTHING, NOTHING, f"skipped: {result.skipped}"))
            continue
        rows.extend(
            Row(
                figure_title(result, ratio),
                measured(result, ratio.kernel, ratio.placement),
                measured(result, ratio.byway, ratio.placement),
                ratio_text(ratio),
                target_text(ratio),
                met_text(result, ratio),
            )
            for ratio in result.ratios
        )
    return rows


def cells(row: Row) -> list[str]:
    """A row's texts, in order."""
    return [row.figure, row.kernel, row.byway, row.ratio, row.target, row.met]


def summary(report: Report) -> str:
    """Where, when, and how it was measured."""
    machine, settings = report.machine, report.settings
    busy = max((result.busy_processors for result in report.figures), default=0.0)
    return (
        f"{report.date[:10]}, {machine['cpu']}, {machine['processors']} processors, Linux {machine['kernel']}, "
        f"commit {report.commit}, {settings['rounds']} rounds of {settings['seconds']:g} s "
        f"(meanwhile other programs kept {busy:.1f} processors busy, at most)"
    )


def print_report(report: Report) -> None:
    """The table and what failed, on the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=summary(report))
    for heading in cells(HEADINGS):
        table.add_column(heading, overflow="fold")
    for row in rows_of(report):
        table.add_row(*(Text(text) for text in cells(row)))
    # Into a file or a pipe the table is as wide as it needs.
    console = Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)
    console.print(table)
    for result in report.figures:
        for failure in result.failures:
            console.print(Text(f"{result.name}: {failure}"))


def markdown(report: Report) -> str:
    """The table for a document."""
    lines = [cells(HEADINGS), ["---"] * len(cells(HEADINGS)), *(cells(row) for row in rows_of(report))]
    table = "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)
    note = "Default options, but for the round trip: that has the latency profile at both ends."
    return f"{table}\n\n*{summary(report)}. {note}*"


# -- the picture ------------------------------------------------------------------------------------------------------

COLOURS = {
    "kernel": "#9aa0a6",
    "kernel_blocking": "#9aa0a6",
    "kernel_spinning": "#c4c8cc",
    "byway": "#1f6feb",
    "bare": "#2da44e",
}
INK = "#24292f"
TITLES = {
    "bare": "bare shared memory\n(the limit)",
    "byway": "Byway",
    "kernel_spinning": "kernel, spinning",
    "kernel_blocking": "kernel, blocking",
}


def draw(report: Report, path: Path) -> bool:
    """A PNG: round trips in µs on the left, the rest relative to the kernel on the right. False: nothing to show."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    trips = [result for result in report.figures if "bare" in variants_of(result)]
    others = [result for result in report.figures if not result.skipped and result.rounds and result not in trips]
    panels = len(trips) + bool(others)
    if not panels:
        return False
    widths = [2.0] * len(trips) + [3.0] * bool(others)
    height = max(3.2, 1.2 + 0.62 * len(others))
    figure, grid = pyplot.subplots(
        1, panels, figsize=(2.2 * sum(widths) + 1, height), width_ratios=widths, squeeze=False
    )
    axes = list(grid[0])
    for axis, result in zip(axes, trips, strict=False):
        draw_round_trip(axis, result)
    if others:
        draw_ratios(axes[-1], others)
    figure.text(0.01, 0.01, summary(report), fontsize=6, color=INK)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    pyplot.close(figure)
    return True


def variants_of(result: FigureResult) -> list[str]:
    """The variants for which there is a sample."""
    return sorted({name for one in result.rounds for name in one.samples})


def plain_axis(axis: Axes, title: str) -> None:
    """No frame, a title, dark ink."""
    axis.set_title(title, fontsize=9, color=INK, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7, colors=INK)


def draw_round_trip(axis: Axes, result: FigureResult) -> None:
    """Bars are medians, ticks are p99; the scale is logarithmic, since the limit and the kernel are far apart."""
    names = [name for name in TITLES if name in variants_of(result)]
    medians = [result.median_of(name, "p50_us") or 0 for name in names]
    tails = [result.median_of(name, "p99_us") or 0 for name in names]
    axis.bar(range(len(names)), medians, color=[COLOURS[name] for name in names], width=0.62)
    axis.scatter(range(len(names)), tails, marker="_", s=260, color=INK, label="p99")
    for i, (middle, tail) in enumerate(zip(medians, tails, strict=True)):
        axis.text(i, max(middle, tail) * 1.12, f"{digits(middle)} µs", ha="center", fontsize=7)
    axis.set_yscale("log")
    axis.set_ylim(min(medians) / 3, max(tails) * 2)
    axis.set_xticks(range(len(names)), [TITLES[name] for name in names])
    axis.set_ylabel("µs, logarithmic", fontsize=7)
    axis.legend(fontsize=7, frameon=False, loc="upper left")
    plain_axis(axis, f"{result.title} ({result.options})")


def draw_ratios(axis: Axes, results: Sequence[FigureResult]) -> None:
    """Two bars a figure: the kernel is 1, Byway its ratio with the interval, a mark where the target is."""
    for i, result in enumerate(results):
        ratio = result.ratios[0]
        found = ratio.interval
        axis.barh(i - 0.19, 1, height=0.34, color=COLOURS["kernel"])
        axis.text(1.04, i - 0.19, measured(result, "kernel"), va="center", fontsize=6)
        if found is None:
            axis.text(0.04, i + 0.19, "Byway: not measured", va="center", fontsize=6)
            continue
        error = [[found.median - found.low], [found.high - found.median]]
        axis.barh(i + 0.19, found.median, height=0.34, color=COLOURS["byway"], xerr=error, ecolor=INK, capsize=2)
        text = f"{found.median:.2f} {TIMES}   {measured(result, 'byway')}"
        axis.text(found.high + 0.08, i + 0.19, text, va="center", fontsize=6)
        if ratio.bound is not None:
            axis.plot([ratio.bound] * 2, [i, i + 0.38], color="#cf222e", linewidth=1.5)
    ends = [r.ratios[0].interval.high for r in results if r.ratios[0].interval]
    bounds = [r.ratios[0].bound for r in results if r.ratios[0].bound]
    axis.set_yticks(range(len(results)), [result.title for result in results])
    axis.set_xlim(0, max(1, *ends, *bounds) * 1.5)
    axis.invert_yaxis()
    axis.set_xlabel("times the kernel (grey); red: target", fontsize=7)
    plain_axis(axis, "kernel and Byway side by side")
