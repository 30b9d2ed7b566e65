"""Which build of the library is under test: that of BYWAY_VARIANT (which `./dev asan` sets), or the release."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN_TIMES = {"asan": "libasan.so", "ubsan": "libubsan.so", "tsan": "libtsan.so"}


REPORTS = ROOT / "build" / "reports"  # where `./dev asan` and `./dev ubsan` have sanitizers write


def is_sanitized() -> bool:
    return name() in RUN_TIMES


def take_reports() -> list[str]:
    """What sanitizers have found since the last time; each is told once."""
    found = []
    for path in sorted(REPORTS.glob("*")):
        found.append(f"{path.name}:\n{path.read_text(errors='replace')}")
        path.unlink()
    return found


def name() -> str:
    return os.environ.get("BYWAY_VARIANT", "release")


def library(variant: str | None = None) -> Path:
    """The preload library; it may not have been built."""
    variant = variant or name()
    folder = ROOT / "src" / "byway" / "_native" if variant == "release" else ROOT / "build" / variant
    return folder / "libbyway_preload.so"


def preload(variant: str | None = None) -> str:
    """The LD_PRELOAD that loads it: a sanitizer's run time has to come first."""
    variant = variant or name()
    compiler = shutil.which("gcc")
    if variant not in RUN_TIMES or compiler is None:
        return str(library(variant))
    command = [compiler, f"-print-file-name={RUN_TIMES[variant]}"]
    run_time = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return f"{Path(run_time).resolve()}:{library(variant)}"
