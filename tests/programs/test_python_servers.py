"""asyncio with its own loop and with uvloop, and gunicorn with each kind of worker."""

from __future__ import annotations

import importlib.util
import signal
import sys
from itertools import product

import pytest

from tests.programs import harness
from tests.programs.harness import Programs, World
from tests.programs.ring import check_carrier, client

pytestmark = [pytest.mark.programs, pytest.mark.timeout(90)]

Worlds = tuple[World, World]
LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


def loop_of(loop: str) -> list[str]:
    return ["uvloop"] if loop == "uvloop" else []


@pytest.mark.parametrize(("loop", "kind"), list(product(LOOPS, ("serve-protocol", "serve-streams"))))
def test_echo(group: Programs, worlds: Worlds, loop: str, kind: str) -> None:
    port = harness.free_port()
    argv = [sys.executable, harness.SERVERS / "asyncio_echo.py"]
    server = group.start([*argv, kind, str(port), *loop_of(loop)], worlds[0])
    server.wait_listening(port)
    assert "all came back" in group.run([*argv, "ask", str(port), *loop_of(loop)], worlds[1])
    check_carrier(server.pid, worlds, sent=100_000, received=100_000)
    assert server.stop(signal.SIGTERM) == 0, server.output()


@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="not installed: gunicorn")
@pytest.mark.parametrize("worker", ("sync", "gthread"))
def test_gunicorn(group: Programs, worlds: Worlds, worker: str) -> None:
    """A master and two workers. `sync` closes each connection after its answer: by default it stays in the kernel."""
    port = harness.free_port()
    options = ["--workers", "2", "--worker-class", worker, "--threads", "2", "--bind", f"127.0.0.1:{port}"]
    argv = [sys.executable, "-m", "gunicorn", *options, "--chdir", harness.SERVERS, "--worker-tmp-dir", group.directory]
    server = group.start([*argv, "application"], worlds[0])
    server.wait_listening(port)
    client(group, worlds[1], "http-post", "127.0.0.1", port, 30, 3000)
    client(group, worlds[1], "http-post", "127.0.0.1", port, 3, 3_000_000)
    if worker == "gthread":
        check_carrier(server.pid, worlds, sent=60_000, received=60_000)
    assert server.stop(signal.SIGTERM) == 0, server.output()
    assert "Traceback" not in server.output(), server.output()
