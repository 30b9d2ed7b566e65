"""Round trips on one connection while 10,000 others are idle in the same epoll sets, all of them attached."""

from __future__ import annotations

import resource
from functools import partial
from pathlib import Path

from bench.harness import compiled, compiler_missing, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import BYWAY, KERNEL, Comparison, Figure, RoundSamples, Sample, Settings, Variant, need

ROUND_TRIP_BYTES = 2 * 64
CONNECTIONS = 10_000
DESCRIPTORS_BESIDE = 1000  # of Byway and of the program itself

ONE = Variant("byway_one", "Byway, one connection", byway=True)
MANY = Variant(BYWAY.name, f"Byway, {CONNECTIONS:,} connections", byway=True)
KERNEL_MANY = Variant(KERNEL.name, f"kernel, {CONNECTIONS:,} connections")


def measure(variant: Variant, settings: Settings) -> Sample:
    """One variant."""
    program = compiled("tcp_idle", settings.build)
    connections = 1 if variant is ONE else CONNECTIONS

    def server(_directory: Path, port: int) -> list[str]:
        return [program, "server", str(port)]

    def load(port: int, seconds: float) -> list[str]:
        return [program, "client", str(port), str(connections), str(seconds)]

    return serve_and_load(variant, settings, server, load, partial(latency_sample, bytes_per_sample=ROUND_TRIP_BYTES))


def missing() -> str | None:
    """Why it cannot be measured here, if so."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 < most < CONNECTIONS + DESCRIPTORS_BESIDE:
        return f"a process may have {most} descriptors only"
    return compiler_missing()


def times_one(samples: RoundSamples) -> float:
    """How many times as long as with one connection."""
    return need(samples[MANY.name].p50_us) / need(samples[ONE.name].p50_us)


FIGURE = Figure(
    name="idle",
    title=f"64-byte round trip by epoll, {CONNECTIONS:,} idle connections beside it",
    unit="",
    comparisons=(Comparison("p50, times that without them", ONE.name, times_one, 1.1, at_least=False),),
    measure=measure,
    missing=missing,
    variants=(ONE, MANY, KERNEL_MANY),
)
