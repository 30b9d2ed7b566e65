"""An echo server of Python's standard library and a blocking client: for the demo where redis is not installed."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from bench.harness import CLIENTS, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import Comparison, Figure, Sample, Settings, Variant, rate_ratio

ROUND_TRIP_BYTES = 2 * 64


def server(_directory: Path, port: int) -> list[str]:
    """socketserver.TCPServer."""
    return [sys.executable, "-I", str(CLIENTS / "echo_server.py"), str(port)]


def load(port: int, seconds: float) -> list[str]:
    """A client that sends and waits."""
    return [sys.executable, "-m", "bench.clients.echo_client", str(port), str(seconds)]


def measure(variant: Variant, settings: Settings) -> Sample:
    """One variant."""
    return serve_and_load(variant, settings, server, load, partial(latency_sample, bytes_per_sample=ROUND_TRIP_BYTES))


FIGURE = Figure(
    name="echo",
    title="Python socketserver echo, 1 client",
    unit="requests/s",
    comparisons=(Comparison("requests/s", "kernel", rate_ratio),),
    measure=measure,
    missing=lambda: None,
)
