"""nginx, master and workers, with wrk and http.client: also as a daemon, reloaded, and with its binary replaced."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.files import Files
from tests.programs.harness import KERNEL, Programs, World
from tests.programs.nginx import (
    WORKERS,
    answers,
    assert_no_complaint,
    children_of,
    master_of,
    quit_nginx,
    run_wrk,
    start_daemon,
    start_nginx,
    write_configuration,
)
from tests.programs.ring import check_carrier, client, read_ring

MISSING = harness.needs("nginx", "wrk")
pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(90),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
]

Worlds = tuple[World, World]


@pytest.mark.parametrize("path", ("/hello", "/small", "/big"))
def test_with_http_client(group: Programs, worlds: Worlds, host: str, files: Files, path: str) -> None:
    nginx, port = start_nginx(group, worlds[0])
    client(group, worlds[1], "http-keepalive", host, port, 20, path, files.digests[path])
    check_carrier(nginx.pid, worlds, sent=2000, received=1000)
    quit_nginx(group, nginx)


@pytest.mark.parametrize("path", ("/hello", "/small", "/big"))
def test_with_wrk(group: Programs, worlds: Worlds, files: Files, path: str) -> None:
    nginx, port = start_nginx(group, worlds[0])
    assert run_wrk(group, worlds[1], f"http://127.0.0.1:{port}{path}") > 10
    check_carrier(nginx.pid, worlds, sent=10_000, received=1000)
    quit_nginx(group, nginx)


def test_reload(group: Programs, worlds: Worlds, files: Files) -> None:
    """HUP: new workers serve the new configuration, the old ones end."""
    nginx, port = start_nginx(group, worlds[0])
    run_wrk(group, worlds[1], f"http://127.0.0.1:{port}/hello")
    old = children_of(nginx.pid)
    write_configuration(group, port, hello="changed")
    nginx.process.send_signal(signal.SIGHUP)
    harness.wait_until(
        lambda: not old & children_of(nginx.pid) and len(children_of(nginx.pid)) == WORKERS, "new workers"
    )
    digest = hashlib.sha256(b"changed").hexdigest()
    client(group, worlds[1], "http-keepalive", "127.0.0.1", port, 20, "/hello", digest)
    run_wrk(group, worlds[1], f"http://127.0.0.1:{port}/hello")
    check_carrier(nginx.pid, worlds, sent=10_000, received=1000)
    quit_nginx(group, nginx)


def test_quits_under_load(group: Programs, worlds: Worlds, files: Files) -> None:
    """QUIT lets requests end: master and workers end with 0 although wrk goes on asking."""
    nginx, port = start_nginx(group, worlds[0])
    wrk = group.start(["wrk", "-t1", "-c10", "-d2s", f"http://127.0.0.1:{port}/small"], worlds[1])
    address = ("127.0.0.1", port)
    harness.wait_until(lambda: established(address) >= 10, "connections of wrk")
    quit_nginx(group, nginx)
    assert wrk.wait() == 0


def test_daemon(group: Programs, worlds: Worlds, files: Files) -> None:
    """What was started has ended: the master is its grandchild."""
    master, port = start_daemon(group, worlds[0])
    assert run_wrk(group, worlds[1], f"http://127.0.0.1:{port}/small") > 10
    check_carrier(master, worlds, sent=10_000, received=1000)
    os.kill(master, signal.SIGQUIT)
    harness.wait_until(lambda: master in group.strays() or not Path(f"/proc/{master}").exists(), "end of the master")
    group.assert_nothing_left()
    assert_no_complaint(group)


@pytest.mark.parametrize("keeps_preload", (True, False))
def test_replaces_its_binary_under_load(group: Programs, worlds: Worlds, files: Files, keeps_preload: bool) -> None:
    """USR2, WINCH and QUIT: the listening socket goes through exec to a new master; the clients notice nothing.

    The new master is under Byway only if the configuration keeps LD_PRELOAD in its environment.
    """
    old, port = start_daemon(group, worlds[0], keeps_preload=keeps_preload)
    url = f"http://127.0.0.1:{port}/small"
    connections = 10
    load = group.start(["wrk", "-t1", f"-c{connections}", "-d2s", url], worlds[1])
    harness.wait_until(lambda: established(("127.0.0.1", port)) >= connections, "connections of wrk")
    os.kill(old, signal.SIGUSR2)
    harness.wait_until(lambda: master_of(group, ".oldbin") == old and master_of(group), "a new master")
    new = master_of(group)
    harness.wait_until(lambda: len(children_of(new)) == WORKERS, "its workers")
    assert run_wrk(group, worlds[1], url) > 10, "old and new side by side"
    os.kill(old, signal.SIGWINCH)  # its workers end once their requests are answered; wrk connects again
    harness.wait_until(lambda: children_of(old) <= {new}, "end of the old workers")
    os.kill(old, signal.SIGQUIT)
    harness.wait_until(lambda: not master_of(group, ".oldbin"), "end of the old master")
    assert load.wait() == 0
    assert answers(load.output(), connections_closed_max=connections) > 10
    assert run_wrk(group, worlds[1], url) > 10
    check_carrier(new, worlds if keeps_preload else (KERNEL, worlds[1]), sent=10_000, received=1000)
    os.kill(new, signal.SIGQUIT)
    group.assert_nothing_left()
    assert_no_complaint(group)


def established(address: tuple[str, int]) -> int:
    wanted = f":{address[1]:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in lines if line.split()[1].endswith(wanted) and line.split()[3] == "01")


def test_kernel_program_has_no_arena(group: Programs) -> None:
    nginx, _ = start_nginx(group, KERNEL)
    if not harness.byway_missing():
        assert read_ring(nginx.pid) is None
    quit_nginx(group, nginx)
