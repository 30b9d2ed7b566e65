"""Both ends as threads of one process over one mapping, under ThreadSanitizer: no data race, no wrong byte, no hang.

No suppressions. Two things ThreadSanitizer does not see: fences (ours order a store before a load, and no other memory;
models/ proves those), and what passes through the kernel, which is why nothing may rely on that for the ring's words.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.sanitize.native_build import RUN_TIMEOUT_S, both_ends, run
from tests.variant import ROOT

SMOKE_ROUNDS = 2
ROUNDS = 25
RUNS = 4
RACE = "WARNING: ThreadSanitizer: data race"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both_ends(ROOT, tmp_path_factory.mktemp("tsan") / "both_ends")


def test_no_data_race(program: Path) -> None:
    done = run(program, 1, SMOKE_ROUNDS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(RUN_TIMEOUT_S + 60)
@pytest.mark.parametrize("seed", range(1000, 1000 + RUNS * ROUNDS, ROUNDS))
def test_no_data_race_in_many_rounds(program: Path, seed: int) -> None:
    done = run(program, seed, ROUNDS)
    assert done.returncode == 0, done.stdout + done.stderr


WEAKER = {
    "a change is counted before its offset is written for all to see": (
        "csrc/local/send.c",
        "store_release(&end->tx->change_count, next)",
        "store_relaxed(&end->tx->change_count, next)",
    ),
    "bytes are published without an order": (
        "csrc/base/cpu.h",
        "(p), (expected), (desired), 0, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)",
        "(p), (expected), (desired), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)",
    ),
    "the tail is read without an order": (
        "csrc/base/cpu.h",
        "#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)",
        "#define load_acquire(p) __atomic_load_n((p), __ATOMIC_RELAXED)",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", WEAKER)
def test_a_weaker_order_is_found(tmp_path: Path, what: str) -> None:
    """The test tests: each of these orders, taken out, is a race that it sees."""
    path, strong, weak = WEAKER[what]
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    for name in ("hatch_build.py", "src/byway/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    text = (tmp_path / path).read_text()
    assert strong in text, f"{path} has changed: {strong}"
    (tmp_path / path).write_text(text.replace(strong, weak))
    done = run(both_ends(tmp_path, tmp_path / "both_ends"), 1, SMOKE_ROUNDS)
    assert RACE in done.stderr, done.stdout + done.stderr
