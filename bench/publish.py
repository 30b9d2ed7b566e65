"""Puts a whole run's tables into the documents, between marks: a short one into the README, all into docs/figures.md.
A figure that has a page of its own is put there by any run that has it.

docs/figures.md keeps one table for each kind of processor, so that measuring on another machine replaces nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.figures import all_figures
from bench.model import Report
from bench.report import markdown

IN_README = (
    "round_trip",
    "redis_1",
    "redis_50",
    "redis_50_p16",
    "memcached_1",
    "nginx_return",
    "postgres_8",
    "asyncio_echo",
    "node_http",
    "java_blocking",
    "stream",
    "messages",
    "connections",
)


OWN_PAGES = {"engine": Path("docs") / "engine.md", "wire": Path("docs") / "wire.md"}


def marks(name: str) -> tuple[str, str]:
    """The lines around a table: what stands between them is made by the command."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def replace_marked(text: str, name: str, table: str) -> str:
    """`text` with another table between the marks of `name`. ValueError: they are not there."""
    first, last = marks(name)
    before, begin, rest = text.partition(first)
    _old, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"no {first} … {last} here")
    return f"{before}{begin}\n{table}\n{end}{after}"


def with_table(text: str, name: str, table: str) -> str:
    """As `replace_marked`; a name that has no marks yet gets a section at the end."""
    first, last = marks(name)
    if first not in text:
        text = f"{text.rstrip()}\n\n## {name}\n\n{first}\n{last}\n"
    return replace_marked(text, name, table)


def figures_missing(report: Report) -> list[str]:
    """The published figures that `report` lacks."""
    there = {result.name for result in report.figures}
    return [figure.name for figure in all_figures() if figure.name not in there]


def only(report: Report, *names: str) -> Report:
    """The part of `report` that these figures are."""
    return replace(report, figures=[result for result in report.figures if result.name in names])


def short(report: Report) -> Report:
    """What the README shows of `report`."""
    return only(report, *IN_README)


def own_pages(report: Report, root: Path) -> dict[Path, str]:
    """The pages of single figures, with what the report has of them."""
    there = {result.name for result in report.figures}
    return {
        root / page: replace_marked((root / page).read_text(), name, markdown(only(report, name)))
        for name, page in OWN_PAGES.items()
        if name in there
    }


def publish(report: Report, root: Path) -> list[Path]:
    """Writes the documents; which ones. ValueError: the run has nothing that can be published, or a document has lost
    its marks."""
    texts, missing = own_pages(report, root), figures_missing(report)
    if missing and not texts:
        raise ValueError(f"this run is not whole, so nothing is published; it has no {', '.join(missing)}")
    if not missing:
        readme, docs = root / "README.md", root / "docs" / "figures.md"
        texts[readme] = replace_marked(readme.read_text(), "figures", markdown(short(report)))
        texts[docs] = with_table(docs.read_text(), report.machine["cpu"], markdown(report))
    for path, text in texts.items():
        path.write_text(text)
    return list(texts)
