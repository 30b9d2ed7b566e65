"""`byway ps`, `byway ss` and `byway run` with real programs: what the tools say is what the arena says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.programs import harness
from tests.programs.harness import KERNEL, Program, Programs, World
from tests.programs.ring import read_ring, wait_ring_bytes

MISSING = harness.needs("redis-server", "redis-benchmark", "redis-cli")
pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(60),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
    pytest.mark.skipif(bool(harness.byway_missing()), reason=str(harness.byway_missing())),
]


def byway(*arguments: str) -> list[dict[str, Any]]:
    answer = subprocess.run([sys.executable, "-m", "byway", *arguments], capture_output=True, text=True, timeout=20)
    assert answer.returncode == 0, answer.stderr
    rows: list[dict[str, Any]] = json.loads(answer.stdout)
    return rows


def start_redis(group: Programs, world: World) -> tuple[Program, int]:
    port = harness.free_port()
    server = group.start(["redis-server", "--port", str(port), "--save", "", "--dir", str(group.directory)], world)
    server.wait_listening(port)
    return server, port


def start_benchmark(group: Programs, world: World, port: int) -> Program:
    argv = ["redis-benchmark", "-p", str(port), "-t", "get", "-n", "100000000", "-c", "4", "-q"]
    return group.start(argv, world)


def test_live_sockets_are_shown(group: Programs) -> None:
    server, port = start_redis(group, harness.byway_world())
    benchmark = start_benchmark(group, harness.byway_world(), port)
    ring = wait_ring_bytes(server.pid, sent=100_000, received=100_000)
    shown = [
        row for row in byway("ss", "--json", "--pid", str(server.pid)) if row["remote"] and row["transport"] == "local"
    ]
    assert len(shown) == 4, shown
    assert all(row["local"].endswith(f":{port}") and not row["reason"] for row in shown), shown
    assert sum(row["ring_sent_bytes"] for row in shown) >= ring.sent_bytes // 2
    members = {row["pid"]: row for row in byway("ps", "--json") if row.get("pid")}
    assert {server.pid, benchmark.pid} <= set(members), members
    benchmark.stop(signal.SIGTERM)
    server.stop(signal.SIGTERM)


def test_a_kernel_client_is_explained(group: Programs) -> None:
    server, port = start_redis(group, harness.byway_world())
    with harness.connect("127.0.0.1", port) as plain:
        for _ in range(20):
            plain.sendall(b"PING\r\n")
            assert harness.receive_exactly(plain, 7) == b"+PONG\r\n"
        mine = f":{plain.getsockname()[1]}"
        rows = [row for row in byway("ss", "--json", "--pid", str(server.pid)) if row["remote"].endswith(mine)]
        assert len(rows) == 1 and rows[0]["transport"] == "kernel" and rows[0]["reason"], rows
    ring = read_ring(server.pid)
    assert ring is not None and ring.sent_bytes == 0
    server.stop(signal.SIGTERM)


def test_run_starts_both(group: Programs) -> None:
    port = harness.free_port()
    run = [sys.executable, "-m", "byway", "run", "--"]
    server = group.start([*run, "redis-server", "--port", str(port), "--save", ""], KERNEL)
    server.wait_listening(port)
    output = group.run([*run, "redis-benchmark", "-p", str(port), "-t", "set", "-n", "5000", "-c", "5", "-q"], KERNEL)
    assert "SET:" in output
    wait_ring_bytes(server.pid, sent=10_000, received=10_000)
    assert server.stop(signal.SIGTERM) == 0
