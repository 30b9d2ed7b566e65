"""The protocol models of models/, checked exhaustively by spin.

Each model must pass; must reach its witness (or it would pass by doing nothing); must have no code that is never
reached, but for the few states counted here; and must fail with every fence or rule that a variant leaves out.
What a variant leaves out is written at the head of the model.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parents[2] / "models"
DEPTH_MAX = 100_000
MEMORY_MEGABYTES_MAX = 2000
SECONDS_MAX = 100

pytestmark = pytest.mark.skipif(
    shutil.which("spin") is None or shutil.which("gcc") is None,
    reason="the models need spin and gcc (Debian: apt install spin gcc)",
)


@dataclass(frozen=True)
class Model:
    """One model in one size: `defines` choose the size, `variants` and `witnesses` are added to them."""

    name: str
    variants: tuple[str, ...]
    defines: tuple[str, ...] = ()
    witnesses: tuple[tuple[str, ...], ...] = (("REACH",),)
    search: tuple[str, ...] = ()  # more of how to look for an error: it counts for speed only
    unreached: int = 0  # states that this size cannot reach, the ends of endless processes apart


TABLE = (
    Model(
        "sleep_wake",
        (
            "NO_SENDER_FENCE",
            "NO_RECEIVER_FENCE",
            "NO_RECHECK",
            "DRAIN_LATE",
            "MASK_NOT_EXCHANGED",
            "MASK_BEFORE_TAIL",
        ),
    ),
    Model(
        "deferred_work",
        ("LIST_PLAIN", "NO_HOLDER_FENCE", "NO_SECOND_LOOK", "MARK_PLAIN", "MARK_LATE", "WORK_AFTER_MARK"),
    ),
    Model(
        "epoll_ready",
        (
            "NO_PUBLISH_FENCE",
            "READY_NOT_ATOMIC",
            "READY_BEFORE_TAIL",
            "NO_SLEEP_FENCE",
            "NO_RECHECK",
            "NO_WATCH_FENCE",
            "TAKE_AFTER_LOOK",
            "DRAIN_LATE",
        ),
        unreached=4,  # of the second thread
    ),
    Model("epoll_ready", ("GROUP_FIRST", "WORDS_FIRST", "NO_RECHECK"), defines=("GROUPS",), unreached=4),
    Model("epoll_ready", ("CLEAR_ALONE", "NO_PASS_ON", "NO_PASS_ON_LOOK"), defines=("WAITERS=2",)),
    Model(
        "attach_gate",
        (
            "ENGINE_FROM_ANY",
            "SENDER_ENGINE_FROM_ANY",
            "GATE_NOT_ATOMIC",
            "REVOKED_CLEARED_FIRST",
            "MARK_LATE",
            "NO_MARK",
        ),
        unreached=1,  # a direction that is allowed and not watched
    ),
    Model(
        "carrier_change",
        (
            "READ_WITHOUT_INQ",
            "INQ_AFTER_COUNT",
            "OFFSET_AFTER_BYTE",
            "COUNT_BEFORE_OFFSET",
            "OFFSET_OF_ARRIVED",
            "UNREAD_AT_ONCE",
            "TAIL_BEFORE_BYTE",
            "PENDING_UNBOUNDED",
            "PENDING_ONE_MORE",
        ),
    ),
    Model("revoke", ("REVOKED_PLAIN", "REVOKED_UNEMPTY", "PUBLISH_PLAIN", "END_AT_ONCE", "END_AT_ONCE_KERNEL")),
    Model("revoke_sleepers", ("CLEAR_ALONE", "CLEAR_UNLOCKED", "NEVER_OVERLOOKED", "ONE_BIT", "NEVER_PLAIN")),
    Model(
        "close",
        ("CLOSE_LOOKS_FIRST", "CLOSE_PLAIN", "PUBLISH_PLAIN", "MARK_FIRST", "NO_EMULATION"),
        witnesses=(("REACH",), ("REACH", "REACH_CLOSED")),
    ),
    Model(
        "take_back",
        (
            "TAKEN_PLAIN",
            "HEAD_PLAIN",
            "OFFSET_OF_TAIL",
            "CHANGE_FIRST",
            "PENDING_UNBOUNDED",
            "HEAD_AFTER_COUNT",
            "RETURN_FIRST",
            "UNREAD_AT_ONCE",
            "NO_RECOVERY",
            "TAKEN_ALONE",
        ),
        witnesses=(("REACH",), ("REACH", "REACH_RECOVERED")),
    ),
    Model(
        "hand_back",
        (
            "NO_SENDER_FENCE",
            "NO_CLAIM_FENCE",
            "NO_WAIT",
            "SEND_OUTSIDE",
            "MOVE_OUTSIDE",
            "TAKE_BACK_OUTSIDE",
            "COUNT_BEFORE",
            "NOT_REVOKED",
            "BEFORE_BY_TURN",
            "TURN_LEFT",
            "UNCLAIM_FIRST",
        ),
        witnesses=(("REACH",), ("REACH", "REACH_APPENDED")),
        search=("-DT_REVERSE",),
    ),
    Model(
        "head_store",
        (
            "RESEND_UNLOCKED",
            "NEVER_LATE",
            "TAIL_UNLOCKED",
            "ALWAYS_PLAIN",
            "HEAD_LATE",
            "FROM_LIVING",
            "GENERATION_PLAIN",
        ),
    ),
    Model("lock", ("FROM_LIVING", "RECORD_LATE", "COUNT_FIRST", "COUNT_KEPT")),
)


@dataclass(frozen=True)
class Case:
    """A model, the defines of this run, and whether pan must find an error."""

    model: Model
    extra: tuple[str, ...]
    must_fail: bool

    def __str__(self) -> str:
        return "-".join((self.model.name, *self.model.defines, *(self.extra or ("passes",))))


def cases() -> Iterator[Case]:
    for model in TABLE:
        yield Case(model, (), must_fail=False)
        for witness in model.witnesses:
            yield Case(model, witness, must_fail=True)
        for variant in model.variants:
            yield Case(model, (variant,), must_fail=True)


CASES = tuple(cases())


@dataclass(frozen=True)
class Verdict:
    """What pan says at its end."""

    output: str

    @property
    def errors(self) -> int:
        found = re.search(r"errors: (\d+)", self.output)
        assert found, f"pan did not finish:\n{self.output}"
        return int(found[1])

    @property
    def truncated(self) -> bool:
        return bool(re.search(r"max search depth too small|Search not completed|out of memory|hash array", self.output))

    @property
    def error(self) -> str:
        found = re.search(r"pan:1: (.*)", self.output)
        return found[1] if found else ""

    @property
    def unreached(self) -> list[str]:
        """Lines of the model that no execution reaches; endless processes (drain, wire) have no end to reach."""
        lines = re.findall(r"^\t(\S+\.(?:pml|h):\d+, state \d+, .*)$", self.output, re.MULTILINE)
        assert "unreached in proctype" in self.output, self.output
        return [line for line in lines if '"-end-"' not in line]


def command(folder: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(words)}:\n{output}"
    return output


def check(case: Case, folder: Path) -> Verdict:
    """Search all states of one variant of one model, up to the first error."""
    folder.mkdir()
    defines = [f"-D{name}" for name in (*case.model.defines, *case.extra)]
    command(folder, "spin", *defines, "-a", str(MODELS / f"{case.model.name}.pml"))
    limit = f"-DMEMLIM={MEMORY_MEGABYTES_MAX}"
    # The last process first: what store buffers do late is tried before what they do at once; an error is found soon.
    search = ("-O0", "-DREVERSE", *case.model.search) if case.must_fail else ("-O1",)
    command(folder, "gcc", *search, "-w", "-DSAFETY", limit, "-o", "pan", "pan.c")
    return Verdict(command(folder, "./pan", f"-m{DEPTH_MAX}"))


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Case, Future[Verdict]]]:
    """All cases that this session has selected, checked side by side."""
    selected = [item.callspec.params["case"] for item in request.session.items if "verdicts" in item.fixturenames]  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("models")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {case: pool.submit(check, case, folder / str(case)) for case in selected}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_model(case: Case, verdicts: dict[Case, Future[Verdict]]) -> None:
    verdict = verdicts[case].result()
    if case.must_fail:
        assert verdict.errors >= 1, f"{case}: no error was found without what this variant leaves out"
        expected = r"assertion violated" if "REACH" in case.extra else r"assertion violated|invalid end state"
        assert re.search(expected, verdict.error), verdict.output
        return
    assert verdict.errors == 0, verdict.output
    assert not verdict.truncated, verdict.output
    assert len(verdict.unreached) <= case.model.unreached, "never reached:\n" + "\n".join(verdict.unreached)


def test_every_variant_of_every_model_is_listed() -> None:
    """A variant in a model that no test runs proves nothing."""
    for path in sorted(MODELS.glob("*.pml")):
        used = set(re.findall(r"^#ifn?def (\w+)", path.read_text(), re.MULTILINE))
        listed = {name for model in TABLE if model.name == path.stem for name in model.variants}
        ways = {"WAITERS", "BYTES", "GROUPS"} | {name for name in used if name.startswith("REACH_")}
        assert used - listed <= ways, path
        assert listed <= used, path


def test_the_readme_names_functions_and_files_that_exist() -> None:
    """In its table, "`name()`, … in `file`": each file defines its functions; and every model has its row."""
    text = (MODELS / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)\.pml` \|[^|]*\|([^|]*)\|", text, re.MULTILINE)
    assert {name for name, _ in rows} == {path.stem for path in MODELS.glob("*.pml")}
    for name, mirrors in rows:
        groups = re.findall(r"((?:`\w+\(\)`(?:, )?)+) in `([\w/.]+)`", mirrors)
        assert groups, f"{name}: {mirrors}"
        assert sum(found.count("()") for found, _ in groups) == mirrors.count("()"), f"{name}: {mirrors}"
        for functions, file in groups:
            source = re.sub(r"/\*.*?\*/", " ", (MODELS.parent / file).read_text(), flags=re.DOTALL)
            for function in re.findall(r"(\w+)\(\)", functions):
                defined = re.search(rf"^[A-Za-z_][\w \t*]*?[\s*]{function}\([^;{{}}]*\)\s*\{{", source, re.MULTILINE)
                assert defined, f"models/README.md, {name}: {file} has no {function}()"
