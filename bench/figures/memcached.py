"""memcached and a plain blocking Python client that gets a value of 100 bytes, one call at a time."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from bench.harness import program_missing, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import Comparison, Figure, Sample, Settings, Variant, rate_ratio

GET_BYTES = 100  # a reply is a little more


def server(_directory: Path, port: int) -> list[str]:
    """memcached as installed, on one address; it refuses to run as root unless told whom to be."""
    user = ["-u", "root"] if os.geteuid() == 0 else []
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", *user]


def load(port: int, seconds: float) -> list[str]:
    """The client."""
    return [sys.executable, "-m", "bench.clients.memcached_get", str(port), str(seconds)]


def measure(variant: Variant, settings: Settings) -> Sample:
    """One variant."""
    return serve_and_load(variant, settings, server, load, partial(latency_sample, bytes_per_sample=GET_BYTES))


FIGURE = Figure(
    name="memcached_1",
    title="memcached get, 1 blocking Python client",
    unit="requests/s",
    comparisons=(Comparison("requests/s", "kernel", rate_ratio, 6),),
    measure=measure,
    missing=partial(program_missing, "memcached"),
)
