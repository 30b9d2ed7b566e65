"""Node.js: its http module under wrk, and an echo of its net module with one client."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.harness import SERVERS, program_missing
from bench.loads import echo, wrk
from bench.model import Comparison, Figure, rate_ratio

BODY_BYTES = 64


def http(_directory: Path, port: int) -> list[str]:
    """A body of as many bytes as the path says."""
    return ["node", str(SERVERS / "node_http.js"), str(port)]


def net(_directory: Path, port: int) -> list[str]:
    """A stream piped to itself."""
    return ["node", str(SERVERS / "node_net.js"), "serve", str(port)]


FIGURES: Sequence[Figure] = (
    Figure(
        name="node_http",
        title="Node.js http, 50 connections",
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, 1.3),),
        measure=partial(wrk.measure, http, f"/{BODY_BYTES}", BODY_BYTES, wrk.CONNECTIONS),
        missing=partial(program_missing, "node", "wrk"),
    ),
    Figure(
        name="node_net",
        title="Node.js net, echo, 1 client",
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, 1, whole_interval=True),),
        measure=partial(echo.measure, net),
        missing=partial(program_missing, "node"),
    ),
)
