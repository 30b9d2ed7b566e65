"""A WSGI application: the query string chooses how many bytes the body has; POST gives the body back."""

from collections.abc import Callable, Iterable
from typing import Any

BLOCK = bytes(range(256)) * 16


def application(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environment["REQUEST_METHOD"] == "POST":
        body = environment["wsgi.input"].read(int(environment["CONTENT_LENGTH"]))
    else:
        count = int(environment["QUERY_STRING"] or 2)
        body = (BLOCK * (count // len(BLOCK) + 1))[:count]
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]
