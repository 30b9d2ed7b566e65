"""memcached and a value of 100 bytes: a plain blocking Python client, and a client with 50 connections."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.harness import compiled, compiler_missing, program_missing, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import Comparison, Figure, Sample, Settings, Variant, rate_ratio

GET_BYTES = 100  # a reply is a little more
CONNECTIONS = 50


def server(_directory: Path, port: int) -> list[str]:
    """memcached as installed, on one address; it refuses to run as root unless told whom to be."""
    user = ["-u", "root"] if os.geteuid() == 0 else []
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", *user]


def measure_one(variant: Variant, settings: Settings) -> Sample:
    """One connection, one call at a time."""

    def load(port: int, seconds: float) -> list[str]:
        return [sys.executable, "-m", "bench.clients.memcached_get", str(port), str(seconds)]

    return serve_and_load(variant, settings, server, load, partial(latency_sample, bytes_per_sample=GET_BYTES))


def measure_many(variant: Variant, settings: Settings) -> Sample:
    """Many connections in one epoll set, a get under way on each."""
    program = compiled("memcached_clients", settings.build)

    def load(port: int, seconds: float) -> list[str]:
        return [program, str(port), str(CONNECTIONS), str(seconds)]

    return serve_and_load(variant, settings, server, load, partial(latency_sample, bytes_per_sample=GET_BYTES))


def figure(
    clients: int, title: str, bound: float, measure: Callable[[Variant, Settings], Sample], missing: str | None
) -> Figure:
    """One line of the table."""
    return Figure(
        name=f"memcached_{clients}",
        title=title,
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, bound),),
        measure=measure,
        missing=lambda: program_missing("memcached") or missing,
    )


FIGURES: Sequence[Figure] = (
    figure(1, "memcached get, 1 blocking Python client", 7, measure_one, None),
    figure(CONNECTIONS, f"memcached get, {CONNECTIONS} clients", 2.5, measure_many, compiler_missing()),
)
