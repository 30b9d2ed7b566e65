"""Cells are taken, passed on and given back by many threads at once: none is ever had by two, and none is lost."""

from __future__ import annotations

import subprocess

import pytest

from tests.programs import harness

BUILDS = {
    "plain": (),
    "thread sanitizer": ("-fsanitize=thread",),
    "address sanitizer": ("-fsanitize=address,undefined",),
}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_no_cell_is_had_by_two(build: str, threads: int) -> None:
    source = str(harness.CSRC / "stack" / "cells.c")
    program = harness.compile_native(harness.NATIVE / "cells.c", *BUILDS[build], source)
    turns = 300_000 // threads if build == "plain" else 30_000 // threads
    done = subprocess.run([program, str(threads), str(turns)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
