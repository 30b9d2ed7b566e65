"""Ports for servers that are started here and in the tests."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from random import SystemRandom

PORTS = range(10_000, 32_000)
CONNECTIONS_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def is_free(port: int) -> bool:
    """Whether nobody holds it, at any address."""
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody holds, and that the kernel gives to no connection before the caller's server listens."""
    given_from = int(CONNECTIONS_PORTS.read_text().split()[0])
    if given_from < PORTS.start + len(PORTS) // 2:
        raise OSError(f"the kernel gives ports from {given_from} on to connections: too few are left for servers")
    choices = PORTS[: given_from - PORTS.start]
    return next(port for port in iter(partial(SystemRandom().choice, choices), None) if is_free(port))
