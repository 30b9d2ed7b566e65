"""nginx (master and workers) with wrk and http.client, and CPython's http.server with urllib."""

from __future__ import annotations

import hashlib
import random
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.harness import KERNEL, Program, Programs, World
from tests.programs.ring import check_carrier, client, read_ring

pytestmark = [pytest.mark.programs, pytest.mark.timeout(90)]
NO_NGINX = pytest.mark.skipif(bool(harness.needs("nginx")), reason="not installed: nginx")
NO_WRK = pytest.mark.skipif(
    bool(harness.needs("nginx", "wrk")), reason=f"not installed: {harness.needs('nginx', 'wrk')}"
)

Worlds = tuple[World, World]

CONFIGURATION = """
daemon off; master_process on; worker_processes 2; pid {directory}/nginx.pid; error_log stderr warn; {user}
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000; root {directory}/files;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
  uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  server {{ {listen} location = /hello {{ return 200 "{hello}"; }} }}
}}
"""


@dataclass(frozen=True)
class Files:
    """What the servers serve: paths and digests."""

    directory: Path
    digests: dict[str, str]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    directory = tmp_path / "files"
    directory.mkdir()
    digests = {}
    for name, size in (("small", 1024), ("big", 1 << 20)):
        data = random.Random(size).randbytes(size)
        (directory / name).write_bytes(data)
        digests[f"/{name}"] = hashlib.sha256(data).hexdigest()
    digests["/hello"] = hashlib.sha256(b"hello").hexdigest()
    return Files(directory, digests)


def write_configuration(group: Programs, port: int, hello: str = "hello") -> Path:
    names = [f"[{host}]" if ":" in host else host for host in harness.local_addresses()]
    listen = " ".join(f"listen {name}:{port};" for name in names)
    path = group.directory / "nginx.conf"
    user = "user root;"
    path.write_text(CONFIGURATION.format(directory=group.directory, listen=listen, hello=hello, user=user))
    return path


def start_nginx(group: Programs, world: World) -> tuple[Program, int]:
    port = harness.free_port()
    path = write_configuration(group, port)
    program = group.start([harness.program_path("nginx"), "-p", group.directory, "-e", "stderr", "-c", path], world)
    program.wait_listening(port)
    harness.wait_until(lambda: workers(program), "workers")
    return program, port


def workers(nginx: Program) -> list[int]:
    text = Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def run_wrk(group: Programs, world: World, url: str, seconds: int = 1) -> int:
    """The number of answers, none of them wrong."""
    output = group.run(["wrk", "-t2", "-c20", f"-d{seconds}s", url], world, timeout_s=seconds + 15)
    assert "Non-2xx" not in output and "Socket errors" not in output, output
    found = re.search(r"(\d+) requests in", output)
    assert found, output
    return int(found[1])


def quit_nginx(nginx: Program) -> None:
    assert nginx.stop(signal.SIGQUIT) == 0, nginx.output()
    assert "[alert]" not in nginx.output() and "[crit]" not in nginx.output(), nginx.output()


@NO_NGINX
@pytest.mark.parametrize("path", ("/hello", "/small", "/big"))
def test_nginx_with_http_client(group: Programs, worlds: Worlds, host: str, files: Files, path: str) -> None:
    nginx, port = start_nginx(group, worlds[0])
    client(group, worlds[1], "http-keepalive", host, port, 20, path, files.digests[path])
    check_carrier(nginx.pid, worlds, sent=2000, received=1000)
    quit_nginx(nginx)


@NO_WRK
@pytest.mark.parametrize("path", ("/hello", "/small", "/big"))
def test_nginx_with_wrk(group: Programs, worlds: Worlds, files: Files, path: str) -> None:
    nginx, port = start_nginx(group, worlds[0])
    assert run_wrk(group, worlds[1], f"http://127.0.0.1:{port}{path}") > 10
    check_carrier(nginx.pid, worlds, sent=10_000, received=1000)
    quit_nginx(nginx)


@NO_WRK
def test_nginx_reload(group: Programs, worlds: Worlds, files: Files) -> None:
    """HUP: new workers serve the new configuration, the old ones end."""
    nginx, port = start_nginx(group, worlds[0])
    run_wrk(group, worlds[1], f"http://127.0.0.1:{port}/hello")
    old = set(workers(nginx))
    write_configuration(group, port, hello="changed")
    nginx.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: not old & set(workers(nginx)) and len(workers(nginx)) == 2, "new workers")
    digest = hashlib.sha256(b"changed").hexdigest()
    client(group, worlds[1], "http-keepalive", "127.0.0.1", port, 20, "/hello", digest)
    run_wrk(group, worlds[1], f"http://127.0.0.1:{port}/hello")
    check_carrier(nginx.pid, worlds, sent=10_000, received=1000)
    quit_nginx(nginx)


@NO_WRK
def test_nginx_quits_under_load(group: Programs, worlds: Worlds, files: Files) -> None:
    """QUIT lets requests end: master and workers end with 0 although wrk goes on asking."""
    nginx, port = start_nginx(group, worlds[0])
    wrk = group.start(["wrk", "-t1", "-c10", "-d2s", f"http://127.0.0.1:{port}/small"], worlds[1])
    address = ("127.0.0.1", port)
    harness.wait_until(lambda: established(address) >= 10, "connections of wrk")
    quit_nginx(nginx)
    assert wrk.wait() == 0


def established(address: tuple[str, int]) -> int:
    wanted = f":{address[1]:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in lines if line.split()[1].endswith(wanted) and line.split()[3] == "01")


@pytest.mark.parametrize("path", ("/small", "/big"))
def test_python_http_server_with_urllib(group: Programs, worlds: Worlds, host: str, files: Files, path: str) -> None:
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


def test_python_http_server_with_default_options(group: Programs, worlds: Worlds, files: Files) -> None:
    port = harness.free_port()
    server = group.start(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], worlds[0], directory=files.directory
    )
    server.wait_listening(port)
    client(group, worlds[1], "http-urllib", "127.0.0.1", port, 10, "/big", files.digests["/big"])
    assert server.stop(signal.SIGINT) == 0, server.output()


@NO_NGINX
def test_kernel_program_has_no_arena(group: Programs) -> None:
    nginx, _ = start_nginx(group, KERNEL)
    if not harness.byway_missing():
        assert read_ring(nginx.pid) is None
    quit_nginx(nginx)
