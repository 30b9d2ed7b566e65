"""nginx, one worker, under wrk: 50 connections that are kept alive. `return 200`, and a file of 1 KB."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.harness import program_missing, serve_and_load
from bench.model import BenchError, Comparison, Figure, Sample, Settings, Variant, rate_ratio

CONNECTIONS = 50
FILE_BYTES = 1024
REQUEST_BYTES = 40  # a request is a little more; so is the head of a reply
UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}

CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;  # keep-alive is what is measured: nobody is sent away after 1,000 requests
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location = /return {{ return 200 "hello\\n"; }}
        location / {{ root {directory}/files; }}
    }}
}}
"""


def server(directory: Path, port: int) -> list[str]:
    """nginx in one process, with a configuration and a file of its own."""
    (directory / "files").mkdir()
    (directory / "files" / "kilobyte").write_bytes(b"x" * FILE_BYTES)
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory, port=port))
    return ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(configuration)]


def load(path: str, port: int, seconds: float) -> list[str]:
    """wrk takes whole seconds only."""
    duration = f"-d{max(1, math.ceil(seconds))}s"
    return ["wrk", "-t1", f"-c{CONNECTIONS}", duration, "--latency", f"http://127.0.0.1:{port}{path}"]


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


def measure(path: str, reply_bytes: int, variant: Variant, settings: Settings) -> Sample:
    """One variant."""
    return serve_and_load(variant, settings, server, partial(load, path), partial(parse, reply_bytes=reply_bytes))


def figure(name: str, title: str, path: str, reply_bytes: int, bound: float) -> Figure:
    """One line of the table."""
    return Figure(
        name=name,
        title=title,
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, bound),),
        measure=partial(measure, path, reply_bytes),
        missing=partial(program_missing, "nginx", "wrk"),
    )


FIGURES: Sequence[Figure] = (
    figure("nginx_return", "nginx return 200, 50 connections", "/return", 0, 3),
    figure("nginx_file", "nginx 1 KB file, 50 connections", "/kilobyte", FILE_BYTES, 2),
)
