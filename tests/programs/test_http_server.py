"""CPython's http.server with urllib."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.programs import harness
from tests.programs.files import Files
from tests.programs.harness import Programs, World
from tests.programs.ring import check_carrier, client

pytestmark = [pytest.mark.programs, pytest.mark.timeout(90)]

Worlds = tuple[World, World]


@pytest.mark.parametrize("path", ("/small", "/big"))
def test_with_urllib(group: Programs, worlds: Worlds, host: str, files: Files, path: str) -> None:
    """One-request connections: with default options they need not attach, so these attach at the first byte."""
    at_once = {"attach_after": 0, "attach_wait_us": 300_000}
    server_world, client_world = (world.with_options(**at_once) for world in worlds)
    port = harness.free_port()
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", host]
    server = group.start(argv, server_world, directory=files.directory)
    server.wait_listening(port)
    client(group, client_world, "http-urllib", host, port, 10, path, files.digests[path])
    check_carrier(server.pid, worlds, sent=2000, received=0)
    assert server.stop(signal.SIGINT) == 0, server.output()


def test_with_default_options(group: Programs, worlds: Worlds, files: Files) -> None:
    port = harness.free_port()
    server = group.start(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], worlds[0], directory=files.directory
    )
    server.wait_listening(port)
    client(group, worlds[1], "http-urllib", "127.0.0.1", port, 10, "/big", files.digests["/big"])
    assert server.stop(signal.SIGINT) == 0, server.output()
