"""What is killed: real servers with two of their load generators, and how to see that the server still answers.

A load here lasts LOAD_S seconds or so: longer than the longest delay before somebody dies.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.figures import postgres
from tests.programs import harness

LOAD_S = 2
BENCH_CLIENTS = "bench.clients"
Words = list[str | Path]

NGINX = """
daemon off; master_process on; worker_processes 2; pid {directory}/nginx.pid; user root; env LD_PRELOAD;
error_log {directory}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/1; proxy_temp_path {directory}/2; fastcgi_temp_path {directory}/3;
  uwsgi_temp_path {directory}/4; scgi_temp_path {directory}/5;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello"; }} }}
}}
"""


@dataclass(frozen=True)
class Setup:
    """A server, its load, and a request that shows whether the server lives."""

    name: str
    server: Callable[[Path, int], Words]  # (a directory of its own, port)
    load: Callable[[int], Words]  # port
    request: bytes  # on the kernel; empty: the load itself asks
    answer: bytes  # what the answer to `request` has in it
    programs: tuple[str, ...]
    has_workers: bool = False  # children of the server that it replaces when they die
    prepare: Callable[[int], Words] | None = None  # run once the server listens

    def missing(self) -> list[str]:
        return harness.needs(*self.programs)


def redis(_directory: Path, port: int) -> Words:
    return ["redis-server", "--port", str(port), "--save", ""]


def redis_load(port: int) -> Words:
    return ["redis-benchmark", "-p", str(port), "-t", "get,set", "-c", "10", "-n", "400000", "-q"]


def memcached(_directory: Path, port: int) -> Words:
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "root", "-t", "2"]


def python_load(module: str) -> Callable[[int], Words]:
    return lambda port: [sys.executable, "-m", f"{BENCH_CLIENTS}.{module}", str(port), str(LOAD_S)]


def nginx(directory: Path, port: int) -> Words:
    path = directory / "nginx.conf"
    path.write_text(NGINX.format(directory=directory, port=port))
    return [harness.program_path("nginx"), "-e", directory / "error.log", "-p", directory, "-c", path]


def wrk(port: int) -> Words:
    return ["wrk", "-t1", "-c10", f"-d{LOAD_S}s", f"http://127.0.0.1:{port}/1000"]


def gunicorn(directory: Path, port: int) -> Words:
    options = ["--workers", "2", "--worker-class", "gthread", "--threads", "8", "--graceful-timeout", "2"]
    place = ["--bind", f"127.0.0.1:{port}", "--chdir", harness.SERVERS, "--worker-tmp-dir", directory]
    return [sys.executable, "-m", "gunicorn", *options, *place, "application"]


def asyncio(_directory: Path, port: int) -> Words:
    return [sys.executable, harness.SERVERS / "asyncio_echo.py", "serve-protocol", str(port)]


def node(_directory: Path, port: int) -> Words:
    return ["node", harness.SERVERS / "node_http.js", str(port)]


def haproxy(directory: Path, port: int) -> Words:
    """Before nginx, which a shell starts beside it; both are of the server's process group."""
    behind = harness.free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text((harness.SERVERS / "haproxy.cfg").read_text().format(threads=1, port=port, behind=behind))
    first = shlex.join(map(str, nginx(directory, behind)))
    return ["sh", "-c", f"{first} & exec {harness.program_path('haproxy')} -db -f {configuration}"]


def pgbench(port: int) -> Words:
    return [*postgres.client(port, "-S", "-n", "-c", "4", "-T", str(LOAD_S))]


HTTP = b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SETUPS = {
    setup.name: setup
    for setup in (
        Setup("redis", redis, redis_load, b"PING\r\n", b"+PONG", ("redis-server", "redis-benchmark")),
        Setup("memcached", memcached, python_load("memcached_get"), b"version\r\n", b"VERSION", ("memcached",)),
        Setup("nginx", nginx, wrk, HTTP, b"200 OK", ("nginx", "wrk"), has_workers=True),
        Setup("gunicorn", gunicorn, wrk, HTTP, b"200 OK", ("wrk",), has_workers=True),
        Setup("asyncio", asyncio, python_load("echo_client"), b"hello", b"hello", ()),
        Setup("haproxy", haproxy, wrk, HTTP, b"200 OK", ("haproxy", "nginx", "wrk")),
        Setup(
            "postgres",
            lambda directory, port: [*postgres.server(directory, port)],
            pgbench,
            b"",
            b"",
            tuple(str(postgres.binaries() / name) for name in ("initdb", "postgres", "pgbench")),
            has_workers=True,
            prepare=lambda port: [*postgres.make_tables(port)],
        ),
        Setup("node", node, wrk, HTTP, b"200 OK", ("node", "wrk")),
    )
}
