"""An echo server of Python's standard library and a blocking client: for the demo where redis is not installed."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from bench.harness import CLIENTS
from bench.loads import echo
from bench.model import Comparison, Figure, rate_ratio


def server(_directory: Path, port: int) -> list[str]:
    """socketserver.TCPServer."""
    return [sys.executable, "-I", str(CLIENTS / "echo_server.py"), str(port)]


FIGURE = Figure(
    name="echo",
    title="Python socketserver echo, 1 client",
    unit="requests/s",
    comparisons=(Comparison("requests/s", "kernel", rate_ratio),),
    measure=partial(echo.measure, server),
    missing=lambda: None,
)
