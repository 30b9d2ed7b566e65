"""iperf3 and sockperf, as installed, with default options: they measure themselves."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.harness import program_missing, serve_and_load
from bench.model import BenchError, Comparison, Figure, Sample, Settings, Variant, p50_ratio, rate_ratio

SOCKPERF_MESSAGE_BYTES = 14  # its default
SOCKPERF_RATE_MAX = 500_000  # round trips a second: without a limit Byway's are more than its own table holds


def iperf3(_directory: Path, port: int) -> list[str]:
    return ["iperf3", "--server", "--bind", "127.0.0.1", "--port", str(port)]


def iperf3_load(port: int, seconds: float) -> list[str]:
    """iperf3 takes whole seconds only."""
    return ["iperf3", "--client", "127.0.0.1", "--port", str(port), "--time", str(max(1, math.ceil(seconds))), "--json"]


def parse_iperf3(output: str) -> Sample:
    """What was received."""
    total = json.loads(output)["end"]["sum_received"]
    return Sample(rate_per_s=total["bits_per_second"] / 1e9, payload_bytes=total["bytes"])


def sockperf(_directory: Path, port: int) -> list[str]:
    return ["sockperf", "server", "--tcp", "-i", "127.0.0.1", "-p", str(port)]


def sockperf_load(port: int, seconds: float) -> list[str]:
    duration = str(max(1, math.ceil(seconds)))
    limit = ["--time", duration, "--mps", str(SOCKPERF_RATE_MAX)]
    return ["sockperf", "ping-pong", "--tcp", "-i", "127.0.0.1", "-p", str(port), *limit]


def parse_sockperf(output: str) -> Sample:
    """It says half a round trip."""
    shares = dict(re.findall(r"percentile (\d+\.\d+) =\s*([0-9.]+)", output))
    count = re.search(r"Total (\d+) observations", output)
    if "50.000" not in shares or not count:
        raise BenchError("sockperf reported no latency")
    return Sample(
        p50_us=2 * float(shares["50.000"]),
        p99_us=2 * float(shares["99.000"]),
        payload_bytes=2 * int(count[1]) * SOCKPERF_MESSAGE_BYTES,
    )


def measure_iperf3(variant: Variant, settings: Settings) -> Sample:
    return serve_and_load(variant, settings, iperf3, iperf3_load, parse_iperf3)


def measure_sockperf(variant: Variant, settings: Settings) -> Sample:
    return serve_and_load(variant, settings, sockperf, sockperf_load, parse_sockperf)


FIGURES: Sequence[Figure] = (
    Figure(
        name="iperf3",
        title="iperf3, one connection",
        unit="Gbit/s",
        comparisons=(Comparison("Gbit/s", "kernel", rate_ratio, 1.5),),
        measure=measure_iperf3,
        missing=partial(program_missing, "iperf3"),
        ring_share_min=0.01,  # a full ring overflows to the kernel by design
    ),
    Figure(
        name="sockperf",
        title="sockperf ping-pong, round trip",
        unit="",
        comparisons=(Comparison("p50", "kernel", p50_ratio, 1, whole_interval=True),),
        measure=measure_sockperf,
        missing=partial(program_missing, "sockperf"),
    ),
)
