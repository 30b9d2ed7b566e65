"""What the clients share: call something for a time, and print how long the calls took, as one line of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

WARM_UP_CALLS = 500


def report_calls(call: Callable[[], None], seconds: float) -> None:
    """Calls for `seconds` and prints count, time in all, and percentiles in nanoseconds."""
    for _ in range(WARM_UP_CALLS):
        call()
    clock, samples = time.perf_counter_ns, []
    start = before = clock()
    end = start + int(seconds * 1e9)
    while before < end:
        call()
        after = clock()
        samples.append(after - before)
        before = after
    samples.sort()
    last = len(samples) - 1
    shares = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99, "p999_ns": 0.999, "max_ns": 1}
    report = {name: samples[round(share * last)] for name, share in shares.items()}
    print(json.dumps({"count": len(samples), "seconds": (before - start) / 1e9, **report}))
