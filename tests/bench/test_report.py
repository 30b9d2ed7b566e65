"""Tables, JSON and pictures from results that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as command
from bench.model import Comparison, FigureResult, Report, Round, Sample, compare, compare_all, rate_ratio
from bench.report import digits, draw, rows_of


def result_of(bound: float, failures: dict[str, str] | None = None, whole_interval: bool = False) -> FigureResult:
    samples = [(10.0, 30.0), (10.0, 25.0), (10.0, 20.0)]
    rounds = [
        Round(["kernel", "byway"], {"kernel": Sample(k, 100, 200), "byway": Sample(b, 30, 60)}, {}, [0.5, 0.5])
        for k, b in samples
    ]
    if failures:
        rounds.append(Round(["kernel", "byway"], {"kernel": Sample(1e6, 100, 200)}, failures, [0.5, 0.5]))
    comparison = Comparison("requests/s", "kernel", rate_ratio, bound, whole_interval=whole_interval)
    return FigureResult("f", "Figure", "requests/s", "default", None, 0.0, rounds, [compare(comparison, rounds)])


def report_of(*figures: FigureResult) -> Report:
    settings = {"rounds": 3, "seconds": 0.5}
    machine = {"cpu": "A Processor", "processors": "2", "kernel": "6.1", "python": "3.11"}
    return Report("2030-01-02T03:04:05+00:00", machine, "abc123", settings, list(figures))


def skipped() -> FigureResult:
    return FigureResult("s", "Skipped", "requests/s", "default", "not installed: wrk", 0.0, [], [])


def test_a_row_has_everything() -> None:
    row = rows_of(report_of(result_of(2.4)))[0]
    assert row.kernel == "10 requests/s, 100 · 200 µs"
    assert row.byway == "25 requests/s, 30 · 60 µs"
    assert (row.ratio, row.target, row.met) == ("2.50 [2.00, 3.00]", "≥ 2.4", "yes")


def test_a_bound_on_the_interval_is_stricter() -> None:
    assert rows_of(report_of(result_of(2.4, whole_interval=True)))[0].met == "no"
    assert rows_of(report_of(result_of(2.0, whole_interval=True)))[0].met == "yes"


def test_a_failed_round_is_never_met() -> None:
    row = rows_of(report_of(result_of(2.4, {"byway": "it fell over"})))[0]
    assert row.met == "no: 1 rounds failed"
    assert row.ratio == "2.50 [2.00, 3.00]"


def test_rounds_on_one_core_and_on_two_are_told_apart() -> None:
    result = result_of(2.4)
    result.rounds[0].limits_us[:] = [0.08, 0.09]
    result.rounds[1].limits_us[:] = [0.08, 0.5]
    comparison = Comparison("requests/s", "kernel", rate_ratio, 2.4)
    rows = rows_of(report_of(replace(result, ratios=compare_all([comparison], result.rounds))))
    assert [row.figure for row in rows] == [
        "Figure",
        "Figure (rounds on one core: 1)",
        "Figure (rounds on two cores: 1)",
    ]
    assert [row.ratio[:4] for row in rows] == ["2.50", "3.00", "2.00"]
    assert [row.met for row in rows] == ["yes", "yes", "no"]


def test_a_skipped_figure_says_why() -> None:
    assert rows_of(report_of(skipped()))[0].met == "skipped: not installed: wrk"


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    report = report_of(result_of(2.4, {"byway": "it fell over"}), skipped())
    report.save(tmp_path / "deep" / "result.json")
    assert Report.load(tmp_path / "deep" / "result.json") == report


@pytest.mark.parametrize(
    ("value", "text"), [(0.5834, "0.583"), (23.04, "23"), (117.3, "117"), (1234.0, "1,230"), (413_990.0, "414,000")]
)
def test_digits(value: float, text: str) -> None:
    assert digits(value) == text


def test_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bare = {name: Sample(None, 1, 2) for name in ("bare", "byway", "kernel_blocking")}
    trip = FigureResult("t", "Trip", "", "latency profile", None, 0.0, [Round(list(bare), bare, {}, [])], [])
    assert draw(report_of(trip, result_of(2.4), skipped()), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert not draw(report_of(skipped()), tmp_path / "nothing.png")


def test_an_earlier_result_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    report_of(result_of(2.4)).save(tmp_path / "result.json")
    assert command.main(["--from", str(tmp_path / "result.json")]) == 0
    assert "2.50 [2.00, 3.00]" in capsys.readouterr().out


def test_a_run_that_is_not_whole_is_not_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    report_of(result_of(2.4)).save(tmp_path / "result.json")
    assert command.main(["--from", str(tmp_path / "result.json"), "--publish"]) == 1
    assert "not whole" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--only", "nonsense"], ["--rounds", "0"], ["--seconds", "-1"]])
def test_bad_arguments_end_with_a_sentence(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.arguments_of(words)
    assert ended.value.code == 2
