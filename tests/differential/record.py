"""RESULTS.md: what `./dev diff --record` found, a row a seed; the rows of other seeds stay as they are."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
HEAD = """# Campaigns of the differential tester

Written by `./dev diff --cases N --seed S --keep-going --record`. *Seen once*: a run differed, and none of the others
that looked again. *By the ring*: cases in which the ring carried bytes.

| seed | cases | differences | seen once | by the ring | cases per second | date | kernel |
|---:|---:|---:|---:|---:|---:|---|---|
"""


def seed_of(row: str) -> int:
    return int(row.split("|")[1])


def record(seed: int, cases: int, differing: int, once: int, by_ring: int, rate: float) -> None:
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = [line for line in lines if line.startswith("| ") and line.split("|")[1].strip().isdigit()]
    today = datetime.date.today().isoformat()
    row = f"| {seed} | {cases} | {differing} | {once} | {by_ring} | {rate:.0f} | {today} | {platform.release()} |"
    table = sorted([*(kept for kept in rows if seed_of(kept) != seed), row], key=seed_of)
    RESULTS.write_text(HEAD + "\n".join(table) + "\n")
