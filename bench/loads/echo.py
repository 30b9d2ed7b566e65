"""The load of every echo server: a blocking Python client that sends 64 bytes and waits until they are back."""

from __future__ import annotations

import sys
from functools import partial

from bench.harness import ServerCommand, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import Sample, Settings, Variant

ROUND_TRIP_BYTES = 2 * 64


def load(port: int, seconds: float) -> list[str]:
    """The client."""
    return [sys.executable, "-m", "bench.clients.echo_client", str(port), str(seconds)]


def measure(server: ServerCommand, variant: Variant, settings: Settings) -> Sample:
    """One variant of one server."""
    return serve_and_load(variant, settings, server, load, partial(latency_sample, bytes_per_sample=ROUND_TRIP_BYTES))
