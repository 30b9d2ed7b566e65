"""wrk → HAProxy → nginx: HAProxy is the server of one connection and the client of the other."""

from __future__ import annotations

import signal
from itertools import product

import pytest

from tests.programs import harness
from tests.programs.files import Files
from tests.programs.harness import KERNEL, Program, Programs, World
from tests.programs.nginx import quit_nginx, run_wrk, start_nginx
from tests.programs.ring import check_carrier, client

MISSING = harness.needs("haproxy", "nginx", "wrk")
pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(90),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
]


def start_haproxy(group: Programs, world: World, behind: int) -> tuple[Program, int]:
    port = harness.free_port()
    path = group.directory / "haproxy.cfg"
    path.write_text((harness.SERVERS / "haproxy.cfg").read_text().format(threads=2, port=port, behind=behind))
    program = group.start([harness.program_path("haproxy"), "-db", "-f", path], world)
    program.wait_listening(port)
    return program, port


def stop_haproxy(haproxy: Program) -> None:
    """The signal itself ends it."""
    assert haproxy.stop(signal.SIGTERM) == -signal.SIGTERM, haproxy.output()
    assert "[ALERT]" not in haproxy.output(), haproxy.output()


@pytest.fixture(params=["-".join(names) for names in product(("kernel", "byway"), repeat=3)])
def three_worlds(request: pytest.FixtureRequest) -> tuple[World, World, World]:
    """The worlds of nginx, HAProxy and the client: all mixtures."""
    missing = harness.byway_missing()
    if "byway" in request.param and missing:
        pytest.skip(missing)
    first, second, third = (KERNEL if name == "kernel" else harness.byway_world() for name in request.param.split("-"))
    return first, second, third


def test_with_http_client(group: Programs, three_worlds: tuple[World, World, World], files: Files) -> None:
    nginx_world, haproxy_world, client_world = three_worlds
    nginx, behind = start_nginx(group, nginx_world)
    haproxy, port = start_haproxy(group, haproxy_world, behind)
    for path in ("/small", "/big"):
        client(group, client_world, "http-keepalive", "127.0.0.1", port, 20, path, files.digests[path])
    check_carrier(nginx.pid, (nginx_world, haproxy_world), sent=10_000, received=1000)
    stop_haproxy(haproxy)
    quit_nginx(group, nginx)


def test_with_wrk(group: Programs, three_worlds: tuple[World, World, World], files: Files) -> None:
    nginx_world, haproxy_world, client_world = three_worlds
    nginx, behind = start_nginx(group, nginx_world)
    haproxy, port = start_haproxy(group, haproxy_world, behind)
    assert run_wrk(group, client_world, f"http://127.0.0.1:{port}/small") > 10
    check_carrier(nginx.pid, (nginx_world, haproxy_world), sent=10_000, received=1000)
    stop_haproxy(haproxy)
    quit_nginx(group, nginx)
