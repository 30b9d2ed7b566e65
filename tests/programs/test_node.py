"""Node.js, http and net: libuv's epoll loop, with sockets closed and half-closed at its own moments."""

from __future__ import annotations

import signal

import pytest

from tests.programs import harness
from tests.programs.harness import Program, Programs, World
from tests.programs.ring import check_carrier, client

MISSING = harness.needs("node")
pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(60),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
]

Worlds = tuple[World, World]


def start_node(group: Programs, world: World, script: str, *arguments: str) -> tuple[Program, int]:
    port = harness.free_port()
    server = group.start(["node", harness.SERVERS / script, *arguments, str(port)], world)
    server.wait_listening(port)
    return server, port


def test_http(group: Programs, worlds: Worlds) -> None:
    server, port = start_node(group, worlds[0], "node_http.js")
    client(group, worlds[1], "http-post", "127.0.0.1", port, 50, 2000)
    client(group, worlds[1], "http-post", "127.0.0.1", port, 5, 3_000_000)
    check_carrier(server.pid, worlds, sent=1 << 16, received=1 << 16)
    assert server.stop(signal.SIGTERM) == 0, server.output()


def test_net(group: Programs, worlds: Worlds) -> None:
    server, port = start_node(group, worlds[0], "node_net.js", "serve")
    assert "all came back" in group.run(["node", harness.SERVERS / "node_net.js", "ask", str(port)], worlds[1])
    check_carrier(server.pid, worlds, sent=1 << 15, received=1 << 15)
    assert server.stop(signal.SIGTERM) == 0, server.output()
