"""PostgreSQL with pgbench over TCP: a process for each connection, latches (signals, self-pipes, epoll), and psql.

PostgreSQL does not run as root: there its programs, and the client beside it, run as the user `postgres`, which its
package makes, with a copy of Byway's library where that user may read it.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.figures import postgres
from tests import variant
from tests.programs import harness
from tests.programs.harness import Program, Programs, World
from tests.programs.ring import check_carrier

BINARIES = postgres.binaries()
MISSING = [name for name in ("initdb", "postgres", "pgbench", "psql") if not (BINARIES / name).exists()]
pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(120),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
    pytest.mark.skipif(variant.is_sanitized(), reason="a sanitizer's library cannot be read by another user"),
]

Worlds = tuple[World, World]
USER = "postgres"
OPTIONS = ("fsync=off", "listen_addresses=127.0.0.1", "max_connections=40", "shared_buffers=16MB")


@dataclass(frozen=True)
class Database:
    """A directory that the user of PostgreSQL owns, and how its programs are started."""

    group: Programs
    directory: Path
    port: int

    def start(self, world: World, name: str, *arguments: str | Path) -> Program:
        return self.group.start(
            [BINARIES / name, *arguments],
            readable(world, self.directory),
            before_exec=become_user if os.geteuid() == 0 else None,
            directory=self.directory,
        )

    def run(self, world: World, name: str, *arguments: str | Path) -> str:
        program = self.start(world, name, *arguments)
        assert program.wait(40) == 0, program.output()
        return program.output()

    def client(self, world: World, name: str, *arguments: str) -> str:
        return self.run(world, name, *self.address, *arguments, "postgres")

    @property
    def address(self) -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)

    def serve(self, world: World) -> Program:
        options = [word for option in OPTIONS for word in ("-c", option)]
        data = self.directory / "data"
        server = self.start(world, "postgres", "-D", data, "-p", str(self.port), "-k", self.directory, *options)
        server.wait_output("ready to accept connections")
        return server


def become_user() -> None:
    user = pwd.getpwnam(USER)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def readable(world: World, directory: Path) -> World:
    """The same world with a library that the user may read."""
    if world.library is None:
        return world
    copy = directory / world.library.name
    if not copy.exists():
        shutil.copy(world.library, copy)
    return replace(world, library=copy)


@contextmanager
def owned_directory() -> Iterator[Path]:
    """Not below pytest's own directory, which only its user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="byway-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, USER, USER)
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A database, made once."""
    with owned_directory() as directory, harness.programs(directory) as group:
        Database(group, directory, 0).run(
            harness.KERNEL, "initdb", "--no-sync", "-A", "trust", "-U", USER, "-D", directory / "data"
        )
        yield directory


@pytest.fixture
def database(group: Programs, template: Path) -> Iterator[Database]:
    """A copy of it."""
    with owned_directory() as directory:
        subprocess.run(["cp", "--archive", template / "data", directory / "data"], check=True)
        yield Database(group, directory, harness.free_port())


def number(database: Database, world: World, query: str) -> int:
    return int(database.client(world, "psql", "-At", "-c", query))


def test_pgbench(database: Database, worlds: Worlds) -> None:
    """Reads, and transactions of several clients: afterwards the books balance."""
    server = database.serve(worlds[0])
    database.client(worlds[1], "pgbench", "-i", "-q", "-s", "2")
    assert "number of failed transactions: 0 " in database.client(worlds[1], "pgbench", "-S", "-c", "4", "-t", "300")
    database.client(worlds[1], "pgbench", "-c", "6", "-j", "2", "-t", "50")
    delta = number(database, worlds[1], "SELECT sum(delta) FROM pgbench_history")
    for table, column in (("accounts", "abalance"), ("tellers", "tbalance"), ("branches", "bbalance")):
        assert number(database, worlds[1], f"SELECT sum({column}) FROM pgbench_{table}") == delta, table
    assert number(database, worlds[1], "SELECT count(*) FROM pgbench_history") == 300
    check_carrier(server.pid, worlds, sent=100_000, received=100_000)
    assert server.stop(signal.SIGINT) == 0, server.output()


def test_copy(database: Database, worlds: Worlds) -> None:
    """Ten megabytes into a table and out of it again."""
    server = database.serve(worlds[0])
    rows = "".join(f"{index}\t{hashlib.sha256(b'%d' % index).hexdigest()}\n" for index in range(150_000))
    source, target = database.directory / "in", database.directory / "out"
    source.write_text(rows)
    database.client(worlds[1], "psql", "-c", "CREATE TABLE t (n int, h text)", "-c", f"\\copy t FROM '{source}'")
    database.client(worlds[1], "psql", "-c", f"\\copy (SELECT * FROM t ORDER BY n) TO '{target}'")
    assert target.read_text() == rows
    check_carrier(server.pid, worlds, sent=1 << 16, received=1 << 16)
    assert server.stop(signal.SIGINT) == 0, server.output()


def test_cancel(database: Database, worlds: Worlds) -> None:
    """Control-C in psql: a second connection makes the server signal the process that sleeps."""
    server = database.serve(worlds[0])
    sleeper = database.start(
        worlds[1], "psql", *database.address, "-c", "SELECT 1", "-c", "SELECT pg_sleep(60)", "postgres"
    )
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'"
    harness.wait_until(lambda: number(database, worlds[1], active), "a query that sleeps")
    assert sleeper.stop(signal.SIGINT, timeout_s=10) == 1
    assert "canceling statement due to user request" in sleeper.output()
    assert server.stop(signal.SIGINT) == 0, server.output()


def test_a_backend_that_is_killed(database: Database, worlds: Worlds) -> None:
    """The server ends all connections and starts afresh; the clients see an end, not a hang."""
    server = database.serve(worlds[0])
    database.client(worlds[1], "pgbench", "-i", "-q", "-s", "1")
    load = database.start(worlds[1], "pgbench", *database.address, "-S", "-c", "4", "-T", "30", "postgres")
    backends = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT abalance%' LIMIT 1"
    victim = harness.wait_until(lambda: database.client(worlds[1], "psql", "-At", "-c", backends).strip(), "a backend")
    os.kill(int(victim), signal.SIGKILL)
    assert load.wait() != 0
    aborted = set(re.findall(r"client (\d) (?:script 0 )?aborted in command", load.output()))
    assert aborted == set("0123"), load.output()
    harness.wait_until(lambda: server.output().count("ready to accept connections") == 2, "a server that is back")
    assert number(database, worlds[1], "SELECT count(*) FROM pgbench_accounts") == 100_000
    assert server.stop(signal.SIGINT) == 0, server.output()
