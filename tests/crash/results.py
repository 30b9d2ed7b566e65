"""What a campaign has found so far, in build/crash/SEED.json, and its summary, in build/crash/SEED.md.

The file is written whole after every slice of rounds, so a campaign that is stopped goes on where it was: results are
kept as long as seed, sizes, carrier, kernel, libraries and the test itself are the same; the commit is where it began.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.runner import Outcome
from tests.programs import harness

FOLDER = harness.ROOT / "build" / "crash"


@dataclass(frozen=True)
class Identity:
    """Results of two runs may be added up where all of this is the same (the commit is for the reader)."""

    seed: int
    least_bytes: int
    most_bytes: int
    carrier: str
    commit: str = field(compare=False)
    libraries: str
    tests: str
    kernel: str


@dataclass
class Record:
    """One scenario, or one crash point."""

    rounds: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    kernel_rounds: int = 0
    deaths: int = 0
    """At a crash point: rounds in which somebody died there."""
    kernel_outcomes: list[list[list[str]]] = field(default_factory=list)
    """What the kernel has shown for any shape: both ends' lines."""

    def outcomes(self) -> set[Outcome]:
        return {Outcome(tuple(a), tuple(b)) for a, b in self.kernel_outcomes}


@dataclass
class Results:
    identity: Identity
    machine: str
    began: str
    records: dict[str, Record] = field(default_factory=dict)
    elapsed_s: float = 0.0
    """Of all runs together; less than the sum of `seconds` where rounds ran side by side."""

    def record(self, name: str) -> Record:
        return self.records.setdefault(name, Record())


# -- what is tested ----------------------------------------------------------------------------------------------------


def digest_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]


def git(*arguments: str) -> str:
    command = ["git", "-C", str(harness.ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def commit() -> str:
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed


def identity(seed: int, least_bytes: int, most_bytes: int, carrier: str) -> Identity:
    folder = Path(__file__).parent
    sources = [*folder.glob("*.py"), *(folder / "native").glob("*.c"), *harness.NATIVE.glob("*.[ch]")]
    return Identity(
        seed,
        least_bytes,
        most_bytes,
        carrier,
        commit(),
        digest_of([harness.LIBRARY, harness.CRASH_LIBRARY]),
        digest_of(sorted(sources)),
        platform.release(),
    )


def machine() -> str:
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}"


# -- the file ----------------------------------------------------------------------------------------------------------


def path_of(seed: int) -> Path:
    return FOLDER / f"{seed}.json"


def read(path: Path) -> Results | None:
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
        records = {name: Record(**record) for name, record in kept["records"].items()}
        return Results(Identity(**kept["identity"]), kept["machine"], kept["began"], records, kept["elapsed_s"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def begin(wanted: Identity, fresh: bool) -> Results:
    """Earlier results where they count; those of other libraries or tests are put aside under their commit."""
    path = path_of(wanted.seed)
    kept = read(path)
    if kept and kept.identity == wanted and not fresh:
        return kept
    if kept:
        path.rename(path.with_suffix(f".{kept.identity.commit}.json"))
    return Results(wanted, machine(), time.strftime("%Y-%m-%d %H:%M"))


def write(results: Results, wanted: list[str], rounds: int) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in (
        (path_of(results.identity.seed), json.dumps(asdict(results), indent=1)),
        (path_of(results.identity.seed).with_suffix(".md"), summary(results, wanted, rounds)),
    ):
        new = path.with_name(f"{path.name}.new")
        new.write_text(text)
        new.rename(path)


def record(results: Results, wanted: list[str], rounds: int) -> None:
    """The table as a file of the project."""
    head = "# The campaign of endings\n\nWritten by `./dev crash --record`.\n\n"
    (Path(__file__).parent / "RESULTS.md").write_text(head + summary(results, wanted, rounds))


# -- the summary -------------------------------------------------------------------------------------------------------


def state(record: Record, rounds: int) -> str:
    if record.failures:
        return f"**{len(record.failures)}**"
    return "0" if record.rounds >= rounds else "0 (not done)"


def row(name: str, record: Record, rounds: int) -> str:
    counted = [str(record.rounds), state(record, rounds), str(record.kernel_rounds or ""), str(record.deaths or "")]
    return f"| `{name}` | {' | '.join(counted)} | {record.seconds:.0f} |"


def summary(results: Results, wanted: list[str], rounds: int) -> str:
    one = results.identity
    done = sum(results.record(name).rounds for name in wanted)
    failed = sum(len(results.record(name).failures) for name in wanted)
    sizes = f"{one.least_bytes / 1e6:.0f} to {one.most_bytes / 1e6:.0f} MB"
    lines = [
        f"Begun {results.began} on {results.machine}; commit {one.commit}; seed {one.seed}; streams of {sizes}; "
        f"carrier {one.carrier}.",
        f"{len(wanted)} scenarios and crash points, {done} of {rounds * len(wanted)} rounds, {failed} failed, "
        f"{results.elapsed_s / 60:.0f} minutes.",
        "",
        "| scenario or crash point | rounds | failed | rounds on the kernel | deaths at the point | seconds |",
        "|---|---:|---:|---:|---:|---:|",
        *(row(name, results.record(name), rounds) for name in wanted),
    ]
    return "\n".join(lines) + "\n"
