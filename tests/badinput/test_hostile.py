"""A squatter on the meeting name, nonsense in the pair's memory, another Byway, another preloaded library."""

from __future__ import annotations

import os
import pwd
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.badinput.common import build_variant, helper, kernel_lines, lines_of, start_peer
from tests.crash.runner import Oracle, Outcome, Pipes, conduct, difference, observed, read_progress, run_case, start
from tests.crash.scenarios import MEGABYTE, SCENARIOS, Case, draw_shape
from tests.programs import harness
from tests.programs.harness import KERNEL, Program, Programs, World
from tests.programs.ring import Ring, read_ring

pytestmark = pytest.mark.timeout(60)


OTHER_ABI = ("-UBYWAY_ABI_HASH", "-DBYWAY_ABI_HASH=0x1234567890abcdefull")


def byway() -> World:
    if missing := harness.byway_missing():
        pytest.skip(missing)
    return harness.byway_world()


def meeting_name(cookie: int) -> str:
    """As in csrc/local/meet.c."""
    return f"\0byway/{cookie:016x}"


# -- squatters ---------------------------------------------------------------------------------------------------------

SQUATTER = """
import os, socket, sys
name, how, user = "\\0" + sys.argv[1], sys.argv[2], int(sys.argv[3])
if user: os.setuid(user)
one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if how == "other-type" else socket.SOCK_SEQPACKET)
one.bind(name)
if how != "bound": one.listen(8)
print("squatting", flush=True)
while how == "garbage":
    other, _ = one.accept()
    other.sendall(os.urandom(300))
sys.stdin.read()
"""


def start_squatter(group: Programs, name: str, how: str, user: int) -> Program:
    end_of_input, _keep = os.pipe()
    squatter = group.start([sys.executable, "-c", SQUATTER, name[1:], how, str(user)], KERNEL, stdin=end_of_input)
    squatter.wait_output("squatting")
    return squatter


@pytest.mark.parametrize("user", (0, pwd.getpwnam("nobody").pw_uid), ids=("same-user", "another-user"))
@pytest.mark.parametrize("how", ("bound", "listening", "garbage", "other-type"))
def test_squatter(tmp_path: Path, carrier: World, how: str, user: int) -> None:
    """Somebody holds the name that the two would meet at: they stay on the kernel, and say why."""
    if user and os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    shape = draw_shape(7, ["127.0.0.1"], MEGABYTE, MEGABYTE)
    a = [
        "cookie",
        "wait:squatted",
        "ping:50",
        f"send:{MEGABYTE}",
        "ping:1",
        "tell:done",
        "wait:seen",
        "shutdown",
        "drain",
    ]
    b = ["pong:50", f"recv:{MEGABYTE}", "pong:1", "wait:seentoo", "drain"]
    case = Case(a, b)
    shape = replace(shape, sender_connects=True, warm_turns=0, options={})
    pipes = Pipes(case)
    with harness.programs(tmp_path) as group:
        run = start(group, case, shape, (carrier, carrier), pipes, 20.0)
        cookie = int(run.a.wait_output("cookie ").split()[1], 16)
        squatter = start_squatter(group, meeting_name(cookie), how, user)
        pipes.tell("squatted")
        assert harness.readable(pipes.ends["done"][0], 15.0), harness.stuck(run.a.pid)
        rings = [read_ring(program.pid) for program in (run.a, run.b)] if carrier.is_byway else []
        pipes.tell("seen")
        pipes.tell("seentoo")
        assert run.a.wait() == 0 and run.b.wait() == 0, run.a.output() + run.b.output()
        squatter.stop()
        assert observed(run.a, read_progress(run.progress_b), read_progress(run.progress_a))[-2] == "got whole"
    pipes.close()
    if rings and how != "other-type":  # a name of another type is another name
        assert all(ring is not None and ring.sent_bytes == 0 for ring in rings), rings
        told = {reason for ring in rings if ring for reason in ring.reasons()}
        assert told & {"name_taken", "peer_user", "peer_not_byway", "protocol", "abi"}, told


# -- nonsense in the pair -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("evil_connects", (True, False))
def test_nonsense_in_the_pair(tmp_path: Path, carrier: World, seed: int, evil_connects: bool) -> None:
    """One end writes nonsense over the pair's memory, again and again: the other neither crashes nor hangs.

    It may see errors or wrong bytes on this connection, and is ended by the evil one's death at the latest.
    """
    shape = draw_shape(100 + seed, ["127.0.0.1"], MEGABYTE, MEGABYTE)
    shape = replace(shape, sender_connects=evil_connects, warm_turns=30)
    evil = ["fork", f"scribble:{seed + 1}", "exit", "end", "duplex:1000000000", "reap", "kill"]
    case = Case(evil, ["duplex:1000000000", "close"])
    pipes = Pipes(case)
    group = Programs(tmp_path)
    try:
        run = start(group, case, shape, (carrier, carrier), pipes, 20.0)
        threading.Timer(2.0, run.a.process.kill).start()
        run.a.wait(15.0)
        status = run.b.wait(10.0)
        assert status in (0, 71, 72), f"the victim ended with {status}: {run.b.output()}"
    finally:
        group.stop_all()
        pipes.close()


def test_nonsense_harms_no_other_connection(tmp_path: Path, carrier: World) -> None:
    """One server, an evil client and a good one: the good one notices nothing."""
    with harness.programs(tmp_path) as group:
        peer, port = start_peer(group, carrier)
        for seed in range(4):
            evil = group.start([helper("dier"), "127.0.0.1", str(port), str(seed)], carrier)
            lines = group.run([helper("readiness"), "127.0.0.1", str(port)], carrier, timeout_s=30.0).splitlines()
            assert lines == kernel_lines(group, "readiness")
            assert evil.wait() == -9
            assert f"scribble: {'done' if carrier.is_byway else 'nothing'}" in evil.output()
        peer.stop()


@pytest.mark.parametrize("how", ("tail", "left", "changes", "claim"))
def test_chosen_nonsense(group: Programs, how: str) -> None:
    """A tail beyond the ring, the like behind a death while taking back, too many changes, a take-back that nobody
    does: a reset, at once, and not a byte."""
    lines = group.run([helper("nonsense"), how], byway(), timeout_s=15.0).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["ECONNRESET", *["0"] * (len(lines) - 2), "EPIPE"], lines


# -- another Byway, another library ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("write_killed", "reader_killed_with_bytes_unread", "duplex_then_close"))
def test_another_version(tmp_path: Path, name: str) -> None:
    """A library of another layout at the other end: the kernel carries all."""
    byway()
    other = World("byway", build_variant("otherabi", *OTHER_ABI))
    oracle = Oracle(name, tmp_path, 20.0)
    for number, worlds in enumerate([(byway(), other), (other, byway())]):
        shape = draw_shape(number + 40, ["127.0.0.1"], MEGABYTE, 4 * MEGABYTE)
        outcome: Outcome = run_case(SCENARIOS[name](shape), shape, worlds, tmp_path, 20.0)
        assert oracle.allows(shape, outcome), difference(oracle, shape, outcome)


def test_another_version_says_why(tmp_path: Path) -> None:
    world = byway()
    other = World("byway", build_variant("otherabi", *OTHER_ABI))
    with paused_pair(tmp_path, (world, other)) as rings:
        told = {reason for ring in rings for reason in ring.reasons()}
        assert all(ring.sent_bytes == 0 for ring in rings) and "abi" in told, rings


def own_meeting_names() -> list[str]:
    """Meeting names that programs started by this test hold."""
    held = {target for pid in harness.children() for target in harness.descriptors(pid).values()}
    return [name for name, inode in harness.meeting_names().items() if f"socket:[{inode}]" in held]


@contextmanager
def paused_pair(directory: Path, worlds: tuple[World, World]) -> Iterator[list[Ring]]:
    """The arenas of two agents that have talked for a while."""
    shape = draw_shape(7, ["127.0.0.1"], MEGABYTE, MEGABYTE)
    shape = replace(shape, sender_connects=True, warm_turns=100, options={})
    case = Case(["tell:done", "wait:seen", "close"], ["wait:seentoo", "close"])
    pipes = Pipes(case)
    with harness.programs(directory) as group:
        run = start(group, case, shape, worlds, pipes, 20.0)
        assert harness.readable(pipes.ends["done"][0], 15.0), harness.stuck(run.a.pid)
        yield [ring for ring in (read_ring(program.pid) for program in (run.a, run.b)) if ring is not None]
        pipes.tell("seen")
        pipes.tell("seentoo")
        conduct(run, case, pipes)
        assert run.a.wait() == 0 and run.b.wait() == 0
    pipes.close()


def test_two_agents_use_the_ring(tmp_path: Path) -> None:
    """What the tests of this folder rest on: two agents under Byway do attach."""
    world = byway()
    with paused_pair(tmp_path, (world, world)) as rings:
        assert len(rings) == 2 and all(ring.attached >= 1 and ring.sent_bytes > 0 for ring in rings), rings
        assert not own_meeting_names(), "a meeting is over, its name is still held"


@pytest.mark.parametrize("order", ("behind", "before"))
def test_another_preloaded_library(group: Programs, carrier: World, order: str) -> None:
    """It counts the calls that it counts without Byway, and the program's results are the same."""
    counter = helper("counter", "-shared", "-fPIC")
    world = carrier
    environment = {"LD_PRELOAD": str(counter)}
    if carrier.is_byway and order == "before":
        world = World("byway", counter)
        environment = {"LD_PRELOAD": str(carrier.library)}
    expected = lines_of(group, (KERNEL, KERNEL), "readiness", environment={"LD_PRELOAD": str(counter)})
    assert expected[-1].startswith("counter: ") and "0 connects" not in expected[-1].replace("10 connects", "")
    assert lines_of(group, (carrier, world), "readiness", environment=environment) == expected


# -- daemons ---------------------------------------------------------------------------------------------------------


def port_in(output: str) -> str | None:
    return output.split()[1] if output.startswith("port ") and output.endswith("\n") else None


@pytest.mark.parametrize("when", ("daemon-before", "daemon-after"))
def test_daemon(group: Programs, carrier: World, when: str, tmp_path: Path) -> None:
    """A server that forks twice and closes all descriptors, before or after it listens."""
    pid_file = tmp_path / "pid"
    starter = group.start([harness.compile_native(harness.NATIVE / "peer.c"), "127.0.0.1", when, pid_file], carrier)
    assert starter.wait() == 0
    port = harness.wait_until(lambda: port_in(starter.output()), "port of the daemon")
    pid = harness.wait_until(lambda: int(pid_file.read_text() or 0) if pid_file.exists() else 0, "process id")
    lines = group.run([helper("readiness"), "127.0.0.1", port], carrier, timeout_s=30.0).splitlines()
    assert lines == kernel_lines(group, "readiness")
    if carrier.is_byway:
        ring = read_ring(pid)
        assert ring is not None and ring.attached > 0, ring
    os.kill(pid, 15)
    harness.wait_until(lambda: not group.strays(), "the daemon's end")


# -- many deaths against one server ------------------------------------------------------------------------------------


def connections(pid: int) -> int:
    return sum(target.startswith("socket:") for target in harness.descriptors(pid).values())


def test_server_keeps_nothing_of_dead_clients(group: Programs, carrier: World) -> None:
    """Sixty clients, each killed while attached: the server's descriptors and memory do not grow.

    The next client comes when the server has closed its end: a pair is given back when the next one is made.
    """
    peer, port = start_peer(group, carrier)
    idle = connections(peer.pid)
    counts = []
    for number in range(60):
        killed = group.start([helper("dier"), "127.0.0.1", str(port)], carrier)
        assert killed.wait() == -9, killed.output()
        harness.wait_until(lambda: connections(peer.pid) <= idle, "the server's close")
        if number % 20 == 19:
            counts.append(len(harness.descriptors(peer.pid)))
    lines = group.run([helper("readiness"), "127.0.0.1", str(port)], carrier, timeout_s=30.0).splitlines()
    assert lines == kernel_lines(group, "readiness")
    assert counts[-1] - counts[0] <= 12, counts
    peer.stop()
