"""`./dev faults [--only NAME]`: applies each patch to a copy, builds it, and runs the tester.

A fault counts as found when `--cases` cases show a difference; the tester is given no hint. First the tree itself must
show none in BASELINE_CASES, or nothing that is found would mean anything. `--build-only` asks whether all patches still
apply and compile. The head of a patch (the
lines before its first `---`) names the rule that it breaks. Ends with status 1 when a fault stays hidden.
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

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
COPIED = ("csrc", "hatch_build.py", "src/byway/__init__.py")
TESTER_LIMIT_S = 300
BASELINE_CASES = 500
NOT_BUILT = "does not apply or build"


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
        return f"{self.name:32} {state:24} {self.rule}"


def rule_of(patch: Path) -> str:
    lines = patch.read_text().splitlines()
    head = lines[: next((i for i, line in enumerate(lines) if line.startswith("--- ")), 0)]
    return " ".join(line.strip() for line in head).strip() or "(no rule named)"


def run(command: list[str], directory: Path, what: str) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise FaultError(f"{what}:\n{done.stdout}{done.stderr}")


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
        run(["patch", "--batch", "-p1", "-i", str(patch)], tree, f"{patch.name} does not apply")
    out = tree / "out"
    command = [sys.executable, "hatch_build.py", "--variant", "release", "--out", str(out)]
    run(command, tree, f"{patch.name if patch else 'the tree'} does not build")
    return out / "libbyway_preload.so"


def look_for(name: str, rule: str, library: Path, cases: int, seed: int, jobs: int, tree: Path) -> Result:
    summary_file = tree / "summary.json"
    summary_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.differential", "--library", str(library), "--json", str(summary_file)]
    command += ["--cases", str(cases), "--seed", str(seed), "--jobs", str(jobs), "--shrink-seconds", "0"]
    try:
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=TESTER_LIMIT_S)
    except subprocess.TimeoutExpired:
        return Result(name, rule, False, 0, "the tester did not end")
    summary = json.loads(summary_file.read_text())
    first = summary["failures"][0]["differences"][0] if summary["failures"] else ""
    return Result(name, rule, summary["differing"] > 0, summary["cases"], first)


def one_fault(patch: Path, tree: Path, arguments: argparse.Namespace) -> Result:
    rule = rule_of(patch)
    try:
        library = build_with(patch, tree)
    except FaultError as error:
        print(error, file=sys.stderr)
        return Result(patch.stem, rule, False, 0, NOT_BUILT)
    if arguments.build_only:
        return Result(patch.stem, rule, False, 0)
    result = look_for(patch.stem, rule, library, arguments.cases, arguments.seed, arguments.jobs, tree)
    print(result, flush=True)
    return result


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument("--only", action="append", help="names of patches, without .patch")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--json", type=Path, help="write the results here")
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
        tree = Path(name)
        if not arguments.build_only:
            baseline = look_for("(no fault)", "", build_with(None, tree), BASELINE_CASES, arguments.seed, 2, tree)
            if baseline.found:
                print(f"the tree itself differs, so no fault can be looked for:\n{baseline.first}", file=sys.stderr)
                return 2
        results = [one_fault(patch, tree, arguments) for patch in patches]
    if arguments.build_only:
        return 0 if all(result.first != NOT_BUILT for result in results) else 1
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(result) for result in results], indent=1))
    found = sum(result.found for result in results)
    print(f"{found} of {len(results)} seeded faults found")
    return 0 if found == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
