"""Two servers and their two loads at once on the machine's processors, nobody pinned: who spins takes from the others.

redis with redis-benchmark, and nginx with wrk, 50 connections each. The rate is the sum of both.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import replace
from functools import partial

from bench.figures import nginx, redis
from bench.harness import ROOT, environment, program_missing, run_load, serving, with_ring_bytes
from bench.loads import wrk
from bench.model import BenchError, Comparison, Figure, Sample, Settings, Variant, rate_ratio
from byway.bench.processes import end_group

CLIENTS = 50
REQUESTS_ENDLESS = 2_000_000_000
BEFORE_S = 0.3  # until the endless load is under way


def overall(output: str) -> float:
    """The last progress of `redis-benchmark -q`: its rate since it started."""
    found = re.findall(r"overall: ([0-9.]+)", output)
    if not found:
        raise BenchError("redis-benchmark reported no progress")
    return float(found[-1])


def measure(variant: Variant, settings: Settings) -> Sample:
    """wrk decides how long it lasts; redis-benchmark begins before it and is ended after it."""
    free = replace(settings, server_cpu=None, load_cpu=None)
    seconds = settings.seconds
    with serving(variant, free, redis.server) as redis_server, serving(variant, free, nginx.server) as nginx_server:
        options = {"-p": redis_server.port, "-c": CLIENTS, "-t": "get", "-n": REQUESTS_ENDLESS}
        command = ["redis-benchmark", "-q", *(str(word) for pair in options.items() for word in pair)]
        beside = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(variant.of_load),
            text=True,
            start_new_session=True,
        )
        try:
            time.sleep(BEFORE_S)
            words = wrk.arguments("/return", CLIENTS, nginx_server.port, seconds)
            web = wrk.parse(run_load(variant, None, words, seconds), 0)
        finally:
            beside.terminate()
            output, _ = beside.communicate()
            end_group(beside)
        sample = replace(web, rate_per_s=(web.rate_per_s or 0) + overall(output), p50_us=None, p99_us=None)
        return with_ring_bytes(sample, variant, nginx_server) if variant.byway else sample


FIGURE = Figure(
    name="together",
    title="redis and nginx with their loads, all at once, not pinned",
    unit="requests/s",
    comparisons=(Comparison("requests/s", "kernel", rate_ratio, 1.2),),
    measure=measure,
    missing=partial(program_missing, "redis-server", "redis-benchmark", "nginx", "wrk"),
)
