"""What is compared: numbers in the output of known load generators, or those that the user points at."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from byway.errors import UserError

MICROSECONDS = {"us": 1.0, "µs": 1.0, "usec": 1.0, "ms": 1e3, "msec": 1e3, "s": 1e6, "sec": 1e6}
BINARY = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "": 1.0}


@dataclass(frozen=True)
class Metric:
    """A number to be found in a program's output; the first group is the number, a second one its unit."""

    name: str
    pattern: str
    more_is_better: bool = True
    scale: Callable[[str], float] = lambda _unit: 1.0  # by what the number is multiplied, from the second group
    is_rate: bool = False  # work a second: processor time for a piece of work follows from it

    def read(self, output: str) -> float | None:
        """The last match: summaries come last. None: not there."""
        found = list(re.finditer(self.pattern, output, re.MULTILINE))
        if not found:
            return None
        match = found[-1]
        try:
            number = float(match[1].replace(",", ""))
        except (IndexError, ValueError):
            return None
        return number * self.scale(match[2] if match.re.groups > 1 and match[2] else "")


def to_us(unit: str) -> float:
    return MICROSECONDS[unit]


def to_plain(unit: str) -> float:
    return BINARY[unit]


def rate(name: str, pattern: str, scale: Callable[[str], float] = lambda _unit: 1.0) -> Metric:
    return Metric(name, pattern, scale=scale, is_rate=True)


def latency(name: str, pattern: str, scale: Callable[[str], float] = to_us) -> Metric:
    return Metric(f"{name}, µs", pattern, more_is_better=False, scale=scale)


NUMBER = r"([0-9][0-9.,]*)"

KNOWN: dict[str, Sequence[Metric]] = {  # by the name of the load generator's file
    "wrk": (
        rate("requests/s", rf"^Requests/sec:\s*{NUMBER}"),
        latency("mean latency", r"^\s+Latency\s+([0-9.]+)(us|ms|s)\b"),
        latency("p99 latency", r"^\s+99%\s+([0-9.]+)(us|ms|s)\b"),
    ),
    "redis-benchmark": (
        rate("requests/s", rf"(?:throughput summary:|:)\s*{NUMBER} requests per second"),
        rate("requests/s (csv)", r'^"[^"]+","([0-9.]+)"'),
        latency("p50 latency", r"p50=([0-9.]+) (msec)"),
    ),
    "pgbench": (
        rate("transactions/s", rf"^tps = {NUMBER}"),
        latency("mean latency", r"^latency average = ([0-9.]+) (ms)"),
    ),
    "iperf3": (rate("bits/s", r"\s([0-9.]+) ([KMGT]?)bits/sec.*receiver", to_plain),),
    "sockperf": (
        rate("messages/s", rf"Message Rate is {NUMBER} \[msg/sec\]"),
        latency("mean latency", r"Summary: Latency is ([0-9.]+) (usec)"),
        latency("p50 latency", r"percentile 50\.000 =\s*([0-9.]+)()", lambda _unit: 1.0),
        latency("p99 latency", r"percentile 99\.000 =\s*([0-9.]+)()", lambda _unit: 1.0),
    ),
    "ab": (
        rate("requests/s", rf"^Requests per second:\s*{NUMBER}"),
        latency("mean latency", r"^Time per request:\s*([0-9.]+) \[(ms)\] \(mean\)"),
    ),
    "h2load": (rate("requests/s", rf"^finished in .*?, {NUMBER} req/s"),),
    "hey": (rate("requests/s", rf"Requests/sec:\s*{NUMBER}"),),
}


def known(words: Sequence[str]) -> list[Metric]:
    """The metrics of the load generator in a command, also where something starts it (`taskset -c 1 wrk …`)."""
    for word in words:
        if word and (found := KNOWN.get(PurePath(word).name)):
            return list(found)
    return []


def asked_for(texts: Iterable[str], *, more_is_better: bool) -> list[Metric]:
    """Those of `--more NAME=PATTERN` and `--less NAME=PATTERN`."""
    return [metric_of(text, more_is_better) for text in texts]


def metric_of(text: str, more_is_better: bool) -> Metric:
    name, equals, pattern = text.partition("=")
    if not equals or not name or not pattern:
        raise UserError(f"a metric is NAME=PATTERN, as in 'requests/s=([0-9.]+) req/s', not {text!r}")
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UserError(f"{pattern!r} is not a regular expression of Python: {error}") from None
    if groups != 1:
        raise UserError(f"the pattern of a metric has one group, around the number: {pattern!r} has {groups}")
    return Metric(name.strip(), pattern, more_is_better)
