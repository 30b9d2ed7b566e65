"""Over an adapter: a veth pair between two hosts that are network namespaces. Needs root."""

from __future__ import annotations

from bench.figures.round_trip import BLOCKING, ROUND_TRIP_BYTES, SPINNING
from bench.loads.reports import latency_sample
from bench.model import BenchError, Comparison, Figure, RoundSamples, Sample, Settings, Variant, need
from bench.wire import kernel_round_trips, round_trips
from tests.wire.network import missing

BARE = Variant("bare_xdp", "bare AF_XDP")
ENGINE = Variant("engine", "Byway's engine, called directly")


def measure(variant: Variant, settings: Settings) -> Sample:
    """One variant."""
    if settings.server_cpu == settings.load_cpu:
        raise BenchError("both ends spin, which needs two processors")
    if variant is BARE:
        return latency_sample(round_trips("bare_xdp", settings), ROUND_TRIP_BYTES)
    if variant is ENGINE:
        return latency_sample(round_trips("xdp_pingpong", settings), ROUND_TRIP_BYTES)
    mode = "spin" if variant is SPINNING else "blocking"
    return latency_sample(kernel_round_trips(mode, settings), ROUND_TRIP_BYTES)


def times_bare(samples: RoundSamples) -> float:
    """How many times the limit the engine takes."""
    return need(samples[ENGINE.name].p50_us) / need(samples[BARE.name].p50_us)


def times_faster_than_blocking(samples: RoundSamples) -> float:
    """How many times as long the kernel takes when both ends sleep."""
    return need(samples[BLOCKING.name].p50_us) / need(samples[ENGINE.name].p50_us)


def times_faster_than_spinning(samples: RoundSamples) -> float:
    """How many times as long the kernel takes when both ends spin."""
    return need(samples[SPINNING.name].p50_us) / need(samples[ENGINE.name].p50_us)


ROUND_TRIP = Figure(
    name="wire",
    title="64-byte TCP round trip over veth",
    unit="",
    comparisons=(
        Comparison("p50, times bare AF_XDP", BARE.name, times_bare, 1.25, at_least=False, byway=ENGINE.name),
        Comparison("p50, kernel blocking", BLOCKING.name, times_faster_than_blocking, 3, byway=ENGINE.name),
        Comparison("p50, kernel spinning", SPINNING.name, times_faster_than_spinning, 1.6, byway=ENGINE.name),
    ),
    measure=measure,
    missing=missing,
    variants=(BARE, ENGINE, SPINNING, BLOCKING),
    seconds_factor=0.4,
    options="the engine's calls at both ends, which spin; AF_XDP in copy mode",
)

FIGURES = (ROUND_TRIP,)
