"""All published figures, in the order of the table. A new one: a file here, and its name in `all_figures`."""

from __future__ import annotations

from bench.figures import (
    connections,
    engine,
    haproxy,
    idle,
    java,
    kernel_paths,
    measuring,
    memcached,
    messages,
    nginx,
    node,
    postgres,
    python_servers,
    redis,
    round_trip,
    stream,
    together,
    transfers,
)
from bench.model import Figure


def wire_figures() -> list[Figure]:
    """Those over an adapter, which need root: apart from the others."""
    from bench.figures import wire

    return list(wire.FIGURES)


def all_figures() -> list[Figure]:
    """Every figure of one machine."""
    return [
        round_trip.FIGURE,
        engine.FIGURE,
        *redis.FIGURES,
        *memcached.FIGURES,
        *nginx.FIGURES,
        haproxy.FIGURE,
        *node.FIGURES,
        *postgres.FIGURES,
        *python_servers.FIGURES,
        *java.FIGURES,
        *measuring.FIGURES,
        stream.FIGURE,
        *messages.FIGURES,
        *transfers.FIGURES,
        connections.FIGURE,
        *kernel_paths.FIGURES,
        idle.FIGURE,
        together.FIGURE,
    ]
