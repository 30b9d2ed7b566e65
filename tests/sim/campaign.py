"""Many hostile networks, side by side; what they add up to, and where to go on."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from byway import native
from byway.native import ENGINE_LIBRARY
from byway.sim import hostile
from byway.sim.watch import ViolationError
from tests.variant import ROOT

CHUNK = 50
STATE = ROOT / "build" / "sim"
SOURCES = ROOT / "src" / "byway" / "sim"


@dataclass
class Sum:
    """What has been seen in all networks so far."""

    networks: int = 0
    bytes: int = 0
    packets: int = 0
    connections: int = 0
    failed_connections: int = 0
    virtual_hours: float = 0
    seconds: float = 0  # of processor time
    events: Counter[str] = field(default_factory=Counter)
    counters: Counter[str] = field(default_factory=Counter)
    violations: dict[str, str] = field(default_factory=dict)  # by seed

    def add(self, seen: hostile.Seen) -> None:
        self.networks += 1
        self.bytes += seen.bytes
        self.packets += seen.packets
        self.connections += seen.connections
        self.failed_connections += seen.failed
        self.virtual_hours += seen.virtual_ns / 3.6e12
        self.events.update(seen.events)
        self.counters.update(seen.counters)

    def merge(self, other: Sum) -> None:
        for name in ("networks", "bytes", "packets", "connections", "failed_connections", "virtual_hours", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.events.update(other.events)
        self.counters.update(other.counters)
        self.violations |= other.violations

    @classmethod
    def of(cls, plain: dict[str, object]) -> Sum:
        made = cls(**plain)  # type: ignore[arg-type]
        made.events, made.counters = Counter(made.events), Counter(made.counters)
        return made


def run_chunk(first: int, count: int) -> Sum:
    """The networks of seeds [first, first + count)."""
    found, began = Sum(), time.process_time()
    for seed in range(first, first + count):
        try:
            seen = hostile.run(seed)
        except (ViolationError, OSError) as error:
            found.networks += 1
            found.violations[str(seed)] = f"{type(error).__name__}: {error}"
            continue
        if seen.bytes < hostile.BYTES_MIN or sum(seen.events.values()) < hostile.EVENTS_MIN:
            found.violations[str(seed)] = f"only {seen.bytes} bytes and {seen.events}: not hostile enough"
        found.add(seen)
    found.seconds = time.process_time() - began
    return found


def run_each(starts: list[int], jobs: int, chunk: int = CHUNK) -> Iterator[tuple[int, Sum]]:
    """Each chunk's first seed and what it gave, as they end."""
    with ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(run_chunk, start, chunk): start for start in starts}
        for future in as_completed(futures):
            yield futures[future], future.result()


def identity() -> str:
    """What the results depend on: the library and the simulation."""
    digest = hashlib.sha256(Path(native.path(ENGINE_LIBRARY)).read_bytes())
    for path in sorted(SOURCES.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Kept:
    """Results of earlier calls with the same library and simulation: chunks that need not be run again."""

    def __init__(self, fresh: bool) -> None:
        self._path = STATE / f"{identity()}.json"
        self.chunks: dict[int, Sum] = {}
        if self._path.exists() and not fresh:
            plain = json.loads(self._path.read_text())
            self.chunks = {int(first): Sum.of(one) for first, one in plain.items()}

    def keep(self, first: int, found: Sum) -> None:
        self.chunks[first] = found
        STATE.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({first: vars(one) for first, one in self.chunks.items()}))
        fresh.replace(self._path)

    def total(self) -> Sum:
        total = Sum()
        for one in self.chunks.values():
            total.merge(one)
        return total
