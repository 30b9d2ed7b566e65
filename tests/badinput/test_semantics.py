"""Signals, readiness and descriptors: whatever a program sees under Byway is what it sees on the kernel."""

from __future__ import annotations

import resource
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests import variant
from tests.badinput.common import VARIANTS, Worlds, kernel_lines, lines_of, start_peer
from tests.programs import harness
from tests.programs.harness import KERNEL, Programs
from tests.programs.ring import read_ring

pytestmark = pytest.mark.timeout(90)

HELPERS = ["signals", "readiness", "edges", "descriptors", "leaving"]
if variant.name() != "asan":  # which itself reads what the pointers of getpeername and its kin point to
    HELPERS.append("pointers")
if not variant.is_sanitized():  # whose frames are larger
    HELPERS.append("stacks")


@pytest.mark.parametrize("name", HELPERS)
def test_as_on_the_kernel(group: Programs, worlds: Worlds, name: str) -> None:
    assert lines_of(group, worlds, name) == kernel_lines(group, name)


@pytest.mark.parametrize("how", ("fork", "prefork"))
def test_servers_with_processes(group: Programs, worlds: Worlds, how: str) -> None:
    """A process for each connection, and four processes that accept at one listener."""
    assert lines_of(group, worlds, "readiness", server=[how]) == kernel_lines(group, "readiness")


@pytest.mark.parametrize("options", [name for name in VARIANTS if name != "default"])
@pytest.mark.parametrize("name", HELPERS)
def test_as_on_the_kernel_with_options(group: Programs, name: str, options: str) -> None:
    if missing := harness.byway_missing():
        pytest.skip(missing)
    world = harness.byway_world().with_options(**VARIANTS[options])
    assert lines_of(group, (world, world), name) == kernel_lines(group, name)


@pytest.mark.parametrize("hard", (True, False), ids=("hard-limit", "soft-limit"))
def test_descriptors_run_out(group: Programs, worlds: Worlds, hard: bool) -> None:
    """EMFILE comes, at most 32 descriptors early, and all goes on; the lowest free numbers stay the program's."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96 if hard else 4096))

    expected = kernel_lines(group, "descriptors", "limited", before_exec=limit)
    lines = lines_of(group, worlds, "descriptors", "limited", before_exec=limit)
    got = [count_of(line) for line in lines if line.startswith("count")]
    wanted = [count_of(line) for line in expected if line.startswith("count")]
    assert without_counts(lines) == without_counts(expected)
    assert len(got) == len(wanted)
    assert all(want - 32 <= one <= want for one, want in zip(got, wanted, strict=True)), (
        f"{got}, on the kernel {wanted}"
    )


def count_of(line: str) -> int:
    return int(line.split()[1])


def without_counts(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("count")]


def test_numbers_with_no_descriptor_to_spare(group: Programs, worlds: Worlds) -> None:
    """So few that Byway can have none of its own: the program runs on the kernel."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))

    lines = lines_of(group, worlds, "descriptors", "limited", before_exec=limit)
    assert "kept goes on: 100000" in lines, lines
    assert [line for line in lines if line.startswith(("no more", "dup"))] == ["no more: EMFILE", "dup: EMFILE"] * 2


def test_kernel_lines_are_steady(group: Programs) -> None:
    """Else comparing would prove nothing."""
    for name in HELPERS:
        assert kernel_lines(group, name) == lines_of(group, (KERNEL, KERNEL), name)


def test_regions_come_in_any_order(group: Programs) -> None:
    """Whoever reads its connections backwards hears of the last region first: all attach all the same."""
    if missing := harness.byway_missing():
        pytest.skip(missing)
    script = Path(__file__).with_name("regions.py")
    peer, port = start_peer(group, harness.byway_world())
    running = group.start([sys.executable, script, str(port)], harness.byway_world(), stdin=subprocess.PIPE)
    running.wait_output("said", 30.0)
    ring = read_ring(running.pid)
    assert running.output().splitlines() == ["18000", "said"]
    assert ring is not None
    assert ring.attached == 60, ring
    assert not ring.reasons(), ring
    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.wait() == 0
    peer.stop()


@pytest.mark.parametrize(
    ("way", "events"), (("poll", 0), ("poll", select.POLLPRI), ("poll", select.POLLIN), ("select", 0))
)
def test_a_hang_up_is_told(group: Programs, way: str, events: int) -> None:
    if missing := harness.byway_missing():
        pytest.skip(missing)
    argv = [sys.executable, Path(__file__).with_name("hangup.py"), way, str(events)]
    told = [group.run(argv, world, timeout_s=20.0).splitlines() for world in (KERNEL, harness.byway_world())]
    assert told[1] == told[0]
    assert told[0][-1] == "in time"
