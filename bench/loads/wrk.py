"""wrk: connections that are kept alive, for whole seconds."""

from __future__ import annotations

import math
import re
from functools import partial

from bench.harness import ServerCommand, serve_and_load
from bench.model import BenchError, Sample, Settings, Variant

CONNECTIONS = 50
REQUEST_BYTES = 40  # a request is a little more; so is the head of a reply
UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}


def arguments(path: str, connections: int, port: int, seconds: float) -> list[str]:
    """wrk takes whole seconds only."""
    duration = f"-d{max(1, math.ceil(seconds))}s"
    return ["wrk", "-t1", f"-c{connections}", duration, "--latency", f"http://127.0.0.1:{port}{path}"]


def microseconds(text: str) -> float:
    """From wrk's "1.23ms"."""
    match = re.fullmatch(r"([0-9.]+)(us|ms|s)", text)
    if not match:
        raise ValueError(f"not a time: {text}")
    return float(match[1]) * UNITS_US[match[2]]


def parse(output: str, reply_bytes: int) -> Sample:
    """From wrk's report. A single failed request fails the round."""
    if problem := re.search(r"(?:Socket errors|Non-2xx).*", output):
        raise BenchError(f"wrk reports: {problem[0]}")
    rate = re.search(r"Requests/sec:\s*([0-9.]+)", output)
    requests = re.search(r"(\d+) requests in", output)
    latencies = dict(re.findall(r"^\s+(50|99)%\s+(\S+)$", output, re.MULTILINE))
    if not rate or not requests:
        raise ValueError("no requests")
    return Sample(
        rate_per_s=float(rate[1]),
        p50_us=microseconds(latencies["50"]),
        p99_us=microseconds(latencies["99"]),
        payload_bytes=int(requests[1]) * (REQUEST_BYTES + reply_bytes),
    )


def measure(
    server: ServerCommand, path: str, reply_bytes: int, connections: int, variant: Variant, settings: Settings
) -> Sample:
    """One variant of a server."""
    load = partial(arguments, path, connections)
    return serve_and_load(variant, settings, server, load, partial(parse, reply_bytes=reply_bytes))
