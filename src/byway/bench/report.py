"""Shows a comparison: a table, and a picture where matplotlib is installed."""

from collections.abc import Sequence
from pathlib import Path

from byway.bench.comparison import Comparison
from byway.cli import show

NO_MATPLOTLIB = "no picture: matplotlib is not installed; `pip install matplotlib` gives one"
KERNEL_COLOUR, BYWAY_COLOUR, INK = "#9aa0a6", "#1f6feb", "#24292f"


def digits(value: float) -> str:
    """Three significant digits, thousands separated, never an exponent."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio_text(comparison: Comparison) -> str:
    found = comparison.interval
    if found is None:
        return "—"
    return f"{found.median:.2f} [{found.low:.2f}, {found.high:.2f}]"


def confidence(comparisons: Sequence[Comparison]) -> str:
    """Fewer than six rounds have no 95 %."""
    found = next((one.interval for one in comparisons if one.interval), None)
    return f"{100 * found.confidence:.0f} %" if found else "—"


def print_table(comparisons: Sequence[Comparison]) -> None:
    rows = [
        [one.name, digits(one.kernel_median), digits(one.byway_median), ratio_text(one), one.verdict]
        for one in comparisons
    ]
    heads = ["", "kernel", "Byway", f"Byway / kernel [{confidence(comparisons)}]", ""]
    show.table(heads, rows, right={1, 2, 3})


def draw(comparisons: Sequence[Comparison], title: str, path: Path) -> bool:
    """A PNG: a panel for each metric, bars are medians, dots are rounds. False: matplotlib is not there."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    width = 2.6 * len(comparisons) + 0.6
    figure, grid = pyplot.subplots(1, len(comparisons), figsize=(width, 3.4), squeeze=False)
    for axis, one in zip(grid[0], comparisons, strict=True):
        bars = axis.bar(
            ["kernel", "Byway"], [one.kernel_median, one.byway_median], color=[KERNEL_COLOUR, BYWAY_COLOUR], width=0.6
        )
        for at, values in enumerate((one.kernel, one.byway)):
            axis.scatter([at] * len(values), values, s=8, color=INK, zorder=3)
        axis.bar_label(bars, [digits(one.kernel_median), digits(one.byway_median)], fontsize=8, padding=6)
        axis.set_title(f"{one.name}\n{ratio_text(one)}", fontsize=8, color=INK)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.margins(y=0.18)
        axis.set_ylim(bottom=0)
    figure.suptitle(title, fontsize=7, color=INK)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    pyplot.close(figure)
    return True
