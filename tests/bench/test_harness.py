"""Rounds, environments, ports, starting and ending programs, and the check of the rings."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import harness
from bench.figures import all_figures, echo
from bench.model import BYWAY, KERNEL, BenchError, Comparison, Figure, Sample, Settings, Variant, rate_ratio
from byway.shm import members
from byway.shm.members import MemberReport

NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    server_cpu, load_cpu = harness.processors()
    return Settings(rounds=2, seconds=0.05, server_cpu=server_cpu, load_cpu=load_cpu, build=tmp_path)


def figure_of(samples: dict[str, Sample | BenchError], ring_share_min: float = 0.5) -> Figure:
    """A figure that measures nothing."""

    def measure(variant: Variant, _settings: Settings) -> Sample:
        sample = samples[variant.name]
        if isinstance(sample, BenchError):
            raise sample
        return sample

    comparisons = (Comparison("rate", "kernel", rate_ratio, 2),)
    return Figure("fake", "Fake", "/s", comparisons, measure, lambda: None, ring_share_min=ring_share_min)


def ignore(_done: int, _total: int) -> None:
    """No progress is shown."""


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare limit is not what these tests are about."""
    monkeypatch.setattr(harness, "bare_limit_us", lambda _settings: 0.5)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the library were there: nothing is started."""
    monkeypatch.setattr(harness, "byway_missing", lambda: None)


def test_two_variants_alternate_and_three_rotate() -> None:
    assert [v.name for v in harness.order_of_round((KERNEL, BYWAY), 0)] == ["kernel", "byway"]
    assert [v.name for v in harness.order_of_round((KERNEL, BYWAY), 3)] == ["byway", "kernel"]
    three = (KERNEL, BYWAY, Variant("bare", "bare"))
    assert {harness.order_of_round(three, i)[0].name for i in range(3)} == {"kernel", "byway", "bare"}


def test_only_listening_ports_count() -> None:
    assert harness.listening_ports(NET_TCP) == {8080}


def test_the_kernel_variant_is_clean_of_byway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", f"{harness.PRELOAD} /lib/other.so")
    monkeypatch.setenv("BYWAY_SPIN_US", "7")
    kernel = harness.environment(KERNEL)
    assert kernel["LD_PRELOAD"] == "/lib/other.so"
    assert not [name for name in kernel if name.startswith("BYWAY_")]


def test_byway_stands_before_what_is_preloaded_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/lib/other.so")
    assert harness.environment(BYWAY)["LD_PRELOAD"] == f"{harness.PRELOAD}:/lib/other.so"


def test_the_latency_profile_is_the_products_own() -> None:
    assert harness.environment(replace(BYWAY, profile="latency"))["BYWAY_SPIN_ADAPTIVE"] == "0"


@pytest.mark.usefixtures("built")
def test_ratios_are_taken_within_rounds(settings: Settings) -> None:
    samples: dict[str, Sample | BenchError] = {
        "kernel": Sample(rate_per_s=10),
        "byway": Sample(rate_per_s=30, payload_bytes=100, ring_bytes=90),
    }
    result = harness.run_figure(figure_of(samples), settings, ignore)
    assert result.ratios[0].per_round == [3, 3]
    assert result.ratios[0].met
    assert [one.order[0] for one in result.rounds] == ["kernel", "byway"]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("ring_bytes", [0, 49])
def test_a_figure_without_ring_bytes_is_not_byways(settings: Settings, ring_bytes: int) -> None:
    samples: dict[str, Sample | BenchError] = {
        "kernel": Sample(rate_per_s=10),
        "byway": Sample(rate_per_s=30, payload_bytes=100, ring_bytes=ring_bytes),
    }
    result = harness.run_figure(figure_of(samples), settings, ignore)
    assert "by the ring" in result.failures[0]
    assert result.median_of("byway", "rate_per_s") is None
    assert result.ratios[0].interval is None


@pytest.mark.usefixtures("built")
def test_a_failure_is_kept_and_its_round_gives_no_ratio(settings: Settings) -> None:
    samples: dict[str, Sample | BenchError] = {"kernel": Sample(rate_per_s=10), "byway": BenchError("it fell over")}
    result = harness.run_figure(figure_of(samples), settings, ignore)
    assert result.failures == ["byway, 2 of 2 rounds: it fell over"]
    assert result.ratios[0].met is None
    assert result.median_of("kernel", "rate_per_s") == 10


@pytest.mark.usefixtures("built")
def test_a_figure_that_keeps_failing_is_given_up(settings: Settings) -> None:
    samples: dict[str, Sample | BenchError] = {"kernel": BenchError("no"), "byway": BenchError("no")}
    result = harness.run_figure(figure_of(samples), replace(settings, rounds=9), ignore)
    assert len(result.rounds) == harness.FAILED_ROUNDS_MAX


def test_without_the_library_the_kernel_is_measured_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "PRELOAD", "/nowhere/library.so")
    result = harness.run_figure(figure_of({"kernel": Sample(rate_per_s=10)}), settings, ignore)
    assert "not built" in result.failures[0]
    assert result.median_of("kernel", "rate_per_s") == 10


def test_a_server_and_its_load(settings: Settings) -> None:
    sample = echo.FIGURE.measure(KERNEL, settings)
    assert sample.rate_per_s is not None and sample.rate_per_s > 0
    assert sample.ring_bytes is None


def test_a_server_is_ended_and_its_directory_removed(settings: Settings) -> None:
    with harness.serving(KERNEL, settings, echo.server) as running:
        directory = running.log.parent
    assert running.process.returncode is not None
    assert not directory.exists()


def test_a_server_that_does_not_start_is_quoted(settings: Settings) -> None:
    def server(_directory: Path, _port: int) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('no such luck')"]

    with pytest.raises(BenchError, match="no such luck"), harness.serving(KERNEL, settings, server):
        pass


def test_a_load_that_fails_is_quoted() -> None:
    command = [sys.executable, "-c", "raise SystemExit('refused')"]
    with pytest.raises(BenchError, match="refused"):
        harness.run_load(KERNEL, harness.processors()[1], command, 0.1)


def test_what_is_started_inherits_the_pinning() -> None:
    cpu = harness.processors()[1]
    before = os.sched_getaffinity(0)
    output = harness.run_load(KERNEL, cpu, [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], 1)
    assert output.strip() == str({cpu})
    assert os.sched_getaffinity(0) == before


def member_with(note: str, ring_bytes: int) -> MemberReport:
    member = members.Member(os.getpid(), "test", [], "default", {}, None)
    return MemberReport(member, note, sockets=1, attached=1, ring_bytes=ring_bytes, counters={})


def test_ring_bytes_are_the_tools_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "find", lambda _pid: [])
    monkeypatch.setattr(members, "report_members", lambda _found: [member_with("", 701)])
    assert harness.bytes_by_ring(os.getpid()) == 701


def test_ring_bytes_that_cannot_be_read_are_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "find", lambda _pid: [])
    monkeypatch.setattr(members, "report_members", lambda _found: [member_with("another version of Byway", 0)])
    with pytest.raises(BenchError, match="another version"):
        harness.bytes_by_ring(os.getpid())


def test_a_program_that_is_not_under_byway() -> None:
    with pytest.raises(BenchError, match="not under Byway"):
        harness.bytes_by_ring(os.getpid())


def test_native_programs_compile(tmp_path: Path) -> None:
    if missing := harness.compiler_missing():
        pytest.skip(missing)
    for source in harness.NATIVE.glob("*.c"):
        first = Path(harness.compiled(source.stem, tmp_path)).stat().st_mtime_ns
        assert Path(harness.compiled(source.stem, tmp_path)).stat().st_mtime_ns == first, "compiled again"


def test_names_of_figures_are_unique() -> None:
    names = [figure.name for figure in all_figures()]
    assert len(names) == len(set(names))
