"""How the tools print a table: in columns, without lines, cut nowhere when the output is not a terminal."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 1000


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[int] = (),
    wrapped: Iterable[int] = (),
) -> None:
    """Prints rows under heads; `right` are columns of numbers, `wrapped` those that may take several lines."""
    right, wrapped = set(right), set(wrapped)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for index, head in enumerate(heads):
        grid.add_column(
            head, justify="right" if index in right else "left", no_wrap=index not in wrapped, overflow="fold"
        )
    for row in rows:
        grid.add_row(*(escape(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    Console(width=width, highlight=False, soft_wrap=False).print(grid)
