"""PostgreSQL under `pgbench -S` over TCP: one query of one row at a time, one client and eight."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from bench.harness import program_missing, run_load, serving, with_ring_bytes
from bench.model import BenchError, Comparison, Figure, Sample, Settings, Variant, rate_ratio

USER = "postgres"  # PostgreSQL does not run as root; its package makes this user
QUERY_BYTES = 100  # a query and its answer are a little more
OPTIONS = ("fsync=off", "listen_addresses=127.0.0.1", "autovacuum=off", "max_wal_size=1GB")


def binaries() -> Path:
    """Where Debian puts the newest version's programs."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))


def missing() -> str | None:
    names = [str(binaries() / name) for name in ("initdb", "postgres", "pgbench")]
    return program_missing(*names, *(["setpriv"] if os.geteuid() == 0 else []))


def as_user(words: Sequence[str]) -> list[str]:
    """As the database's user, where we are root. Both ends: Byway's rings join programs of any users."""
    if os.geteuid() != 0:
        return list(words)
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *words]


def own(directory: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(directory, USER, USER)


@cache
def template() -> tempfile.TemporaryDirectory[str]:
    """An empty database, made once a run; gone when the run ends."""
    directory = tempfile.TemporaryDirectory(prefix="byway-bench-postgres-")
    own(Path(directory.name))
    command = [str(binaries() / "initdb"), "--no-sync", "-A", "trust", "-U", USER, "-D", f"{directory.name}/data"]
    subprocess.run(as_user(command), check=True, capture_output=True, cwd=directory.name)
    return directory


def server(directory: Path, port: int) -> list[str]:
    own(directory)
    subprocess.run(["cp", "--archive", f"{template().name}/data", str(directory / "data")], check=True)
    options = [word for option in OPTIONS for word in ("-c", option)]
    command = [str(binaries() / "postgres"), "-D", str(directory / "data"), "-p", str(port), "-k", str(directory)]
    return as_user([*command, *options])


def client(port: int, *words: str) -> list[str]:
    """pgbench."""
    command = [str(binaries() / "pgbench"), "-h", "127.0.0.1", "-p", str(port), "-U", USER, *words, "postgres"]
    return as_user(command)


def make_tables(port: int) -> list[str]:
    """pgbench -i, as soon as the server takes connections: it listens before."""
    ready = shlex.join([str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)])
    return ["sh", "-c", f"until {ready}; do sleep 0.05; done; exec {shlex.join(client(port, '-i', '-q'))}"]


def parse(output: str, seconds: float) -> Sample:
    """From pgbench's report."""
    rate = re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE)
    mean = re.search(r"^latency average = ([0-9.]+) ms", output, re.MULTILINE)
    if not rate or not mean:
        raise BenchError("pgbench reported no rate")
    return Sample(rate_per_s=float(rate[1]), payload_bytes=float(rate[1]) * seconds * QUERY_BYTES)


def measure(clients: int, variant: Variant, settings: Settings) -> Sample:
    """One variant: tables are made first, by the same client program."""
    seconds = max(1, math.ceil(settings.seconds))
    with serving(variant, settings, server) as running:
        run_load(variant, settings.load_cpu, make_tables(running.port), seconds)
        words = client(running.port, "-S", "-c", str(clients), "-T", str(seconds))
        sample = parse(run_load(variant, settings.load_cpu, words, seconds), seconds)
        return with_ring_bytes(sample, variant, running) if variant.byway else sample


def figure(clients: int, bound: float | None) -> Figure:
    """One line of the table."""
    return Figure(
        name=f"postgres_{clients}",
        title=f"PostgreSQL, pgbench -S, {clients} client{'s' if clients > 1 else ''}",
        unit="transactions/s",
        comparisons=(Comparison("transactions/s", "kernel", rate_ratio, bound),),
        measure=partial(measure, clients),
        missing=missing,
    )


FIGURES: Sequence[Figure] = (figure(1, 1.3), figure(8, None))
