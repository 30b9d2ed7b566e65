"""More connections between two processes than once fitted a pair, all attached, all in one epoll set at each end."""

from __future__ import annotations

import json
import resource

import pytest

from tests.programs import harness
from tests.programs.harness import Programs, World
from tests.programs.ring import read_ring

CONNECTIONS = 5000  # beyond 4,096, and beyond the first group of words of a ready bitmap
DESCRIPTORS_BESIDE = 1000
SECONDS = 0.5
SOURCE = harness.ROOT / "bench" / "native" / "tcp_idle.c"

pytestmark = pytest.mark.timeout(90)


def test_all_of_many_connections_are_attached(group: Programs, carrier: World) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < CONNECTIONS + DESCRIPTORS_BESIDE:
        pytest.skip(f"a process may have {most} descriptors only")
    world = carrier.with_options(ring_bytes="4096") if carrier.is_byway else carrier
    program, port = harness.compile_native(SOURCE), harness.free_port()
    server = group.start([program, "server", str(port)], world)
    server.wait_listening(port)
    client = group.start([program, "client", str(port), str(CONNECTIONS), str(SECONDS)], world)
    if carrier.is_byway:
        harness.wait_until(lambda: attached(server) >= CONNECTIONS, "attached connections", 60.0)
    assert client.wait(60.0) == 0, client.output()
    assert json.loads(client.output())["count"] > 0


def attached(server: harness.Program) -> int:
    ring = read_ring(server.pid)
    return ring.attached if ring else 0
