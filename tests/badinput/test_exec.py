"""exec with connections open: the next program sees what it would see on the kernel, and by the ring where it can."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.badinput.common import helper, start_peer
from tests.crash.runner import Outcome, Pipes, Run, run_case, start
from tests.crash.scenarios import MEGABYTE, Case, Shape, draw_shape
from tests.programs import harness
from tests.programs.harness import KERNEL, Programs
from tests.programs.ring import Ring, read_ring

pytestmark = pytest.mark.timeout(90)

BOUND_S = 20.0
PING_BYTES = 64
SHAPE = replace(
    draw_shape(1, ["127.0.0.1"], MEGABYTE, MEGABYTE),
    send_mode="block",
    receive_mode="block",
    receive_chunk_bytes=65536,
    chunk_bytes=65536,
    warm_turns=20,
    options={},
)


@pytest.fixture(autouse=True)
def byway_is_there() -> None:
    if missing := harness.byway_missing():
        pytest.skip(missing)


def agent() -> Path:
    return harness.compile_native(harness.NATIVE / "agent.c")


def outcomes(case: Case, directory: Path, shape: Shape = SHAPE) -> tuple[Outcome, Outcome]:
    """Of the kernel, and of Byway."""
    found = [
        run_case(case, shape, (world, world), directory / world.name, BOUND_S)
        for world in (KERNEL, harness.byway_world())
    ]
    return found[0], found[1]


def same(case: Case, directory: Path, shape: Shape = SHAPE) -> Outcome:
    kernel, byway = outcomes(case, directory, shape)
    assert not kernel.broken, kernel
    assert byway == kernel
    return byway


@dataclass
class Conversation:
    """Two agents under Byway, of which one execs, and the events that they wait for."""

    run: Run
    pipes: Pipes

    def ring_at(self, line: str) -> Ring:
        """What went by rings when agent `a` said so."""
        self.run.a.wait_output(f"{line} reached", BOUND_S)
        ring = read_ring(self.run.a.pid)
        assert ring is not None
        return ring

    def ends(self) -> None:
        assert (self.run.a.wait(BOUND_S), self.run.b.wait(BOUND_S)) == (0, 0), self.run.a.output()


@contextlib.contextmanager
def conversation(directory: Path, case: Case, shape: Shape = SHAPE) -> Iterator[Conversation]:
    world = harness.byway_world()
    pipes = Pipes(case)
    with harness.programs(directory) as group:
        yield Conversation(start(group, case, shape, (world, world), pipes, BOUND_S), pipes)
    pipes.close()


def script(directory: Path, text: str) -> Path:
    path = directory / "script"
    path.write_text(text)
    path.chmod(0o755)
    return path


# -- by the ring ------------------------------------------------------------------------------------------------------


def ways(directory: Path) -> dict[str, list[str]]:
    """How an agent comes to run another one: steps before `exec`."""
    shell = script(directory, f'#!/bin/sh\nexec {agent()} "$@"\n')
    return {
        "execv": [],
        "execvp": [f"image:p:{agent()}"],
        "fexecve": [f"image:f:{agent()}"],
        "execveat": [f"image:a:{agent()}"],
        "syscall": [f"image:s:{agent()}"],
        "script": [f"image:v:{shell}"],
        "shell": [f"image:p:{shell}"],
        "copied": ["move:9", "move:7"],
    }


@pytest.mark.parametrize("connects", (True, False), ids=("connected", "accepted"))
@pytest.mark.parametrize("way", ("execv", "execvp", "fexecve", "execveat", "syscall", "script", "shell", "copied"))
def test_bytes_go_by_the_ring_after_exec(tmp_path: Path, way: str, connects: bool) -> None:
    a = ["ping:20", "say:before", "wait:go", *ways(tmp_path)[way], "exec:5", "ping:300", "say:after", "wait:end"]
    case = Case(a=[*a, "close"], b=["pong:320", "drain"])
    with conversation(tmp_path, case, replace(SHAPE, sender_connects=connects)) as talk:
        before = talk.ring_at("before")
        talk.pipes.tell("go")
        after = talk.ring_at("after")
        talk.pipes.tell("end")
        talk.ends()
    assert before.sent_bytes > 10 * PING_BYTES
    assert after.counters["passed_on"] >= 1
    assert after.sent_bytes - before.sent_bytes > 250 * PING_BYTES
    assert after.received_bytes - before.received_bytes > 250 * PING_BYTES


def test_exec_twice(tmp_path: Path) -> None:
    a = ["ping:20", "exec:5", "ping:20", "exec:6", "ping:300", "say:after", "wait:end", "close"]
    with conversation(tmp_path, Case(a=a, b=["pong:340", "drain"])) as talk:
        after = talk.ring_at("after")
        talk.pipes.tell("end")
        talk.ends()
    assert after.counters["passed_on"] == 2
    assert after.sent_bytes > 250 * PING_BYTES


def test_an_exec_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Neither one that is seen to fail before, nor one that fails when all is ready for it."""
    fails = ["fail-exec:missing", "ping:5", "fail-exec:long", "ping:5"]
    a = ["ping:20", "say:before", "wait:go", *fails * 3, "ping:300", "say:after", "wait:end", "close"]
    with conversation(tmp_path, Case(a=a, b=["pong:350", "drain"])) as talk:
        before = talk.ring_at("before")
        open_before = harness.descriptors(talk.run.a.pid)
        talk.pipes.tell("go")
        after = talk.ring_at("after")
        open_after = harness.descriptors(talk.run.a.pid)
        talk.pipes.tell("end")
        talk.ends()
        lines = [line for line in talk.run.a.output().splitlines() if line.startswith("exec")]
    assert lines == ["exec errno ENOENT", "exec errno E2BIG"] * 3
    assert after.attached == before.attached == 1
    assert after.counters["passed_on"] == 0
    assert after.sent_bytes - before.sent_bytes > 250 * PING_BYTES
    assert open_after == open_before


# -- as on the kernel -------------------------------------------------------------------------------------------------


def test_unread_bytes_are_read_after_exec(tmp_path: Path) -> None:
    """Both ways, and the other end has closed by then."""
    a = ["send:30000", "tell:sent", "recv:1000", "tell:part", "close"]
    b = ["send:5000", "wait:part", "recv:10", "exec:5", "wait:gone", "recv:29990", "drain"]
    same(Case(a=[*a], b=b, conduct=["exit a", "tell gone"]), tmp_path)


@pytest.mark.parametrize("unread", (0, 3000))
@pytest.mark.parametrize("preload", ("byway", "foreign"))
def test_close_on_exec_is_a_close(tmp_path: Path, unread: int, preload: str) -> None:
    """With bytes unread it is a reset, as any close."""
    b = ["wait:sent", *(["recv:3000"] if not unread else []), "cloexec", "become:/bin/true"]
    if preload == "foreign":
        b[-1] = "become:LD_PRELOAD= exec /bin/true"
    a = ["send:3000", "tell:sent", "wait:gone", "settle", "state", "recv:1", "error"]
    outcome = same(Case(a=a, b=b, conduct=["exit b", "tell gone"]), tmp_path)
    assert ("recv errno ECONNRESET" in outcome.a) == bool(unread)


def test_close_on_exec_that_fails_leaves_it_usable(tmp_path: Path) -> None:
    b = ["wait:sent", "recv:100", "cloexec", "fail-exec:long", "recv:2900", "send:70", "drain"]
    same(Case(a=["send:3000", "tell:sent", "recv:70", "send:20000", "close"], b=b), tmp_path)


@pytest.mark.parametrize("command", ("{} <&5", "exec {} <&5", "LD_PRELOAD= exec {} <&5", "cat <&5 | {}"))
def test_a_shell_uses_the_socket(tmp_path: Path, command: str) -> None:
    """`sh -c` finds the socket at descriptor 5, and gives it to a program."""
    b = ["pong:3", "wait:sent", "recv:100", "move:5", f"become:{command.format('head -c 29900')} | wc -c"]
    a = ["ping:3", "send:30000", "tell:sent", "wait:read", "close"]
    outcome = same(Case(a=a, b=b, conduct=["said b 29900", "tell read"]), tmp_path)
    assert "29900" in outcome.b


def test_another_program_reads_the_rest(tmp_path: Path) -> None:
    """Bytes that the ring holds, although their sender has closed."""
    b = ["wait:gone", "recv:1000", "move:5", f"become:{helper('reader')}"]
    outcome = same(Case(a=["send:30000", "close"], b=b, conduct=["exit a", "tell gone"]), tmp_path)
    assert "29000 bytes, end" in outcome.b


@pytest.mark.parametrize("how", ("exec {}", "true; {}; true"))
def test_a_static_program_gets_the_kernels_bytes(tmp_path: Path, how: str) -> None:
    command = how.format(f"{helper('reader', '-static')} 29000")
    b = ["wait:sent", "recv:1000", "move:5", f"become:{command}"]
    a = ["send:30000", "tell:sent", "wait:read", "close"]
    outcome = same(Case(a=a, b=b, conduct=["exit b", "tell read"]), tmp_path)
    assert "29000 bytes, more" in outcome.b


def test_an_image_that_cannot_take_over_resets_the_connection(tmp_path: Path) -> None:
    """Nobody hangs, and nobody takes less than all bytes for all: the image cannot check what is left to it."""
    denied = script(tmp_path, f'#!/bin/sh\nexec {helper("deny")} lseek={errno.EPERM} -- {agent()} "$@"\n')
    b = ["wait:sent", f"image:v:{denied}", "exec:5", "recv:1", "send:1", "tell:told"]
    case = Case(a=["send:30000", "tell:sent", "wait:told", "recv:1"], b=b)
    world = harness.byway_world()
    outcome = run_case(case, SHAPE, (world, world), tmp_path / "run", BOUND_S)
    assert "recv errno ECONNRESET" in outcome.a, outcome
    assert {"recv errno ECONNRESET", "send errno EPIPE"} <= set(outcome.b), outcome
    assert any("could not be found again" in line for line in outcome.b), outcome


@pytest.mark.parametrize("thread", ("first", "other"))
@pytest.mark.parametrize("round_number", range(3))
def test_exec_while_threads_use_the_connection(group: Programs, round_number: int, thread: str) -> None:
    """Whatever exec interrupts, no byte is lost or doubled but those of the calls that it ended."""
    for world in (KERNEL, harness.byway_world().with_options(log=2)):
        lines = group.run([helper("exec_threads"), thread], world, timeout_s=40.0).splitlines()
        told = [line for line in lines if not line.startswith("byway")]
        assert sorted(told) == ["down: right", "up: right"], (world.name, lines)
        assert not world.is_byway or any("came through exec" in line for line in lines), lines


@pytest.mark.parametrize("edge", ("level", "edge"))
def test_an_epoll_set_that_stays_open(group: Programs, edge: str) -> None:
    """No image knows what another one registered: the set is right all the same, and nobody sleeps for ever."""
    script = Path(__file__).with_name("exec_set.py")
    outputs = []
    for world in (KERNEL, harness.byway_world()):
        peer, port = start_peer(group, world)
        outputs.append(group.run([sys.executable, script, "before", str(port), edge], world, timeout_s=30.0))
        peer.stop()
    assert outputs[0].splitlines() == outputs[1].splitlines()


@pytest.mark.parametrize(("mode", "passed_on", "attached"), (("peer", 150, 151), ("self", 3, 4), ("fresh", 0, 1)))
def test_how_many_are_found_again(group: Programs, mode: str, passed_on: int, attached: int) -> None:
    """Many; both ends of one; none, and then a new connection attaches although the peer knows the process."""
    program = Path(__file__).with_name("exec_many.py")
    outputs = []
    for world in (KERNEL, harness.byway_world()):
        peer, port = start_peer(group, world)
        running = group.start([sys.executable, program, mode, str(port)], world, stdin=subprocess.PIPE)
        running.wait_output("said", BOUND_S)
        outputs.append(running.output().splitlines())
        if world.is_byway:
            ring = read_ring(running.pid)
            assert ring is not None
            assert (ring.counters["passed_on"], ring.attached) == (passed_on, attached), ring
        assert running.process.stdin is not None
        running.process.stdin.close()
        running.wait()
        peer.stop()
    assert outputs[0] == outputs[1]
