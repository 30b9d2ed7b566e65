"""C programs of tests/engine/native, linked with the engine's library as it was built for users."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from byway import native
from tests.programs import harness

NATIVE = Path(__file__).with_name("native")


def library() -> Path:
    """The one that tests/engine is about: $BYWAY_ENGINE_LIBRARY, or the installed one."""
    return Path(os.environ.get("BYWAY_ENGINE_LIBRARY") or native.path(native.ENGINE_LIBRARY))


def compiled(name: str) -> str:
    """The program, compiled."""
    return str(harness.compile_native(NATIVE / f"{name}.c", str(library()), f"-Wl,-rpath,{library().parent}"))


def output_of(command: list[str], timeout_s: float) -> str:
    """What it prints; AssertionError with what it says where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    return done.stdout
