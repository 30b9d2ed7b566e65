"""64 bytes to a server and back over TCP, one at a time, beside bare shared memory.

Short rounds, and many: on a virtual machine two processors are sometimes one core's two threads and sometimes two
cores, and the bare limit moves between 0.1 and 0.6 µs from one second to the next. A ratio holds within a round.
"""

from __future__ import annotations

from pathlib import Path

from bench.harness import bare_pingpong, compiled, compiler_missing, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import BARE, BYWAY, BenchError, Comparison, Figure, RoundSamples, Sample, Settings, Variant, need

PROGRAM = "tcp_pingpong"
ROUND_TRIP_BYTES = 2 * 64

BLOCKING = Variant("kernel_blocking", "kernel, blocking")
SPINNING = Variant("kernel_spinning", "kernel, spinning")
LATENCY = Variant(
    BYWAY.name,
    "Byway, latency profile",
    byway=True,
    profile="latency",
)


def measure(variant: Variant, settings: Settings) -> Sample:
    """One variant; the programs are the same for kernel and Byway."""
    if settings.server_cpu == settings.load_cpu:
        raise BenchError("both ends spin, which needs two processors")
    if variant is BARE:
        return latency_sample(bare_pingpong(settings, settings.seconds), ROUND_TRIP_BYTES)
    return round_trips(variant, settings)


def round_trips(variant: Variant, settings: Settings) -> Sample:
    """Over sockets, by the kernel or by Byway."""
    program = compiled(PROGRAM, settings.build)
    mode = "spin" if variant is SPINNING else "blocking"

    def server(_directory: Path, port: int) -> list[str]:
        return [program, "server", str(port), mode]

    def load(port: int, seconds: float) -> list[str]:
        return [program, "client", str(port), mode, str(seconds)]

    def parse(output: str) -> Sample:
        return latency_sample(output, ROUND_TRIP_BYTES)

    return serve_and_load(variant, settings, server, load, parse)


def times_bare(samples: RoundSamples) -> float:
    """How many times the limit Byway takes."""
    return need(samples[LATENCY.name].p50_us) / need(samples[BARE.name].p50_us)


def times_faster_than_blocking(samples: RoundSamples) -> float:
    """How many times as long the kernel takes when both ends sleep."""
    return need(samples[BLOCKING.name].p50_us) / need(samples[LATENCY.name].p50_us)


def times_faster_than_spinning(samples: RoundSamples) -> float:
    """How many times as long the kernel takes when both ends spin."""
    return need(samples[SPINNING.name].p50_us) / need(samples[LATENCY.name].p50_us)


def tail_times_bare(samples: RoundSamples) -> float:
    """Byway's p99/p50 over that of the limit."""
    return samples[LATENCY.name].tail / samples[BARE.name].tail


FIGURE = Figure(
    name="round_trip",
    title="64-byte TCP round trip",
    unit="",
    comparisons=(
        Comparison("p50, times the bare limit", BARE.name, times_bare, 1.8, at_least=False),
        Comparison("p50, kernel blocking", BLOCKING.name, times_faster_than_blocking, 15),
        Comparison("p50, kernel spinning", SPINNING.name, times_faster_than_spinning, 6),
        Comparison("p99/p50, times that of the bare limit", BARE.name, tail_times_bare, 1.5, at_least=False),
    ),
    measure=measure,
    missing=compiler_missing,
    variants=(BARE, LATENCY, SPINNING, BLOCKING),
    rounds_factor=5,
    seconds_factor=0.15,
    options="latency profile, both ends",
)
