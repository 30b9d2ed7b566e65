"""memcached and a value of 100 bytes: a plain blocking Python client, and clients with 50 and 200 connections."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.harness import LoadCommand, compiled, compiler_missing, program_missing, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import Comparison, Figure, Sample, Settings, Variant, rate_ratio

GET_BYTES = 100  # a reply is a little more
CONNECTIONS_MAX = 4096
THREADS = 4  # of the server, as by default


def server(threads: int, _directory: Path, port: int) -> list[str]:
    """memcached on one address; it refuses to run as root unless told whom to be."""
    user = ["-u", "root"] if os.geteuid() == 0 else []
    room = ["-c", str(CONNECTIONS_MAX)]  # 200 threads use up most of the descriptors of its default
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", str(threads), *room, *user]


def measured(threads: int, load: LoadCommand, variant: Variant, settings: Settings) -> Sample:
    """One variant."""
    sample = partial(latency_sample, bytes_per_sample=GET_BYTES)
    return serve_and_load(variant, settings, partial(server, threads), load, sample)


def measure_one(variant: Variant, settings: Settings) -> Sample:
    """One connection, one call at a time."""

    def load(port: int, seconds: float) -> list[str]:
        return [sys.executable, "-m", "bench.clients.memcached_get", str(port), str(seconds)]

    return measured(THREADS, load, variant, settings)


def measure_many(clients: int, threads: int, variant: Variant, settings: Settings) -> Sample:
    """Many connections in one epoll set, a get under way on each."""
    program = compiled("memcached_clients", settings.build)

    def load(port: int, seconds: float) -> list[str]:
        return [program, str(port), str(clients), str(seconds)]

    return measured(threads, load, variant, settings)


def figure(
    clients: int, title: str, measure: Callable[[Variant, Settings], Sample], bound: float, needs_compiler: bool = True
) -> Figure:
    """One line of the table."""
    return Figure(
        name=f"memcached_{clients}",
        title=f"memcached get, {title}",
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, bound),),
        measure=measure,
        missing=lambda: program_missing("memcached") or (compiler_missing() if needs_compiler else None),
    )


FIGURES: Sequence[Figure] = (
    figure(1, "1 blocking Python client", measure_one, 7, needs_compiler=False),
    figure(50, "50 clients", partial(measure_many, 50, THREADS), 2.5),
    figure(200, "200 clients, a server with 200 threads", partial(measure_many, 200, 200), 1),
)
