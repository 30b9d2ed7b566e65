"""nginx and wrk, as tests start, watch and end them."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

from tests.programs import harness
from tests.programs.harness import Program, Programs, World

WORKERS = 2

CONFIGURATION = """
daemon {daemon}; master_process on; worker_processes {workers}; pid {directory}/nginx.pid; user root; {environment}
error_log {directory}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000; root {directory}/files;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
  uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  server {{ {listen} location = /hello {{ return 200 "{hello}"; }} }}
}}
"""


def write_configuration(
    group: Programs, port: int, *, hello: str = "hello", daemon: bool = False, keeps_preload: bool = True
) -> None:
    """nginx empties its environment of all that the configuration does not name, also before it replaces its binary."""
    names = [f"[{host}]" if ":" in host else host for host in harness.local_addresses()]
    (group.directory / "nginx.conf").write_text(
        CONFIGURATION.format(
            directory=group.directory,
            listen=" ".join(f"listen {name}:{port};" for name in names),
            hello=hello,
            daemon="on" if daemon else "off",
            workers=WORKERS,
            environment="env LD_PRELOAD;" if keeps_preload else "",
        )
    )


def launch(group: Programs, world: World) -> Program:
    argv = [harness.program_path("nginx"), "-p", group.directory, "-e", group.directory / "error.log"]
    return group.start([*argv, "-c", group.directory / "nginx.conf"], world)


def start_nginx(group: Programs, world: World) -> tuple[Program, int]:
    """nginx in the foreground, and its port."""
    port = harness.free_port()
    write_configuration(group, port)
    program = launch(group, world)
    program.wait_listening(port)
    harness.wait_until(lambda: len(children_of(program.pid)) == WORKERS, "workers")
    return program, port


def start_daemon(group: Programs, world: World, *, keeps_preload: bool = True) -> tuple[int, int]:
    """nginx as a daemon: its master's pid, and its port."""
    port = harness.free_port()
    write_configuration(group, port, daemon=True, keeps_preload=keeps_preload)
    assert launch(group, world).wait() == 0
    master = harness.wait_until(lambda: master_of(group), "a pid file")
    harness.wait_until(lambda: len(children_of(master)) == WORKERS, "workers")
    return master, port


def master_of(group: Programs, suffix: str = "") -> int:
    """What the pid file says; 0 while there is none."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((group.directory / f"nginx.pid{suffix}").read_text())
    return 0


def children_of(pid: int) -> set[int]:
    """A master's workers, and the new master while its binary is being replaced."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def run_wrk(group: Programs, world: World, url: str, seconds: int = 1) -> int:
    """The number of answers, none of them wrong."""
    output = group.run(["wrk", "-t2", "-c20", f"-d{seconds}s", url], world, timeout_s=seconds + 15)
    return answers(output)


def answers(wrk_output: str, connections_closed_max: int = 0) -> int:
    """`connections_closed_max`: how many connections the server may have closed under wrk's hands."""
    assert "Non-2xx" not in wrk_output, wrk_output
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", wrk_output)
    if errors:
        connect, read, write, timeout = map(int, errors.groups())
        assert connect == timeout == 0 and read + write <= connections_closed_max, wrk_output
    found = re.search(r"(\d+) requests in", wrk_output)
    assert found, wrk_output
    return int(found[1])


def quit_nginx(group: Programs, nginx: Program) -> None:
    assert nginx.stop(signal.SIGQUIT) == 0, nginx.output()
    assert_no_complaint(group)


def assert_no_complaint(group: Programs) -> None:
    log = (group.directory / "error.log").read_text()
    assert not re.search(r"\[(alert|crit|emerg)\]", log), log
