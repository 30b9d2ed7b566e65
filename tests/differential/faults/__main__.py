"""`./dev faults [--only NAME]`: applies each patch to a copy, builds it, and runs the tester.

A fault counts as found when one of `--cases` cases shows a difference that the tree without the fault does not show
in the same case; the tester is given no hint. `--build-only` asks whether all patches still apply and compile. The head
of a patch (the lines before its first `---`) names the rule that it breaks. `--record` writes what was found into
RESULTS.md. Ends with status 1 when a fault stays hidden.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .record import record

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
COPIED = ("csrc", "hatch_build.py", "src/byway/__init__.py")
FUZZ_MAX = 1  # lines of context that may differ: with more a patch would apply anywhere
TESTER_LIMIT_S = 300
TREE_TRIES = 3  # a difference that only some runs show must not be taken for the fault's


class FaultError(Exception):
    """A patch does not apply or does not build: it must follow the code."""


@dataclass(frozen=True)
class Result:
    name: str
    rule: str
    found: bool
    cases: int
    first: str = ""

    def __str__(self) -> str:
        state = f"found after {self.cases} cases" if self.found else f"HIDDEN in {self.cases} cases"
        return f"{self.name:36} {state:24} {self.rule}"


@dataclass(frozen=True)
class Search:
    """How a fault is looked for, and the library without it."""

    cases: int
    seed: int
    jobs: int
    directory: Path
    sound: Path

    def tester(self, library: Path, *arguments: str) -> int:
        command = [sys.executable, "-m", "tests.differential", "--library", str(library), "--seed", str(self.seed)]
        command += ["--shrink-seconds", "0", "--jobs", str(self.jobs), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=TESTER_LIMIT_S
        )
        return done.returncode

    def summary(self, library: Path, first: int) -> dict[str, Any]:
        file = self.directory / "summary.json"
        file.unlink(missing_ok=True)
        self.tester(library, "--first", str(first), "--cases", str(self.cases - first), "--json", str(file))
        summary: dict[str, Any] = json.loads(file.read_text())
        return summary

    def is_of_the_tree(self, number: int) -> bool:
        return any(self.tester(self.sound, "--case", str(number)) for _ in range(TREE_TRIES))


def rule_of(patch: Path) -> str:
    lines = patch.read_text().splitlines()
    head = lines[: next((i for i, line in enumerate(lines) if line.startswith("--- ")), 0)]
    text = " ".join(line.strip() for line in head).strip()
    return text.removeprefix("Breaks: ") or "(no rule named)"


def run(command: list[str], directory: Path, what: str) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise FaultError(f"{what}:\n{done.stdout}{done.stderr}")


def apply_command(patch: Path) -> list[str]:
    return ["patch", "--force", "-p1", f"--fuzz={FUZZ_MAX}", "-i", str(patch)]


def build_with(patch: Path | None, tree: Path) -> Path:
    """The library of a copy of the tree, with the fault in it; `build/` stays between faults, so few files compile."""
    for name in COPIED:
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / name, target)
        else:
            shutil.copyfile(ROOT / name, target)
    if patch is not None:
        run(apply_command(patch), tree, f"{patch.name} does not apply")
    out = tree / ("faulty" if patch else "sound")
    command = [sys.executable, "hatch_build.py", "--variant", "release", "--out", str(out)]
    run(command, tree, f"{patch.name if patch else 'the tree'} does not build")
    return out / "libbyway_preload.so"


def look_for(name: str, rule: str, library: Path, search: Search) -> Result:
    first = 0
    while first < search.cases:
        try:
            summary = search.summary(library, first)
            if not summary["failures"]:
                break
            failure = summary["failures"][0]
            number = int(failure["case"].split("/")[1])
            if not search.is_of_the_tree(number):
                return Result(name, rule, True, first + summary["cases"], failure["differences"][0])
        except subprocess.TimeoutExpired:
            return Result(name, rule, False, first, "the tester did not end")
        print(f"the tree itself differs in case {failure['case']}", flush=True)
        first = number + 1
    return Result(name, rule, False, search.cases)


def one_fault(patch: Path, library: Path, search: Search, recorded: bool) -> Result:
    result = look_for(patch.stem, rule_of(patch), library, search)
    print(result, flush=True)
    if recorded:
        names = [each.stem for each in HERE.glob("*.patch")]
        record(result.name, result.rule, result.cases if result.found else None, search.seed, names)
    return result


def build_all(patches: list[Path], tree: Path) -> int:
    failed = 0
    for patch in patches:
        try:
            build_with(patch, tree)
        except FaultError as error:
            print(error, file=sys.stderr)
            failed += 1
    return failed


def search_all(patches: list[Path], tree: Path, arguments: argparse.Namespace) -> list[Result]:
    sound = build_with(None, tree)
    search = Search(arguments.cases, arguments.seed, arguments.jobs, tree, sound)
    return [one_fault(patch, build_with(patch, tree), search, arguments.record) for patch in patches]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument("--only", action="append", help="names of patches, without .patch")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument(
        "--record", action="store_true", help="write them into RESULTS.md, beside those of other faults"
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    patches = sorted(HERE.glob("*.patch"))
    if arguments.only:
        patches = [patch for patch in patches if patch.stem in arguments.only]
    if not patches:
        print("no such fault; the patches are in tests/differential/faults/", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="byway-faults-") as name:
        if arguments.build_only:
            return 1 if build_all(patches, Path(name)) else 0
        try:
            results = search_all(patches, Path(name), arguments)
        except FaultError as error:
            print(error, file=sys.stderr)
            return 2
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(result) for result in results], indent=1))
    found = sum(result.found for result in results)
    print(f"{found} of {len(results)} seeded faults found")
    return 0 if found == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
