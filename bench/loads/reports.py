"""Samples from what the loads of bench/native and bench/clients print: one line of JSON."""

from __future__ import annotations

import json

from bench.model import Sample


def latency_sample(output: str, bytes_per_sample: float) -> Sample:
    """From `{"count": …, "seconds": …, "p50_ns": …, "p99_ns": …}`; each count moved so many bytes, to and fro."""
    report = json.loads(output)
    return Sample(
        rate_per_s=report["count"] / report["seconds"],
        p50_us=report["p50_ns"] / 1e3,
        p99_us=report["p99_ns"] / 1e3,
        payload_bytes=report["count"] * bytes_per_sample,
    )


def stream_sample(output: str, per_send: float) -> Sample:
    """From `{"sends": …, "send_bytes": …, "seconds": …}`; a send counts as `per_send` units of the rate."""
    report = json.loads(output)
    return Sample(
        rate_per_s=report["sends"] * per_send / report["seconds"],
        payload_bytes=report["sends"] * report["send_bytes"],
    )
