"""A relay is not seen by the programs whose bytes it moves, and is gone when they are."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from tests.crash import relayed
from tests.programs import harness
from tests.programs.harness import KERNEL, Program, Programs, World

SCRIPT = Path(relayed.__file__)
OPTIONS = {"attach_after": "0", "attach_wait_us": "1000000", "log": "1"}
RELAYED = "goes on through a relay"


@pytest.fixture
def world() -> World:
    if missing := harness.byway_missing():
        pytest.skip(missing)
    return harness.byway_world().with_options(**OPTIONS)


def start(group: Programs, world: World, what: str, *peer_ways: str) -> Program:
    peer = group.start([sys.executable, SCRIPT, "peer", *peer_ways], world)
    port = peer.wait_output("port ").split()[1]
    return group.start([sys.executable, SCRIPT, "127.0.0.1", port, what], world)


def output(tmp_path: Path, world: World, what: str) -> str:
    directory = tmp_path / world.name
    directory.mkdir()
    with harness.programs(directory) as group:
        program = start(group, world, what)
        status = program.wait()
        assert status == 0, program.output()
        return program.output()


def own_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("byway[")]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("what", ["spawn", "child", "child-both-ways", "stdio", "spliced"])
def test_programs_see_what_the_kernel_shows(what: str, tmp_path: Path, world: World) -> None:
    byway = output(tmp_path, world, what)
    assert own_lines(byway) == own_lines(output(tmp_path, KERNEL, what))
    assert RELAYED in byway, "the case does not need a relay: it proves nothing"


@pytest.mark.timeout(90)
def test_who_keeps_the_socket_misses_nothing(tmp_path: Path, world: World) -> None:
    byway = output(tmp_path, world, "keeps")
    assert own_lines(byway) == own_lines(output(tmp_path, KERNEL, "keeps")) == ["whole True"]


@pytest.mark.timeout(90)
def test_shortage_is_said(tmp_path: Path, world: World) -> None:
    byway = output(tmp_path, world, "shortage")
    assert "no relay can be made" in byway
    assert own_lines(byway)[-1] == "whole True"


def relays() -> list[int]:
    """Those of this test's programs: orphans are its children (harness.become_subreaper)."""
    found = []
    for pid in harness.children():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "byway-relay\n":
                found.append(pid)
    return found


def resident_kilobytes(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0])


def has_only_what_it_needs(relay: int) -> bool:
    """Two sockets, the family's memory, bells and a pidfd; at its start it reads its maps."""
    kinds = [target.split(":")[0] for target in harness.descriptors(relay).values()]
    others = [kind for kind in kinds if kind not in ("socket", "anon_inode") and not kind.startswith("/memfd")]
    return kinds.count("socket") == 2 and not others


@pytest.mark.timeout(90)
def test_a_relay_has_only_what_it_needs(tmp_path: Path, world: World) -> None:
    before = set(relays())
    with harness.programs(tmp_path) as group:
        program = start(group, world, "large", "lives")
        program.wait_output("started ")
        (relay,) = harness.wait_until(lambda: set(relays()) - before, "a relay")
        harness.wait_until(lambda: resident_kilobytes(relay) < 50_000, "a relay with little memory")
        harness.wait_until(lambda: has_only_what_it_needs(relay), "a relay with few descriptors")
        assert os.readlink(f"/proc/{relay}/cwd") == "/"
        assert program.wait() == 0
        harness.wait_until(lambda: not group.strays() and not set(relays()) - before, "the end of the relay", 5.0)
