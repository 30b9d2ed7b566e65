"""A new connection for each request. Byway leaves such connections to the kernel: the figure shows what it costs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.harness import compiled, compiler_missing, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import Comparison, Figure, Sample, Settings, Variant, rate_ratio


def measure(variant: Variant, settings: Settings) -> Sample:
    """One variant."""
    program = compiled("tcp_connections", settings.build)

    def server(_directory: Path, port: int) -> list[str]:
        return [program, "server", str(port)]

    def load(port: int, seconds: float) -> list[str]:
        return [program, "client", str(port), str(seconds)]

    return serve_and_load(variant, settings, server, load, partial(latency_sample, bytes_per_sample=0))


FIGURE = Figure(
    name="connections",
    title="a connection for each request",
    unit="connections/s",
    comparisons=(Comparison("connections/s", "kernel", rate_ratio, 0.95, whole_interval=True),),
    measure=measure,
    missing=compiler_missing,
    rounds_factor=2,
    ring_share_min=0,  # they stay in the kernel by design
)
