"""One `send` for each message of 64 bytes, one sender, one receiver.

With TCP_NODELAY, as programs set it that send messages, each message leaves at once. Without it the kernel puts small
sends together (Nagle), and is some 20 times as fast: shown beside it, since a program may well leave it so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench.figures.stream import measure_sends
from bench.harness import compiler_missing
from bench.model import Comparison, Figure, RoundSamples, need, rate_ratio

MESSAGE_BYTES = 64


def millions_per_s(samples: RoundSamples) -> float:
    """Byway's rate alone, in millions."""
    return need(samples["byway"].rate_per_s) / 1e6


def figure(name: str, title: str, delay: str, comparisons: Sequence[Comparison]) -> Figure:
    """One line of the table for each comparison."""
    return Figure(
        name=name,
        title=title,
        unit="messages/s",
        comparisons=comparisons,
        measure=partial(measure_sends, MESSAGE_BYTES, delay, 1),
        missing=compiler_missing,
        ring_share_min=0.01,  # a full ring overflows to the kernel by design
    )


FIGURES: Sequence[Figure] = (
    figure(
        "messages",
        "64-byte sends, TCP_NODELAY",
        "nodelay",
        (
            Comparison("messages/s", "kernel", rate_ratio, 8),
            Comparison("Byway's millions a second", "kernel", millions_per_s, 10),
        ),
    ),
    figure(
        "messages_nagle", "64-byte sends, put together", "default", (Comparison("messages/s", "kernel", rate_ratio),)
    ),
)
