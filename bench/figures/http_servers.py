"""HTTP under wrk where nginx is not alone: HAProxy in front of it, and Node.js."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.figures import nginx
from bench.harness import ROOT, free_port, program_missing
from bench.loads import wrk
from bench.model import Comparison, Figure, rate_ratio

NODE_SERVER = ROOT / "tests" / "programs" / "servers" / "node_http.js"
NODE_BODY_BYTES = 64

HAPROXY_CONFIGURATION = """
global
    nbthread 1
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    http-reuse always
    server nginx 127.0.0.1:{behind}
"""


def haproxy_before_nginx(directory: Path, port: int) -> list[str]:
    """A shell starts nginx in the background and becomes HAProxy; the harness ends its whole group."""
    behind = free_port()
    (directory / "nginx").mkdir()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(HAPROXY_CONFIGURATION.format(port=port, behind=behind))
    first = " ".join(nginx.server(directory / "nginx", behind))
    return ["sh", "-c", f"{first} & exec haproxy -db -f {configuration}"]


def node(_directory: Path, port: int) -> list[str]:
    """Node's own http module."""
    return ["node", str(NODE_SERVER), str(port)]


FIGURES: Sequence[Figure] = (
    Figure(
        name="haproxy",
        title="HAProxy before nginx, 50 connections",
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, 1, whole_interval=True),),
        measure=partial(wrk.measure, haproxy_before_nginx, "/return", 0, wrk.CONNECTIONS),
        missing=partial(program_missing, "haproxy", "nginx", "wrk"),
    ),
    Figure(
        name="node_http",
        title="Node.js http, 50 connections",
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, 1.3),),
        measure=partial(wrk.measure, node, f"/{NODE_BODY_BYTES}", NODE_BODY_BYTES, wrk.CONNECTIONS),
        missing=partial(program_missing, "node", "wrk"),
    ),
)
