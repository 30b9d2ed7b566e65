"""Ends of different users. One that has no id in the namespace of the other end may be anybody, and gets no ring."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.harness import Program, Programs
from tests.programs.ring import check_carrier, client, read_ring

MISSING = harness.needs("memcached", "unshare")
pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
    pytest.mark.skipif(bool(harness.byway_missing()), reason=str(harness.byway_missing())),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs of other users"),
]

CLIENT = harness.ROOT / "tests" / "programs" / "clients.py"


def start_as(group: Programs, user: str) -> tuple[Program, int]:
    """memcached, which becomes `user` before it accepts."""
    port = harness.free_port()
    options = ["-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "1"]
    server = group.start(["memcached", *options, "-u", user], harness.byway_world())
    server.wait_listening(port)
    return server, port


@pytest.mark.parametrize("user", ["nobody", "daemon"])
def test_a_server_of_another_user(group: Programs, user: str) -> None:
    if user == "nobody" and Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        pytest.skip("in this user namespace nobody may be anybody")
    server, port = start_as(group, user)
    world = harness.byway_world()
    client(group, world, "memcached-values", "127.0.0.1", port, 200, 100)
    check_carrier(server.pid, (world, world), sent=10_000, received=10_000)
    server.stop(signal.SIGTERM)


def test_nobody_is_not_certain_in_a_user_namespace(group: Programs) -> None:
    """The client's namespace has an id for root alone: it sees every other user as the overflow user."""
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True).returncode:
        pytest.skip("no user namespace can be made here")
    server, port = start_as(group, "nobody")
    asking = [sys.executable, str(CLIENT), "hold", "127.0.0.1", str(port), "version\r\n"]
    held = group.start(["unshare", "-Ur", *asking], harness.byway_world())
    held.wait_output("holding")
    ring = read_ring(held.pid)
    assert ring and ring.attached == 0
    assert ring.reasons() == {"peer_user"}
    held.stop(signal.SIGTERM)
    server.stop(signal.SIGTERM)
