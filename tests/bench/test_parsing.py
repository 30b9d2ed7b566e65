"""What loads print, as their programs print it."""

from __future__ import annotations

import pytest

from bench.figures import redis
from bench.loads import reports, wrk
from bench.model import BenchError

REDIS = """\
"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms",\
"p95_latency_ms","p99_latency_ms","max_latency_ms"
"SET","57142.86","0.014","0.008","0.015","0.015","0.023","0.303"
"GET","125000.00","0.007","0.000","0.007","0.008","0.015","0.359"
"""

WRK = """Running 1s test @ http://127.0.0.1:8099/return
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   118.31us   45.13us   2.62ms   97.44%
    Req/Sec   412.21k     9.58k  421.63k    81.82%
  Latency Distribution
     50%  117.00us
     75%  121.00us
     90%  126.00us
     99%    1.31ms
  451003 requests in 1.10s, 68.82MB read
Requests/sec: 410012.41
Transfer/sec:     62.56MB
"""


def test_redis_benchmark_get_line_is_taken() -> None:
    sample = redis.parse(REDIS, requests=1000)
    assert [sample.rate_per_s, sample.p50_us, sample.p99_us] == pytest.approx([125000, 7, 15])
    assert sample.payload_bytes == 1000 * redis.GET_BYTES


def test_redis_benchmark_without_get_is_an_error() -> None:
    with pytest.raises(BenchError, match="GET"):
        redis.parse("")


def test_wrk() -> None:
    sample = wrk.parse(WRK, reply_bytes=60)
    assert (sample.rate_per_s, sample.p50_us, sample.p99_us) == (410012.41, 117, 1310)
    assert sample.payload_bytes == 451003 * (wrk.REQUEST_BYTES + 60)


@pytest.mark.parametrize(
    "line", ["  Socket errors: connect 0, read 3, write 0, timeout 0", "  Non-2xx or 3xx responses: 7"]
)
def test_a_failed_request_fails_the_round(line: str) -> None:
    with pytest.raises(BenchError, match="wrk reports"):
        wrk.parse(WRK + line, reply_bytes=0)


@pytest.mark.parametrize(("text", "expected"), [("12.50us", 12.5), ("1.25ms", 1250), ("2.00s", 2e6)])
def test_wrk_times(text: str, expected: float) -> None:
    assert wrk.microseconds(text) == expected


def test_latency_report() -> None:
    sample = reports.latency_sample('{"count": 10, "seconds": 2, "p50_ns": 600.0, "p99_ns": 900}', 128)
    assert (sample.rate_per_s, sample.p50_us, sample.p99_us, sample.payload_bytes) == (5, 0.6, 0.9, 1280)
    assert sample.tail == pytest.approx(1.5)


def test_stream_report() -> None:
    sample = reports.stream_sample('{"sends": 8, "send_bytes": 64, "seconds": 2}', per_send=0.5)
    assert (sample.rate_per_s, sample.payload_bytes, sample.p50_us) == (2, 512, None)
