"""One round: a server under two loads, one of these programs is killed in the middle, and what became of the others.

The outcome of a round under Byway must be one that the kernel has shown for the same server and the same kind of
victim: who ended, with which status or signal, whether the server answers, and that nobody hangs.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from byway.bench.processes import tree
from tests.killing.setups import LOAD_S, SETUPS, Setup
from tests.programs import harness
from tests.programs.harness import KERNEL, Program, Programs, World
from tests.programs.ring import read_ring

VICTIMS = ("load", "server", "worker")
ENDS_WITHIN_S = 3 * LOAD_S + 20.0
ANSWERS_WITHIN_S = 20.0
DELAY_S = (0.05, 0.9)  # after both loads have connected
ESTABLISHED = "01"  # a state in /proc/net/tcp
KERNEL_ROUNDS_MAX = 12  # to find an outcome that Byway has shown


@dataclass(frozen=True)
class Case:
    """What one round is."""

    setup: str
    victim: str
    delay_s: float
    seed: int


Outcome = tuple[str, ...]  # of the first load, the second load, the server


@dataclass(frozen=True)
class Result:
    """What became of them, and whether rings had carried bytes when somebody died."""

    outcome: Outcome
    by_ring: bool


def draw(seed: int, number: int) -> Case:
    """Servers in turn; the rest by chance."""
    chance = random.Random(f"{seed}/{number}")
    names = [name for name, setup in SETUPS.items() if not setup.missing()]
    name = names[number % len(names)]
    victims = VICTIMS if SETUPS[name].has_workers else VICTIMS[:2]
    return Case(name, chance.choice(victims), chance.uniform(*DELAY_S), chance.randrange(1 << 30))


def status_of(program: Program) -> str:
    """How it ended; by which signal, or with which status."""
    code = program.process.returncode
    return f"signal {-code}" if code < 0 else f"status {code}"


def wait_for_end(program: Program) -> str:
    return status_of(program) if program.ends_within(ENDS_WITHIN_S) and program.process.poll() is not None else "hangs"


def is_answering(setup: Setup, group: Programs, port: int) -> bool:
    """Asked on the kernel, on a connection of its own."""
    if not setup.request:
        program = group.start(setup.load(port), KERNEL)
        return wait_for_end(program) == "status 0"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(setup.request)
        return setup.answer in connection.recv(4096)
    return False


def server_outcome(setup: Setup, group: Programs, server: Program, port: int) -> str:
    """It answers within a while, or has ended."""
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            return status_of(server)
        if is_answering(setup, group, port):
            return "answers"
        time.sleep(0.05)
    return "does not answer"


def victim_of(case: Case, server: Program, load: Program) -> int:
    if case.victim == "load":
        return load.pid
    workers = tree(server.pid)[1:] if case.victim == "worker" else []
    return random.Random(case.seed).choice(workers) if workers else server.pid


def connections_to(port: int) -> set[str]:
    """Of established IPv4 connections to `port`, the active ends' descriptors as /proc/PID/fd shows them."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}") and row[3] == ESTABLISHED}


def has_connected(load: Program, port: int) -> bool:
    """Or has ended."""
    held = {target for pid in tree(load.pid) for target in harness.descriptors(pid).values()}
    return load.process.poll() is not None or not held.isdisjoint(connections_to(port))


def rings_carry(server: Program) -> bool:
    """Of any process of the server; a family's counters are in the arena of each."""
    rings = (read_ring(pid) for pid in tree(server.pid))
    return any(ring is not None and ring.sent_bytes > 0 for ring in rings)


def run(case: Case, world: World, directory: Path) -> Result:
    """Raises Hang where something is left, or does not come about."""
    setup, port = SETUPS[case.setup], harness.free_port()
    directory.chmod(0o755)
    with harness.programs(directory) as group:
        place = Path(tempfile.mkdtemp(dir=directory))
        server = group.start(setup.server(place, port), world, directory=place)
        server.wait_listening(port)
        if setup.prepare:
            group.run(setup.prepare(port), world)
        loads = [group.start(setup.load(port), world, directory=harness.ROOT) for _ in range(2)]
        for load in loads:
            harness.wait_until(partial(has_connected, load, port), "the load's connection")
        time.sleep(case.delay_s)
        by_ring = world.is_byway and rings_carry(server)
        with suppress(ProcessLookupError):
            os.kill(victim_of(case, server, loads[0]), signal.SIGKILL)
        outcome = (*map(wait_for_end, loads), server_outcome(setup, group, server, port))
        end_server(server)
        for pid in group.strays():  # children of a killed server: on the kernel they stay too
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return Result(outcome, by_ring)


def end_server(server: Program) -> None:
    """With its whole group: a killed master leaves its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        if server.ends_within(10.0):
            break


@dataclass
class Oracle:
    """What the kernel has shown, by server and victim."""

    seen: dict[tuple[str, str], set[Outcome]] = field(default_factory=dict)
    rounds: int = 0

    def allows(self, case: Case, outcome: Outcome, directory: Path) -> bool:
        """Asks the kernel until it shows the same, a limited number of times."""
        known = self.seen.setdefault((case.setup, case.victim), set())
        for _ in range(KERNEL_ROUNDS_MAX):
            if outcome in known:
                return True
            self.rounds += 1
            known.add(run(case, KERNEL, Path(tempfile.mkdtemp(dir=directory))).outcome)
        return outcome in known
