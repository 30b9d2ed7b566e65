"""The processes that check cases side by side."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_S = 0.5


def end_agents_too() -> None:
    """A worker that is terminated ends its case in good order: agents that sleep in a call would be left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def end(pool: multiprocessing.pool.Pool) -> None:
    """Python's handlers run between instructions: a signal that comes just before a worker sleeps in a lock does not
    wake it. So it is sent until all have ended."""
    ending = threading.Thread(target=pool.terminate)
    ending.start()
    while ending.is_alive():
        ending.join(AGAIN_S)
        for worker in multiprocessing.active_children():
            worker.terminate()


@contextmanager
def workers(jobs: int) -> Iterator[multiprocessing.pool.Pool]:
    pool = multiprocessing.get_context("fork").Pool(jobs, end_agents_too)
    try:
        yield pool
    finally:
        end(pool)
