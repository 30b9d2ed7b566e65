"""Whether bytes went by the ring: reads the arena of a live program.

By tests/native/arena.c, a reader of csrc/shm/layout.h of its own; where `byway.shm` offers a reader, a test of its own
compares the two.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.programs import harness


@dataclass(frozen=True)
class Ring:
    """Counters and sockets of one family of processes."""

    counters: dict[str, int] = field(default_factory=dict)
    sockets: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sent_bytes(self) -> int:
        """Bytes sent by rings, of sockets that live and of those that are gone."""
        return self.counters.get("ring_sent_bytes", 0) + sum(int(one["ring_sent_bytes"]) for one in self.sockets)

    @property
    def received_bytes(self) -> int:
        return self.counters.get("ring_received_bytes", 0) + sum(
            int(one["ring_received_bytes"]) for one in self.sockets
        )

    @property
    def attached(self) -> int:
        return self.counters.get("attached", 0)

    def reasons(self) -> set[str]:
        return {str(one["reason"]) for one in self.sockets} - {"none"}


def read_ring(pid: int) -> Ring | None:
    """What the arena of process `pid` says; None if it has none."""
    reader = harness.compile_native(harness.NATIVE / "arena.c")
    answer = json.loads(subprocess.run([reader, str(pid)], capture_output=True, check=True, timeout=10).stdout)
    return None if answer is None else Ring(answer["counters"], answer["sockets"])


def wait_ring_bytes(pid: int, sent: int = 0, received: int = 0) -> Ring:
    """Until process `pid` has sent and received so many bytes by rings; tools' figures may lag a little."""

    def enough() -> Ring | None:
        ring = read_ring(pid)
        return ring if ring and ring.sent_bytes >= sent and ring.received_bytes >= received else None

    try:
        return harness.wait_until(enough, "ring bytes", 3.0)
    except harness.Hang:
        ring = read_ring(pid)
        raise AssertionError(f"wanted {sent} bytes sent and {received} received by rings, have {ring}") from None


def check_carrier(server_pid: int, worlds: tuple[harness.World, harness.World], sent: int, received: int) -> None:
    """Bytes went by the ring if both programs were under Byway, and none did otherwise."""
    if all(world.is_byway for world in worlds):
        ring = wait_ring_bytes(server_pid, sent, received)
        assert not ring.counters["protocol_errors"], ring
        return
    if not worlds[0].is_byway:
        return
    ring = read_ring(server_pid)
    assert ring is None or ring.sent_bytes + ring.received_bytes == 0, ring


def client(group: harness.Programs, world: harness.World, kind: str, host: str, port: int, *arguments: object) -> None:
    """One of clients.py, from start to end."""
    script = harness.ROOT / "tests" / "programs" / "clients.py"
    group.run([sys.executable, script, kind, host, str(port), *map(str, arguments)], world, timeout_s=40.0)
