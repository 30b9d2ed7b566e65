"""What `./dev lint` runs: every check of form, each named, and what was left out and why. `--fix` formats in place.

Ends with status 1 when a check failed; a check whose tool is not on this machine is skipped and said at the end.
"""

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
C_SUFFIXES = {".c", ".h"}
PYTHON_SOURCES = ["src", "tests", "bench", "models", "hatch_build.py", "dev"]
C_COMPILERS = ("gcc", "clang")
PROGRAM_INCLUDES = ("csrc", "tests/native", "bench/native")
HASHES = ["-DBYWAY_ABI_HASH=1ULL", "-DBYWAY_STACK_HASH=1ULL"]
PROGRAM_FLAGS = [
    *("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE=", *HASHES),
    *(f"-I{ROOT / folder}" for folder in PROGRAM_INCLUDES),
]


@dataclass
class Report:
    """What happened so far."""

    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def check(self, name: str, command: list[str]) -> None:
        print(f"lint: {name}", flush=True)
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            self.failed.append(name)

    def end(self) -> int:
        for reason in self.skipped:
            print(f"lint: skipped {reason}")
        print(f"lint: {'failed: ' + ', '.join(self.failed) if self.failed else 'clean'}")
        return 1 if self.failed else 0


def c_files() -> list[str]:
    folders = [ROOT / "csrc", ROOT / "tests", ROOT / "bench"]
    return sorted(str(path) for folder in folders for path in folder.rglob("*") if path.suffix in C_SUFFIXES)


def check_python(report: Report, fix: bool) -> None:
    present = [name for name in PYTHON_SOURCES if (ROOT / name).exists()]
    ruff = [sys.executable, "-m", "ruff"]
    report.check("ruff check", [*ruff, "check", "--quiet", *(["--fix"] if fix else []), *present])
    report.check("ruff format", [*ruff, "format", "--quiet", *([] if fix else ["--check", "--diff"]), *present])
    report.check("mypy --strict", [sys.executable, "-m", "mypy", "--no-error-summary"])


def check_c_format(report: Report, fix: bool) -> None:
    tool = Path(sys.executable).with_name("clang-format")
    if files := c_files():
        report.check("clang-format", [str(tool), *(["-i"] if fix else ["--dry-run", "-Werror"]), *files])


def program_sources() -> list[Path]:
    """C programs of tests and benchmarks, some of which call the library's inner functions."""
    return sorted(path for folder in ("tests", "bench") for path in (ROOT / folder).rglob("*.c"))


def compile_all(compiler: str, scratch: Path) -> list[str]:
    """What the compiler says of each source of the library, tests and benchmarks, warnings being errors."""
    os.environ["CC"] = compiler
    native = importlib.import_module("hatch_build")
    flags = native.compile_flags(native.VARIANTS["test"], native.find_compiler(native.VARIANTS["test"]), True)

    def complaint(command: list[str]) -> str:
        return subprocess.run([compiler, *command], capture_output=True, text=True).stderr

    commands = [[*flags, "-c", str(source), "-o", f"{scratch / source.name}.o"] for source in native.library_sources()]
    commands += [[*PROGRAM_FLAGS, "-fsyntax-only", str(source)] for source in program_sources()]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        return [said for said in pool.map(complaint, commands) if said]


def check_c_warnings(report: Report) -> None:
    for compiler in C_COMPILERS:
        if shutil.which(compiler) is None:
            report.skipped.append(f"the warnings of {compiler}: it is not installed")
            continue
        print(f"lint: warnings of {compiler}", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            complaints = compile_all(compiler, Path(scratch))
        if complaints:
            print("\n".join(complaints))
            report.failed.append(f"warnings of {compiler}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev lint", description="Checks form.")
    parser.add_argument("--fix", action="store_true", help="format in place, and repair what ruff can repair")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    report = Report()
    check_python(report, arguments.fix)
    check_c_format(report, arguments.fix)
    check_c_warnings(report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
