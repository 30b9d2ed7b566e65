"""Java echoes with one blocking client: blocking sockets, and channels with a selector."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.harness import SERVERS, program_missing
from bench.loads import echo
from bench.model import BenchError, Comparison, Figure, Sample, Settings, Variant, rate_ratio

SOURCE = SERVERS / "JavaEcho.java"


def classes(build: Path) -> Path:
    """The compiled program; kept while it is newer than its source."""
    directory = build / "java"
    compiled = directory / "JavaEcho.class"
    if not compiled.exists() or compiled.stat().st_mtime_ns < SOURCE.stat().st_mtime_ns:
        directory.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["javac", "-d", str(directory), str(SOURCE)], capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{SOURCE.name} does not compile: {done.stderr}")
    return directory


def measure(role: str, variant: Variant, settings: Settings) -> Sample:
    """One variant; the client is Python's, so that the load is the same for both."""
    where = str(classes(settings.build))

    def server(_directory: Path, port: int) -> list[str]:
        return ["java", "-Xshare:auto", "-cp", where, "JavaEcho", role, str(port)]

    return echo.measure(server, variant, settings)


def figure(role: str, title: str) -> Figure:
    """One line of the table."""
    return Figure(
        name=f"java_{role.partition('-')[2]}",
        title=title,
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, 1, whole_interval=True),),
        measure=partial(measure, role),
        missing=partial(program_missing, "java", "javac"),
    )


FIGURES: Sequence[Figure] = (
    figure("serve-blocking", "Java blocking sockets, echo, 1 client"),
    figure("serve-selector", "Java selector, echo, 1 client"),
)
