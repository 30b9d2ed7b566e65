"""nginx, one worker, under wrk: 50 connections that are kept alive. `return 200`, and a file of 1 KB."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.harness import program_missing
from bench.loads import wrk
from bench.model import Comparison, Figure, rate_ratio

FILE_BYTES = 1024

CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;  # keep-alive is what is measured: nobody is sent away after 1,000 requests
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location = /return {{ return 200 "hello\\n"; }}
        location / {{ root {directory}/files; }}
    }}
}}
"""


def server(directory: Path, port: int) -> list[str]:
    """nginx in one process, with a configuration and a file of its own."""
    (directory / "files").mkdir()
    (directory / "files" / "kilobyte").write_bytes(b"x" * FILE_BYTES)
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory, port=port))
    return ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(configuration)]


def figure(name: str, title: str, path: str, reply_bytes: int, bound: float) -> Figure:
    """One line of the table."""
    return Figure(
        name=name,
        title=title,
        unit="requests/s",
        comparisons=(Comparison("requests/s", "kernel", rate_ratio, bound),),
        measure=partial(wrk.measure, server, path, reply_bytes, wrk.CONNECTIONS),
        missing=partial(program_missing, "nginx", "wrk"),
    )


FIGURES: Sequence[Figure] = (
    figure("nginx_return", "nginx return 200, 50 connections", "/return", 0, 3.5),
    figure("nginx_file", "nginx 1 KB file, 50 connections", "/kilobyte", FILE_BYTES, 2),
)
