"""memcached with four threads and with a hundred, and plain clients with one, several and 200."""

from __future__ import annotations

import signal

import pytest

from tests.programs import harness
from tests.programs.harness import Program, Programs, World
from tests.programs.ring import check_carrier, client

MISSING = harness.needs("memcached")
pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(60),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
]

Worlds = tuple[World, World]


def start_memcached(group: Programs, world: World, host: str, threads: int = 4) -> tuple[Program, int]:
    port = harness.free_port()
    options = ["-U", "0", "-t", str(threads), "-u", "root", "-I", "2m"]
    program = group.start(["memcached", "-l", host, "-p", str(port), *options], world)
    program.wait_listening(port)
    return program, port


def test_values(group: Programs, worlds: Worlds, host: str) -> None:
    server, port = start_memcached(group, worlds[0], host)
    client(group, worlds[1], "memcached-values", host, port, 500, 100)
    check_carrier(server.pid, worlds, sent=20_000, received=20_000)
    assert server.stop(signal.SIGTERM) == 0


def test_big_values(group: Programs, worlds: Worlds) -> None:
    server, port = start_memcached(group, worlds[0], "127.0.0.1")
    client(group, worlds[1], "memcached-values", "127.0.0.1", port, 5, 1_000_000)
    check_carrier(server.pid, worlds, sent=1 << 16, received=1 << 16)
    server.stop(signal.SIGTERM)


def test_threads(group: Programs, worlds: Worlds) -> None:
    """Twelve client threads, a connection each, over four server threads."""
    server, port = start_memcached(group, worlds[0], "127.0.0.1")
    client(group, worlds[1], "memcached-threads", "127.0.0.1", port, 12, 100)
    check_carrier(server.pid, worlds, sent=1 << 16, received=1 << 16)
    server.stop(signal.SIGTERM)


def test_200_threads(group: Programs, worlds: Worlds) -> None:
    """Two hundred client threads, a connection each, over a hundred server threads."""
    server, port = start_memcached(group, worlds[0], "127.0.0.1", threads=100)
    client(group, worlds[1], "memcached-threads", "127.0.0.1", port, 200, 30)
    check_carrier(server.pid, worlds, sent=1 << 16, received=1 << 16)
    server.stop(signal.SIGTERM)


def test_two_clients_one_after_the_other(group: Programs, worlds: Worlds) -> None:
    """The first pair is gone when the second is made."""
    server, port = start_memcached(group, worlds[0], "127.0.0.1")
    for _ in range(5):
        client(group, worlds[1], "memcached-values", "127.0.0.1", port, 100, 100)
    check_carrier(server.pid, worlds, sent=20_000, received=20_000)
    before = len(harness.descriptors(server.pid))
    for _ in range(5):
        client(group, worlds[1], "memcached-values", "127.0.0.1", port, 50, 100)
    grown = len(harness.descriptors(server.pid)) - before
    assert grown <= 12, f"descriptors left of clients that are gone: {grown} more after 5 clients"
    server.stop(signal.SIGTERM)
