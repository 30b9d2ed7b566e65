"""64 bytes by TCP between two stacks of the engine, in two processes joined by `link`, beside bare shared memory and
the kernel's TCP: what the engine costs by itself, without an adapter.
"""

from __future__ import annotations

from bench.figures.round_trip import ROUND_TRIP_BYTES, SPINNING, round_trips
from bench.harness import bare_pingpong, compiled, compiler_missing, run_load
from bench.loads.reports import latency_sample
from bench.model import BARE, BenchError, Comparison, Figure, RoundSamples, Sample, Settings, Variant, need

LINK = Variant("link", "Byway's engine, two stacks joined by link")


def measure(variant: Variant, settings: Settings) -> Sample:
    """One variant; all of them spin."""
    if settings.server_cpu == settings.load_cpu:
        raise BenchError("both ends spin, which needs two processors")
    if variant is BARE:
        return latency_sample(bare_pingpong(settings, settings.seconds), ROUND_TRIP_BYTES)
    if variant is LINK:
        program = compiled("link_pingpong", settings.build)
        arguments = [program, str(settings.seconds), str(settings.server_cpu), str(settings.load_cpu)]
        return latency_sample(run_load(LINK, settings.load_cpu, arguments, settings.seconds), ROUND_TRIP_BYTES)
    return round_trips(variant, settings)


def times_bare(samples: RoundSamples) -> float:
    """How many times the limit the engine takes."""
    return need(samples[LINK.name].p50_us) / need(samples[BARE.name].p50_us)


def times_faster_than_spinning(samples: RoundSamples) -> float:
    """How many times as long the kernel takes when both ends spin."""
    return need(samples[SPINNING.name].p50_us) / need(samples[LINK.name].p50_us)


FIGURE = Figure(
    name="engine",
    title="64-byte TCP round trip of the engine alone",
    unit="",
    comparisons=(
        Comparison("p50, times the bare limit", BARE.name, times_bare, 2.5, at_least=False, byway=LINK.name),
        Comparison("p50, kernel spinning", SPINNING.name, times_faster_than_spinning, byway=LINK.name),
    ),
    measure=measure,
    missing=compiler_missing,
    variants=(BARE, LINK, SPINNING),
    rounds_factor=5,
    seconds_factor=0.15,
    options="two processes, each spins on a processor of its own; no adapter",
)
