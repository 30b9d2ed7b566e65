"""Faults seeded into the engine, patches in tests/script/faults: each names the rule that it breaks, and is to be
found.

A fault's library is the release build with one file compiled again. Who finds it: the scripts, the tests of
tests/engine, or both.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.script.runner import ADDRESSES, Mismatch, run
from tests.script.test_scripts import SCENARIOS
from tests.variant import ROOT

FOLDER = Path(__file__).with_name("faults")
COMPILE_TIMEOUT_S = 60
PROTOCOL_TESTS = ("tests/engine/test_tcp.py", "tests/engine/test_udp.py")


@dataclass(frozen=True)
class Fault:
    """One patch: its first line says which rule is broken."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def rule(self) -> str:
        return self.path.read_text().partition("\n")[0]

    @property
    def file(self) -> Path:
        """Which source it changes, from the root."""
        line = next(line for line in self.path.read_text().splitlines() if line.startswith("--- a/"))
        return Path(line.removeprefix("--- a/").split("\t")[0])


def faults() -> list[Fault]:
    return [Fault(path) for path in sorted(FOLDER.glob("*.patch"))]


def patched(fault: Fault, place: Path) -> Path:
    """The changed source, in a folder of its own; CalledProcessError where the patch does not fit any more."""
    target = place / fault.file
    target.parent.mkdir(parents=True)
    shutil.copy(ROOT / fault.file, target)
    command = ["patch", "--quiet", "-p1", "--fuzz=0", "-i", str(fault.path)]
    subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=COMPILE_TIMEOUT_S)
    return target


def build(fault: Fault, place: Path) -> Path:
    """The engine's library with the fault."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    native = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = native
    spec.loader.exec_module(native)
    variant = native.VARIANTS["release"]
    compiler = native.find_compiler(variant)
    changed = place / "changed.o"
    flags = native.compile_flags(variant, compiler, False)
    compile_one = [*compiler.command, *flags, "-w", "-c", str(patched(fault, place)), "-o", str(changed)]
    subprocess.run(compile_one, check=True, timeout=COMPILE_TIMEOUT_S)
    objects = ROOT / "build" / "release" / "objects"
    sources = [source for source in native.library_sources() if native.is_of_engine(source)]
    linked = [str(objects / f"{source.relative_to(ROOT)}.o") for source in sources if source != ROOT / fault.file]
    library = place / f"{fault.name}.so"
    link = [*compiler.command, *compiler.flags, *native.LINK_FLAGS, *linked, str(changed), "-o", str(library)]
    subprocess.run([*link, *native.LINK_LIBRARIES], check=True, timeout=COMPILE_TIMEOUT_S)
    return library


def found_by_scripts(library: Path) -> str | None:
    """The first scenario that shows the fault."""
    for scenario in SCENARIOS:
        try:
            run(scenario, scenario.only or next(iter(ADDRESSES)), str(library))
        except Mismatch:
            return f"{scenario.file}: {scenario.name}"
    return None


def found_by_tests(library: Path) -> str | None:
    """Whether what tests/engine has about protocols fails with it."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *PROTOCOL_TESTS]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=dict(os.environ, BYWAY_ENGINE_LIBRARY=str(library)),
        capture_output=True,
        text=True,
        timeout=COMPILE_TIMEOUT_S,
    )
    return "tests/engine" if done.returncode == 1 else None


def find(fault: Fault) -> str | None:
    """What finds the fault; None: nothing does. The scripts run in a process of their own: one process has room for
    the thread-local memory of some fifty libraries only."""
    with tempfile.TemporaryDirectory(prefix="byway-fault-") as place:
        library = build(fault, Path(place))
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            found = pool.submit(found_by_scripts, library).result()
        return found or found_by_tests(library)
