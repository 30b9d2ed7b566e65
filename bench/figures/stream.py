"""Bulk bytes in one direction of one connection: sends of 128 KiB, as iperf3 makes them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.harness import compiled, compiler_missing, serve_and_load
from bench.loads.reports import stream_sample
from bench.model import Comparison, Figure, Sample, Settings, Variant, rate_ratio

SEND_BYTES = 128 << 10
GIGABITS_PER_SEND = SEND_BYTES * 8 / 1e9


def measure_sends(send_bytes: int, delay: str, per_send: float, variant: Variant, settings: Settings) -> Sample:
    """Sends of a size, for a time; `delay` is "default" or "nodelay"."""
    program = compiled("tcp_stream", settings.build)

    def server(_directory: Path, port: int) -> list[str]:
        return [program, "server", str(port)]

    def load(port: int, seconds: float) -> list[str]:
        return [program, "client", str(port), str(send_bytes), delay, str(seconds)]

    return serve_and_load(variant, settings, server, load, partial(stream_sample, per_send=per_send))


FIGURE = Figure(
    name="stream",
    title="bulk stream, sends of 128 KiB",
    unit="Gbit/s",
    comparisons=(Comparison("Gbit/s", "kernel", rate_ratio, 1.5),),
    measure=partial(measure_sends, SEND_BYTES, "default", GIGABITS_PER_SEND),
    missing=compiler_missing,
    ring_share_min=0.01,  # a full ring overflows to the kernel by design
)
