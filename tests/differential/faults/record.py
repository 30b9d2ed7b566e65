"""RESULTS.md: what `./dev faults --record` found, a row a fault. Rows of faults that are not tried stay as they are."""

from __future__ import annotations

import datetime
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
HEAD = """# Seeded faults and when they were found

Written by `./dev faults --record`: how many cases of `./dev diff` with that seed were tried when the fault showed.
Numbers before a rule are sections of [local-transport.md](../../../docs/local-transport.md); a rule without one is
Linux's.

| fault | breaks | cases | seed | date |
|---|---|---|---|---|
"""


def rows() -> dict[str, str]:
    """Name → its row."""
    if not RESULTS.exists():
        return {}
    lines = RESULTS.read_text().splitlines()
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def record(name: str, rule: str, cases: int | None, seed: int, names: list[str]) -> None:
    """`cases`: how many it took; None: it stayed hidden. `names`: all faults there are."""
    today = datetime.date.today().isoformat()
    kept = rows()
    kept[name] = f"| `{name}` | {rule} | {'hidden' if cases is None else cases} | {seed} | {today} |"
    table = [kept[each] for each in sorted(kept) if each in names]
    hidden = sum("| hidden |" in row for row in table)
    total = f"\n{len(names)} faults, {len(table)} tried, {len(table) - hidden} found.\n"
    RESULTS.write_text(HEAD + "\n".join(table) + "\n" + total)
