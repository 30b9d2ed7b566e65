"""Servers that wait, each with a connection that is attached and idle: what they take of the processors meanwhile."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.harness import KERNEL, Program, Programs, World
from tests.programs.ring import wait_ring_bytes

pytestmark = [
    pytest.mark.programs,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(harness.byway_missing()), reason=str(harness.byway_missing())),
]

IDLE_S = 10.0
ABOVE_KERNEL_MS = 1.0
TRIES = 3  # what else runs on the machine costs a program time too: caches, and interrupts on its account
CLIENT = harness.ROOT / "tests" / "programs" / "clients.py"

NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {directory}/1; proxy_temp_path {directory}/2; fastcgi_temp_path {directory}/3;
  uwsgi_temp_path {directory}/4; scgi_temp_path {directory}/5; keepalive_timeout 600s;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello"; }} }}
}}
"""


def redis(_directory: Path, port: int) -> list[str | Path]:
    return ["redis-server", "--port", str(port), "--save", "", "--timeout", "0"]


def memcached(_directory: Path, port: int) -> list[str | Path]:
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "root"]


def nginx(directory: Path, port: int) -> list[str | Path]:
    path = directory / f"nginx-{port}.conf"
    path.write_text(NGINX.format(directory=directory, port=port))
    return [harness.program_path("nginx"), "-e", "stderr", "-p", directory, "-c", path]


def asyncio(_directory: Path, port: int) -> list[str | Path]:
    return [sys.executable, harness.SERVERS / "asyncio_echo.py", "serve-protocol", str(port)]


def node(_directory: Path, port: int) -> list[str | Path]:
    return ["node", harness.SERVERS / "node_net.js", "serve", str(port)]


REQUESTS = {redis: "PING\r\n", memcached: "version\r\n", nginx: "GET / HTTP/1.1\r\nHost: x\r\n\r\n"}
ECHO = "0123456789abcdef"


def milliseconds(pid: int) -> float:
    """Processor time of a process so far, all its threads; to the nanosecond, where the kernel tells it so."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(task.read_text().split()[0])
    return total / 1e6


def start(group: Programs, world: World, command: Callable[[Path, int], list[str | Path]]) -> tuple[Program, Program]:
    """A server, and a client that has talked to it and now holds its connection."""
    port = harness.free_port()
    server = group.start(command(group.directory, port), world)
    server.wait_listening(port)
    request = REQUESTS.get(command, ECHO)
    client = group.start([sys.executable, CLIENT, "hold", "127.0.0.1", str(port), request], world)
    client.wait_output("holding")
    if world.is_byway:
        wait_ring_bytes(server.pid, sent=1, received=1)
    return server, client


def measure(pids: list[int]) -> list[float]:
    """What each takes in the time, in milliseconds."""
    before = list(map(milliseconds, pids))
    time.sleep(IDLE_S)
    return [after - earlier for after, earlier in zip(map(milliseconds, pids), before, strict=True)]


def test_waiting_takes_no_processor_time(group: Programs) -> None:
    commands = [redis, memcached, nginx, asyncio, node]
    here = [command for command in commands if not harness.needs(Path(command(group.directory, 1)[0]).name)]
    pairs = {(command, world.name): start(group, world, command) for command in here for world in worlds()}
    pids = [program.pid for pair in pairs.values() for program in pair]
    time.sleep(1.0)  # what starting leaves to be done
    above: dict[str, float] = {}
    for _ in range(TRIES):
        taken = dict(zip(pids, measure(pids), strict=True))
        for command in here:
            for at, role in enumerate(("server", "client")):
                byway, kernel = (taken[pairs[command, name][at].pid] for name in ("byway", "kernel"))
                name = f"{command.__name__}, {role}"
                above[name] = min(above.get(name, float("inf")), byway - kernel)
        if max(above.values()) <= ABOVE_KERNEL_MS:
            break
    assert max(above.values()) <= ABOVE_KERNEL_MS, f"ms above the kernel's in {IDLE_S:g} s: {above}"
    for server, client in pairs.values():
        client.stop(signal.SIGTERM)
        server.stop(signal.SIGTERM)


def worlds() -> tuple[World, World]:
    return KERNEL, harness.byway_world()
