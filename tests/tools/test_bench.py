"""`byway bench`: what it reads, what it compares, and what it says when there is nothing to compare."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from byway.bench.comparison import BYWAY, KERNEL, Comparison, compare, need_rings
from byway.bench.metrics import KNOWN, known, metric_of
from byway.bench.processes import Sample
from byway.errors import UserError
from tests.programs import harness
from tests.tools.conftest import Byway

pytestmark = pytest.mark.skipif(bool(harness.byway_missing()), reason=str(harness.byway_missing()))

SERVER = harness.SERVERS / "asyncio_echo.py"
ECHO = [sys.executable, SERVER, "serve-protocol"]
ASK = [sys.executable, SERVER, "ask"]

WRK = """Running 1s test @ http://127.0.0.1:1/
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   779.70us    1.09ms  12.10ms   88.42%
    Req/Sec    19.72k     5.96k   32.01k    55.00%
  Latency Distribution
     50%  480.00us
     99%    1.50ms
Requests/sec:  19624.64
"""
REDIS = """====== GET ======
Summary:
  throughput summary: 37,300.50 requests per second
"""
REDIS_QUIET = "GET: 99.00 requests per second, p50=0.1 msec\rGET: 37300.50 requests per second, p50=0.023 msec\n"
REDIS_CSV = '"test","rps","avg_latency_ms"\n"GET","37300.50","0.02"\n'
PGBENCH = "latency average = 0.095 ms\ntps = 10581.579095 (without initial connection time)\n"
IPERF3 = "[  5]   0.00-2.00   sec  3.29 GBytes  14.1 Gbits/sec                  receiver\n"
SOCKPERF = """sockperf: Summary: Latency is 3.509 usec
sockperf: ---> percentile 99.000 =   18.677
sockperf: ---> percentile 50.000 =    0.325
"""
AB = """Requests per second:    19844.16 [#/sec] (mean)
Time per request:       0.202 [ms] (mean)
Time per request:       0.050 [ms] (mean, across all concurrent requests)
"""
H2LOAD = "finished in 28.84ms, 104036.62 req/s, 17.86MB/s\n"
HEY = "Summary:\n  Total:\t0.0712 secs\n  Requests/sec:\t42152.2897\n"


@pytest.mark.parametrize(
    ("program", "output", "wanted"),
    [
        ("wrk", WRK, {"requests/s": 19624.64, "mean latency, µs": 779.7, "p99 latency, µs": 1500}),
        ("redis-benchmark", REDIS.replace("37,", "37"), {"requests/s": 37300.5}),
        ("redis-benchmark", REDIS_QUIET, {"requests/s": 37300.5, "p50 latency, µs": 23}),
        ("redis-benchmark", REDIS_CSV, {"requests/s (csv)": 37300.5}),
        ("pgbench", PGBENCH, {"transactions/s": 10581.579095, "mean latency, µs": 95}),
        ("ab", AB, {"requests/s": 19844.16, "mean latency, µs": 202}),
        ("h2load", H2LOAD, {"requests/s": 104036.62}),
        ("hey", HEY, {"requests/s": 42152.2897}),
        ("iperf3", IPERF3, {"bits/s": 14.1e9}),
        ("sockperf", SOCKPERF, {"mean latency, µs": 3.509, "p50 latency, µs": 0.325, "p99 latency, µs": 18.677}),
    ],
)
def test_output_that_is_known(program: str, output: str, wanted: dict[str, float]) -> None:
    found = {metric.name: metric.read(output) for metric in known([f"/usr/bin/{program}"])}
    assert {name: value for name, value in found.items() if value is not None} == pytest.approx(wanted)


def test_a_load_generator_behind_another_program_is_known() -> None:
    assert known(["taskset", "-c", "1", "wrk", "-d1"]) == list(KNOWN["wrk"])
    assert known(["python3", "x.py"]) == []


@pytest.mark.parametrize("text", ("", "name", "name=", "=x", "name=(", "name=[0-9]+", "name=(a)(b)"))
def test_metrics_that_are_wrong(text: str) -> None:
    with pytest.raises(UserError):
        metric_of(text, more_is_better=True)


def sample(output: str, seconds: float = 2.0, processor: float = 1.0, ring: int = 1) -> Sample:
    return Sample(seconds, processor, ring, output, [] if ring else ["a reason"])


def test_processor_time_is_that_of_a_piece_of_work() -> None:
    rounds = [{KERNEL: sample("tps = 1000"), BYWAY: sample("tps = 4000")}] * 6
    rates, processor = compare(rounds, known(["pgbench"]))
    assert rates.ratios == [4.0] * 6 and rates.verdict == "better"
    assert processor.name == "processor time a transaction, µs"
    assert processor.kernel == [500.0] * 6 and processor.byway == [125.0] * 6 and processor.verdict == "better"


def test_without_a_metric_the_time_is_compared() -> None:
    rounds = [{KERNEL: sample("", seconds=2), BYWAY: sample("", seconds=3)}] * 6
    time_, processor = compare(rounds, [])
    assert (time_.name, time_.verdict) == ("seconds", "worse")
    assert (processor.name, processor.verdict) == ("processor seconds", "no difference found")


def test_a_metric_that_one_round_lacks_is_left_out() -> None:
    rounds = [{KERNEL: sample("tps = 1"), BYWAY: sample("tps = 1")}, {KERNEL: sample("tps = 1"), BYWAY: sample("")}]
    assert [one.name for one in compare(rounds, known(["pgbench"]))] == ["seconds", "processor seconds"]


def test_one_is_no_difference() -> None:
    assert Comparison("x", True, [1, 1, 1, 1, 1, 1], [2, 2, 0.5, 2, 0.5, 2]).verdict == "no difference found"


def test_rings_that_carried_nothing_are_explained() -> None:
    assert need_rings([{KERNEL: sample(""), BYWAY: sample("")}]) is None
    note = need_rings([{KERNEL: sample(""), BYWAY: sample("", ring=0)}])
    assert note and "a reason" in note and "the kernel is compared with itself" in note


# -- with real programs ------------------------------------------------------------------------------------------------


def test_any_server_and_any_client(byway: Byway, tmp_path: Path) -> None:
    """A client that it does not know: its time is compared. A table, a picture, and all rounds as JSON."""
    pytest.importorskip("matplotlib")
    port = str(harness.free_port())
    files = ["--picture", tmp_path / "p.png", "--json", tmp_path / "r.json"]
    done = byway("bench", "--rounds", "2", *files, "--", *ECHO, port, "--", *ASK, port)
    assert done.returncode == 0, done.stderr
    assert "seconds" in done.stdout and "processor seconds" in done.stdout and "Note" not in done.stdout
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    rounds = json.loads((tmp_path / "r.json").read_text())["rounds"]
    assert len(rounds) == 2
    assert all(one["kernel"]["ring_bytes"] == 0 and one["Byway"]["ring_bytes"] > 100_000 for one in rounds)
    assert all("all came back" in one[name]["output"] for one in rounds for name in ("kernel", "Byway"))


def test_a_number_that_the_user_points_at(byway: Byway, tmp_path: Path) -> None:
    port = str(harness.free_port())
    client = ["sh", "-c", f"{sys.executable} {SERVER} ask {port} && echo speed 12.5 apples"]
    words = ["--rounds", "1", "--picture", tmp_path / "p.png", "--more", "apples=speed ([0-9.]+) apples"]
    done = byway("bench", *words, "--", *ECHO, port, "--", *client)
    assert done.returncode == 0, done.stderr
    assert "apples" in done.stdout and "12.5" in done.stdout


def test_a_number_that_is_not_there(byway: Byway, tmp_path: Path) -> None:
    port = str(harness.free_port())
    words = ["--rounds", "1", "--picture", tmp_path / "p.png", "--more", "apples=([0-9]+) apples"]
    done = byway("bench", *words, "--", *ECHO, port, "--", *ASK, port)
    assert done.returncode == 1 and "apples" in done.stderr and "was not found" in done.stderr


def test_acceleration_that_is_off_is_noticed(byway: Byway, tmp_path: Path) -> None:
    port = str(harness.free_port())
    words = ["--rounds", "1", "--picture", tmp_path / "p.png", "--option", "enabled=0"]
    done = byway("bench", *words, "--", *ECHO, port, "--", *ASK, port)
    assert done.returncode == 0 and "no byte went by the ring" in done.stdout


@pytest.mark.skipif(not shutil.which("redis-benchmark"), reason="not installed: redis")
def test_redis(byway: Byway, tmp_path: Path) -> None:
    port = str(harness.free_port())
    server = ["redis-server", "--port", port, "--save", "", "--dir", tmp_path]
    client = ["redis-benchmark", "-p", port, "-t", "get", "-n", "20000", "-c", "5", "-q"]
    done = byway("bench", "--rounds", "2", "--pin", "--picture", tmp_path / "p.png", "--", *server, "--", *client)
    assert done.returncode == 0, done.stderr
    assert "requests/s" in done.stdout and "processor time a request" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "true"], "a server and a client are needed"),
        (["--", "true", "--"], "a server and a client are needed"),
        (["--rounds", "0", "--", "true", "--", "true"], "--rounds"),
        (["--", "/nowhere/server", "--", "true"], "/nowhere/server was not found"),
        (["--", "true", "--", "true"], "into the background"),
        (["--", "false", "--", "true"], "ended with status 1"),
        (["--start-timeout", "0.3", "--", "sleep", "20", "--", "true"], "does not listen"),
        (["--option", "spin=3", "--", "sleep", "20", "--", "true"], "no option spin"),
        (["--profile", "fast", "--", "sleep", "20", "--", "true"], "no profile fast"),
    ],
)
def test_mistakes(byway: Byway, words: list[str], said: str) -> None:
    done = byway("bench", *words)
    assert done.returncode in (1, 2, 127) and said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_client_that_fails(byway: Byway) -> None:
    port = str(harness.free_port())
    done = byway("bench", "--", *ECHO, port, "--", "sh", "-c", "echo it went wrong; exit 3")
    assert done.returncode == 1 and "ended with status 3" in done.stderr and "it went wrong" in done.stderr
    assert not harness.is_listening(int(port))


def test_a_client_that_hangs(byway: Byway) -> None:
    port = str(harness.free_port())
    done = byway("bench", "--load-timeout", "0.5", "--", *ECHO, port, "--", "sleep", "60")
    assert done.returncode == 1 and "does not end within 0.5 s" in done.stderr
    assert not harness.is_listening(int(port))


def test_a_static_program_is_not_compared_with_itself(byway: Byway, compiler: str, tmp_path: Path) -> None:
    source, static = tmp_path / "static.c", tmp_path / "static"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run([compiler, "-static", source, "-o", static], check=True)
    done = byway("bench", "--", static, "--", "true")
    assert done.returncode == 1 and "statically linked" in done.stderr


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_who_stops_it_leaves_nothing(
    byway_command: list[str], clean_environment: dict[str, str], number: signal.Signals
) -> None:
    port = str(harness.free_port())
    words = [*byway_command, "bench", "--", *map(str, ECHO), port, "--", "sleep", "60"]
    running = subprocess.Popen(words, env=clean_environment, stderr=subprocess.PIPE)
    harness.wait_until(lambda: harness.is_listening(int(port)), "a server")
    time.sleep(0.2)
    os.kill(running.pid, number)
    running.communicate(timeout=30)
    assert running.returncode in (130, 128 + number)
    assert not harness.is_listening(int(port))
