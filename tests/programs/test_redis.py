"""redis-server with redis-cli, redis-benchmark and a plain client: values, pipelines, fork for saving, orderly end."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.harness import Program, Programs, World
from tests.programs.ring import check_carrier, client

MISSING = harness.needs("redis-server", "redis-cli", "redis-benchmark")
pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(90),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
]

Worlds = tuple[World, World]


def start_redis(group: Programs, world: World, *extra: str) -> tuple[Program, int]:
    port = harness.free_port()
    argv = [
        "redis-server",
        "--port",
        str(port),
        "--bind",
        *harness.local_addresses(),
        "--save",
        "",
        "--protected-mode",
        "no",
    ]
    program = group.start([*argv, "--dir", str(group.directory), *extra], world)
    program.wait_listening(port)
    program.wait_output("Ready to accept connections")
    return program, port


def redis_cli(group: Programs, world: World, host: str, port: int, *words: str) -> str:
    return group.run(["redis-cli", "-h", host, "-p", str(port), *words], world).strip()


def test_cli(group: Programs, worlds: Worlds, host: str) -> None:
    """Many commands on one connection of redis-cli, by its standard input."""
    server, port = start_redis(group, worlds[0])
    lines = [line for n in range(200) for line in (f"SET key{n} value-{n}", f"GET key{n}")]
    script = group.directory / "commands"
    script.write_text("\n".join(lines) + "\n")
    with script.open("rb") as commands:
        answer = group.run(["redis-cli", "-h", host, "-p", str(port)], worlds[1], stdin=commands.fileno())
    assert answer.split() == [word for n in range(200) for word in ("OK", f"value-{n}")]
    check_carrier(server.pid, worlds, sent=2000, received=5000)


def test_single_command(group: Programs, worlds: Worlds) -> None:
    _, port = start_redis(group, worlds[0])
    assert redis_cli(group, worlds[1], "127.0.0.1", port, "SET", "one", "two") == "OK"
    assert redis_cli(group, worlds[1], "127.0.0.1", port, "GET", "one") == "two"


def test_values(group: Programs, worlds: Worlds, host: str) -> None:
    server, port = start_redis(group, worlds[0])
    client(group, worlds[1], "redis-values", host, port, 300, 100)
    check_carrier(server.pid, worlds, sent=20_000, received=20_000)


def test_big_values(group: Programs, worlds: Worlds) -> None:
    server, port = start_redis(group, worlds[0])
    client(group, worlds[1], "redis-values", "127.0.0.1", port, 8, 1 << 20)
    check_carrier(server.pid, worlds, sent=1 << 16, received=1 << 16)


def test_pipelining(group: Programs, worlds: Worlds) -> None:
    server, port = start_redis(group, worlds[0])
    client(group, worlds[1], "redis-pipeline", "127.0.0.1", port, 2000, 1000)
    # A flood of 2 MB that outruns the server fills the ring of 64 KB with whole messages, then overflows to the kernel.
    check_carrier(server.pid, worlds, sent=1 << 16, received=1 << 15)


@pytest.mark.parametrize("pipelined", (1, 16))
def test_benchmark(group: Programs, worlds: Worlds, pipelined: int) -> None:
    server, port = start_redis(group, worlds[0])
    argv = ["redis-benchmark", "-p", str(port), "-t", "set,get", "-n", "20000", "-c", "20", "-P", str(pipelined), "-q"]
    output = group.run([*argv, "-r", "1000"], worlds[1], timeout_s=40.0)
    assert "SET:" in output and "GET:" in output and "rror" not in output, output
    check_carrier(server.pid, worlds, sent=100_000, received=100_000)


def wait_saved(group: Programs, port: int) -> None:
    def saved() -> bool:
        state = redis_cli(group, harness.KERNEL, "127.0.0.1", port, "INFO", "persistence")
        return "rdb_bgsave_in_progress:0" in state and "rdb_last_bgsave_status:ok" in state and "rdb_saves:1" in state

    harness.wait_until(saved, "end of BGSAVE")


def test_background_save(group: Programs, worlds: Worlds) -> None:
    """fork while a benchmark runs on 20 connections: they go on, and what the child saved is what was there."""
    server, port = start_redis(group, worlds[0])
    client(group, worlds[1], "redis-values", "127.0.0.1", port, 500, 1000)
    argv = [
        "redis-benchmark",
        "-p",
        str(port),
        "-t",
        "set,get",
        "-n",
        "60000",
        "-c",
        "20",
        "-r",
        "5000",
        "-d",
        "100",
        "-q",
    ]
    benchmark = group.start(argv, worlds[1])
    harness.wait_until(
        lambda: int(redis_cli(group, harness.KERNEL, "127.0.0.1", port, "DBSIZE")) > 600, "keys of the benchmark"
    )
    assert redis_cli(group, worlds[1], "127.0.0.1", port, "BGSAVE") == "Background saving started"
    wait_saved(group, port)
    assert benchmark.wait(40.0) == 0, benchmark.output()
    assert "rror" not in benchmark.output(), benchmark.output()
    check_carrier(server.pid, worlds, sent=100_000, received=100_000)
    server.stop()
    loaded = group.directory / "loaded"
    loaded.mkdir()
    shutil.copy(group.directory / "dump.rdb", loaded / "dump.rdb")
    _, port = start_redis(group, worlds[0], "--dir", str(loaded))
    client(group, worlds[1], "redis-check", "127.0.0.1", port, 500, 1000)
    assert int(redis_cli(group, worlds[1], "127.0.0.1", port, "DBSIZE")) > 600


def test_ends_by_sigterm_with_clients(group: Programs, worlds: Worlds, tmp_path: Path) -> None:
    """The benchmark's connections end; it says so as on the kernel; the server ends with 0."""
    server, port = start_redis(group, worlds[0])
    benchmark = group.start(
        ["redis-benchmark", "-p", str(port), "-t", "get", "-n", "100000000", "-c", "10", "-q"], worlds[1]
    )
    info = ("INFO", "clients")
    busy = "connected_clients:11"
    harness.wait_until(lambda: busy in redis_cli(group, harness.KERNEL, "127.0.0.1", port, *info), "10 clients")
    assert server.stop(signal.SIGTERM) == 0, server.output()
    assert "ready to exit, bye bye" in server.output()
    assert benchmark.wait() == 1
    assert "Server closed the connection" in benchmark.output() or "rror" in benchmark.output()
