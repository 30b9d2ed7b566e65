"""Many threads at once: no byte of a queue and no cell is lost; no two hold the lock, and no work is left undone."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import pytest

from tests.programs import harness


@dataclass(frozen=True)
class Tried:
    """A program of tests/native, and what of csrc it needs."""

    program: str
    sources: tuple[str, ...]
    turns: int


QUEUE = tuple(f"stack/{name}.c" for name in ("cells", "byte_queue", "stack", "wheel", "work"))
LOCK = ("base/lock.c", "base/critical.c", "base/process.c")
TRIED = [
    Tried(
        "queues.c",
        (*QUEUE, *LOCK),
        20_000,
    ),
    Tried("works.c", ("stack/work.c", *LOCK), 60_000),
]
BUILDS = {
    "plain": (),
    "thread sanitizer": ("-fsanitize=thread",),
    "address sanitizer": ("-fsanitize=address,undefined",),
}
SANITIZED_PART = 10  # a sanitizer makes it so much slower


@pytest.mark.parametrize("tried", TRIED, ids=lambda tried: tried.program)
@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_threads(tried: Tried, build: str, threads: int) -> None:
    sources = [str(harness.CSRC / source) for source in tried.sources]
    program = harness.compile_native(harness.NATIVE / tried.program, *BUILDS[build], *sources)
    turns = tried.turns // threads // (1 if build == "plain" else SANITIZED_PART)
    done = subprocess.run([program, str(threads), str(turns)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
