"""HAProxy in front of nginx, under wrk."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.figures import nginx
from bench.harness import SERVERS, program_missing
from bench.loads import wrk
from bench.model import Comparison, Figure, rate_ratio
from bench.ports import free_port


def haproxy_before_nginx(directory: Path, port: int) -> list[str]:
    """A shell starts nginx in the background and becomes HAProxy; the harness ends its whole group."""
    behind = free_port()
    (directory / "nginx").mkdir()
    configuration = directory / "haproxy.cfg"
    configuration.write_text((SERVERS / "haproxy.cfg").read_text().format(threads=1, port=port, behind=behind))
    first = " ".join(nginx.server(directory / "nginx", behind))
    return ["sh", "-c", f"{first} & exec haproxy -db -f {configuration}"]


FIGURE = Figure(
    name="haproxy",
    title="HAProxy before nginx, 50 connections",
    unit="requests/s",
    comparisons=(Comparison("requests/s", "kernel", rate_ratio, 1, whole_interval=True),),
    measure=partial(wrk.measure, haproxy_before_nginx, "/return", 0, wrk.CONNECTIONS),
    missing=partial(program_missing, "haproxy", "nginx", "wrk"),
)
