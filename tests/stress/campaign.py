"""Starts the programs of tests/stress/native in any world, with or without other work for the processors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import harness
from tests.programs.harness import KERNEL, Programs, World
from tests.programs.ring import read_ring

VARIANTS: dict[str, dict[str, str]] = {
    "first-byte": {"attach_after": "0", "attach_wait_us": "100000"},
    "no-spin": {"spin_us": "0"},
    "small-ring": {"ring_bytes": "4096", "attach_after": "0"},
    "small-ring-no-spin": {"ring_bytes": "4096", "spin_us": "0", "overflow_spin_us": "0", "attach_after": "0"},
    "one-bell": {"bells": "1", "spin_us": "0"},
    "long-spin": {"spin_us": "2000", "spin_adaptive": "0"},
}

BUSY = "while True: pass"


@contextmanager
def busy_processors(group: Programs, *, wanted: bool = True) -> Iterator[None]:
    """A busy loop for each processor, meanwhile."""
    loops = [group.start([sys.executable, "-c", BUSY], KERNEL) for _ in range(os.cpu_count() or 1) if wanted]
    try:
        yield
    finally:
        for loop in loops:
            loop.process.kill()
            loop.wait()


def run_lookers(group: Programs, world: World, rounds: int, seed: int) -> str:
    """tests/stress/native/lookers.c beside other work: its last line."""
    program = harness.compile_native(harness.ROOT / "tests" / "stress" / "native" / "lookers.c")
    with busy_processors(group):
        return group.run([program, str(rounds), str(seed)], world, timeout_s=80).splitlines()[-1]


def run_pollers(group: Programs, world: World, rounds: int, seed: int) -> str:
    """tests/stress/native/pollers.c: its last line."""
    program = harness.compile_native(harness.ROOT / "tests" / "stress" / "native" / "pollers.c")
    return group.run([program, str(rounds), str(seed)], world, timeout_s=80).splitlines()[-1]


def run_stress(
    group: Programs, worlds: tuple[World, World], *, seconds: float, connections: int, seed: int, load: bool
) -> str:
    """The driver's last line; every byte was right."""
    program = harness.compile_native(harness.ROOT / "tests" / "stress" / "native" / "stress.c")
    end_of_input, keep = os.pipe()
    try:
        server = group.start([program, "serve", "127.0.0.1"], worlds[0], stdin=end_of_input)
        port = server.wait_output("port ").split()[1]
        argv: list[str | Path] = [program, "drive", "127.0.0.1", port, str(seconds), str(connections), str(seed)]
        with busy_processors(group, wanted=load):
            driver = group.start(argv, worlds[1])
            status = driver.wait(seconds + 30)
        assert status == 0, f"{driver.output()} {server.output()}"
        ring = read_ring(server.pid) if worlds[0].is_byway else None
    finally:
        os.close(keep)
        os.close(end_of_input)
    assert server.wait() == 0, server.output()
    if all(world.is_byway for world in worlds):
        assert ring is not None and ring.sent_bytes > 0, ring
    return driver.output().splitlines()[-1]
