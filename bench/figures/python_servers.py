"""Python's own servers: an asyncio echo with one client, the same on uvloop, and gunicorn under wrk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bench.harness import SERVERS, program_missing
from bench.loads import echo, wrk
from bench.model import Comparison, Figure, rate_ratio

BODY_BYTES = 2
GUNICORN_CONNECTIONS = 4


def library_missing(name: str) -> str | None:
    """Why a Python library cannot be measured, if so."""
    return None if find_spec(name) else f"not installed: {name}"


def echo_server(loop: str, _directory: Path, port: int) -> list[str]:
    """A protocol that writes what it gets."""
    return [sys.executable, str(SERVERS / "asyncio_echo.py"), "serve-protocol", str(port), loop]


def gunicorn(directory: Path, port: int) -> list[str]:
    """One worker with threads, so that connections are kept."""
    application = ["--chdir", str(SERVERS), "application"]
    options = ["--workers", "1", "--worker-class", "gthread", "--threads", str(GUNICORN_CONNECTIONS)]
    address = ["--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(directory), "--keep-alive", "60"]
    return [sys.executable, "-m", "gunicorn", *options, *address, *application]


def echo_figure(loop: str, bound: float) -> Figure:
    """One line of the table."""
    return Figure(
        name=f"{loop}_echo",
        title=f"{loop} echo, 1 client",
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, bound),),
        measure=partial(echo.measure, partial(echo_server, loop)),
        missing=partial(library_missing, loop),
    )


FIGURES: Sequence[Figure] = (
    echo_figure("asyncio", 2),
    echo_figure("uvloop", 3),
    Figure(
        name="gunicorn",
        title=f"gunicorn, {GUNICORN_CONNECTIONS} connections",
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, 1, whole_interval=True),),
        measure=partial(wrk.measure, gunicorn, "/", BODY_BYTES, GUNICORN_CONNECTIONS),
        missing=lambda: library_missing("gunicorn") or program_missing("wrk"),
    ),
)
