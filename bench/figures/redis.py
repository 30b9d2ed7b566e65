"""redis GET under redis-benchmark: one client, 50 clients, 50 clients with 16 requests under way each."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.harness import program_missing, run_load, serving, with_ring_bytes
from bench.model import BenchError, Comparison, Figure, Sample, Settings, Variant, rate_ratio

CALIBRATION_REQUESTS = 20_000
GET_BYTES = 30  # a request and its reply are a little more


def server(directory: Path, port: int) -> list[str]:
    """redis without persistence: a background save in the middle would be measured too."""
    return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]


def load(port: int, clients: int, pipeline: int, tests: str, requests: int) -> list[str]:
    """redis-benchmark with its default value of 3 bytes."""
    options = {"-p": port, "-c": clients, "-P": pipeline, "-t": tests, "-n": requests}
    return ["redis-benchmark", "--csv", "--precision", "3", *(str(word) for pair in options.items() for word in pair)]


def parse(output: str, requests: int = 0) -> Sample:
    """The GET line of `redis-benchmark --csv`."""
    rows = [row for row in csv.DictReader(io.StringIO(output)) if row["test"].startswith("GET")]
    if not rows:
        raise BenchError("redis-benchmark did not report GET")
    return Sample(
        rate_per_s=float(rows[0]["rps"]),
        p50_us=float(rows[0]["p50_latency_ms"]) * 1e3,
        p99_us=float(rows[0]["p99_latency_ms"]) * 1e3,
        payload_bytes=requests * GET_BYTES,
    )


def measure(clients: int, pipeline: int, variant: Variant, settings: Settings) -> Sample:
    """Sets the key, finds out how many requests take the wanted time, then measures that many."""
    cpu, seconds = settings.load_cpu, settings.seconds
    with serving(variant, settings, server) as running:
        first = load(running.port, clients, pipeline, "set,get", CALIBRATION_REQUESTS)
        rate = parse(run_load(variant, cpu, first, seconds)).rate_per_s or 0
        requests = max(CALIBRATION_REQUESTS // 4, int(rate * seconds))
        second = load(running.port, clients, pipeline, "get", requests)
        sample = parse(run_load(variant, cpu, second, seconds), requests)
        return with_ring_bytes(sample, variant, running) if variant.byway else sample


def figure(name: str, title: str, clients: int, pipeline: int, bound: float) -> Figure:
    """One line of the table."""
    return Figure(
        name=name,
        title=title,
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, bound),),
        measure=partial(measure, clients, pipeline),
        missing=partial(program_missing, "redis-server", "redis-benchmark"),
    )


FIGURES: Sequence[Figure] = (
    figure("redis_1", "redis GET, 1 client", 1, 1, 6),
    figure("redis_50", "redis GET, 50 clients", 50, 1, 2.4),
    figure("redis_50_p16", "redis GET, 50 clients, -P 16", 50, 16, 1.4),
)
