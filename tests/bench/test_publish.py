"""What is published stands between marks; the rest of a document is the authors'."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.figures import all_figures
from bench.publish import IN_README, publish, replace_marked, with_table
from tests.bench.test_report import report_of, result_of

MARKED = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n"
README = "Byway\n<!-- figures: begin -->\n<!-- figures: end -->\nmore\n"


ENGINE_PAGE = "the engine\n<!-- engine: begin -->\n<!-- engine: end -->\n"


def test_only_what_is_between_the_marks_changes() -> None:
    changed = replace_marked(MARKED, "a", "| new |")
    assert changed == "before\n<!-- a: begin -->\n| new |\n<!-- a: end -->\nafter\n"
    assert replace_marked(changed, "a", "| new |") == changed


def test_a_document_without_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="begin"):
        replace_marked("text", "a", "table")


def test_another_machine_gets_its_own_section() -> None:
    text = with_table(with_table("# Figures\n", "A", "| of A |"), "B", "| of B |")
    assert text.count("| of A |") == text.count("| of B |") == 1
    assert "## A\n" in text and "## B\n" in text
    again = with_table(text, "A", "| new |")
    assert "| of A |" not in again and "| of B |" in again


def test_what_the_readme_shows_is_measured() -> None:
    assert set(IN_README) <= {figure.name for figure in all_figures()}


def test_a_whole_run_goes_into_both_documents(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "docs" / "figures.md").write_text("# Figures\n")
    (tmp_path / "docs" / "engine.md").write_text(ENGINE_PAGE)
    figures = [replace(result_of(2.4), name=one.name, title=one.title) for one in all_figures()]
    publish(report_of(*figures), tmp_path)
    titles = {figure.title for figure in all_figures()}
    docs, readme = (tmp_path / "docs" / "figures.md").read_text(), (tmp_path / "README.md").read_text()
    assert "## A Processor" in docs
    assert all(title in docs for title in titles)
    assert sum(title in readme for title in titles) == len(IN_README)


def test_a_figure_with_a_page_of_its_own_needs_no_whole_run(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "engine.md").write_text(ENGINE_PAGE)
    (tmp_path / "README.md").write_text(README)
    publish(report_of(replace(result_of(2.4), name="engine", title="the engine alone")), tmp_path)
    assert "the engine alone" in (tmp_path / "docs" / "engine.md").read_text()
    assert (tmp_path / "README.md").read_text() == README


def test_a_run_that_is_not_whole_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(README)
    with pytest.raises(ValueError, match="not whole"):
        publish(report_of(result_of(2.4)), tmp_path)
    assert (tmp_path / "README.md").read_text() == README
