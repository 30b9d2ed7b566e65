"""Where Byway has nothing to give, it must cost nothing: one end without Byway, ends that sleep between messages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.harness import compiled, compiler_missing, serve_and_load
from bench.loads.reports import latency_sample
from bench.model import BYWAY, KERNEL, Comparison, Figure, Sample, Settings, Variant, p50_ratio, rate_ratio

ROUND_TRIP_BYTES = 2 * 64
REST_US = 2000  # longer than any spinning of the default options

SERVER_ONLY = Variant(BYWAY.name, "Byway, server only", byway=True, load_byway=False)
LOAD_ONLY = Variant(BYWAY.name, "Byway, client only", load_byway=True)


def measure(rest_us: int, variant: Variant, settings: Settings) -> Sample:
    """Blocking round trips of 64 bytes."""
    program = compiled("tcp_pingpong", settings.build)

    def server(_directory: Path, port: int) -> list[str]:
        return [program, "server", str(port), "blocking"]

    def load(port: int, seconds: float) -> list[str]:
        rest = [str(rest_us)] if rest_us else []
        return [program, "client", str(port), "blocking", str(seconds), *rest]

    return serve_and_load(variant, settings, server, load, partial(latency_sample, bytes_per_sample=ROUND_TRIP_BYTES))


def one_end(name: str, title: str, variant: Variant) -> Figure:
    """The connection stays in the kernel."""
    return Figure(
        name=name,
        title=title,
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, 0.97, whole_interval=True),),
        measure=partial(measure, 0),
        missing=compiler_missing,
        variants=(KERNEL, variant),
        ring_share_min=0,
        rounds_factor=12,  # the interval's half is to be 2 % at most
        seconds_factor=0.25,
    )


FIGURES: Sequence[Figure] = (
    one_end("server_only", "64-byte round trip, only the server under Byway", SERVER_ONLY),
    one_end("client_only", "64-byte round trip, only the client under Byway", LOAD_ONLY),
    Figure(
        name="asleep",
        title=f"64-byte round trip, both ends asleep before ({REST_US / 1000:g} ms)",
        unit="",
        comparisons=(Comparison("p50", "kernel", p50_ratio, 1),),
        measure=partial(measure, REST_US),
        missing=compiler_missing,
        rounds_factor=2,
    ),
)
