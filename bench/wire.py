"""Measurements over an adapter: two hosts that are network namespaces, joined by a veth pair (tests/wire/network.py).
Needs root."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

from bench.harness import LOAD_TIMEOUT_S, compiled, pinned
from bench.model import BenchError, Settings
from byway.engine.binding import CELL_BYTES, PROTOCOL_TCP
from byway.engine.stack import Stack
from byway.kernel import steer, xdp
from byway.launch import environment as launch
from tests.wire.network import Host, two_hosts

CELLS = 4096
CLIENT_PORT, SERVER_PORT = 40000, 80  # of bench/native/engine_end.h


@dataclass
class End:
    """A host with a stack, whose cells an XDP socket of its adapter has."""

    host: Host
    memory: int
    stack: Stack
    socket: xdp.Socket
    steering: steer.Steering

    def words(self, peer: Host) -> list[str]:
        """What the programs of bench/native are told of it."""
        return [str(self.memory), str(self.socket.fd), self.host.adapter.mac.hex(), peer.adapter.mac.hex()]


@contextmanager
def end_on(host: Host, local_port: int, peer: Host, remote_port: int) -> Iterator[End]:
    """One end of the only connection there is."""
    with ExitStack() as undo, host.entered():
        memory = os.memfd_create("byway.bench")
        undo.callback(os.close, memory)
        stack = Stack(time.monotonic_ns(), fd=memory, secret=(local_port, 7), cells=CELLS, endpoints=64)
        at, size = stack.cells()
        steering = undo.enter_context(steer.Steering(host.adapter.index))
        socket = xdp.Socket(xdp.Umem(at, size, CELL_BYTES), host.adapter.index, 0)
        undo.callback(socket.close)
        steering.give(0, 0, socket.fd)
        steering.add(steer.Filter(PROTOCOL_TCP, (host.v4, local_port), (peer.v4, remote_port)), 0)
        yield End(host, memory, stack, socket, steering)


def start(end: End, peer: Host, program: str, role: str, cpu: int, seconds: float) -> subprocess.Popen[str]:
    """A program of bench/native at one end."""
    with end.host.entered():
        return subprocess.Popen(
            [program, role, str(seconds), str(cpu), *end.words(peer)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(end.memory, end.socket.fd),
        )


def kernel_round_trips(mode: str, settings: Settings) -> str:
    """What the client of tcp_pingpong prints, between the same hosts, by the kernel. `mode`: blocking or spin."""
    program = compiled("tcp_pingpong", settings.build)
    with two_hosts() as (one, other):
        environment = dict(launch.on_kernel(os.environ), BENCH_ADDRESS=other.v4)
        with other.entered(), pinned(settings.server_cpu):
            server = subprocess.Popen([program, "server", str(SERVER_PORT), mode], env=environment)
        try:
            wait_until_listening(other)
            with one.entered(), pinned(settings.load_cpu):
                command = [program, "client", str(SERVER_PORT), mode, str(settings.seconds)]
                limit = LOAD_TIMEOUT_S + 10 * settings.seconds
                done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
        finally:
            server.kill()
            server.wait()
    if done.returncode:
        raise BenchError(f"tcp_pingpong: {done.stderr.strip()}")
    return done.stdout


def wait_until_listening(host: Host) -> None:
    end = time.monotonic() + LOAD_TIMEOUT_S
    while f":{SERVER_PORT} " not in host.run("ss", "-tlnH").stdout:
        if time.monotonic() > end:
            raise BenchError("the server does not listen")
        time.sleep(0.02)


def line_of(stream: IO[str] | None) -> str:
    return stream.readline() if stream else ""


def round_trips(name: str, settings: Settings) -> str:
    """What the client of bench/native/NAME.c prints; both ends on a processor of their own."""
    program = compiled(name, settings.build)
    with (
        two_hosts() as (one, other),
        end_on(one, CLIENT_PORT, other, SERVER_PORT) as client,
        end_on(other, SERVER_PORT, one, CLIENT_PORT) as server,
        start(server, one, program, "server", settings.server_cpu, settings.seconds) as echoing,
    ):
        try:
            if line_of(echoing.stdout) != "ready\n":
                raise BenchError(f"{name}: the server did not start")
            with start(client, other, program, "client", settings.load_cpu, settings.seconds) as calling:
                said, wrong = calling.communicate(timeout=LOAD_TIMEOUT_S + 10 * settings.seconds)
        finally:
            echoing.kill()
    if calling.returncode:
        raise BenchError(f"{name}: {wrong.strip()}")
    json.loads(said)
    return said
