"""Links tests/sanitize/native/both_ends.c with the core of the library, in a variant of the build, and runs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.variant import ROOT

NATIVE = Path(__file__).parent / "native"
LINK_TIMEOUT_S = 120
RUN_TIMEOUT_S = 300
SANITIZER_FLAGS = {"tsan": ["-fsanitize=thread", "-Wno-tsan"], "test": []}
REPLACED = "copy.S.o"  # by copy_visible.c


def native_build(tree: Path) -> ModuleType:
    """hatch_build.py of a source tree."""
    spec = importlib.util.spec_from_file_location(f"hatch_build_{abs(hash(tree))}", tree / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def both_ends(tree: Path, target: Path, variant: str = "tsan") -> Path:
    """The program, from the sources of `tree`; skips where it cannot be made."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    build = native_build(tree)
    try:
        build.build(variant, warnings_are_errors=False)
    except build.NativeBuildError as error:
        if variant in str(error):
            pytest.skip(f"this compiler cannot build the variant {variant}")
        raise
    folder = tree / "build" / variant / "objects" / "csrc"
    objects = [
        path for path in sorted(folder.rglob("*.o")) if path.parent.name != "interpose" and path.name != REPLACED
    ]
    sources = {source.relative_to(tree / "csrc").as_posix() for source in build.library_sources()}
    objects = [path for path in objects if path.relative_to(folder).as_posix().removesuffix(".o") in sources]
    command = ["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", *SANITIZER_FLAGS[variant], "-D_GNU_SOURCE="]
    command += [f"-DBYWAY_ABI_HASH=0x{build.abi_hash()}ULL", f"-I{tree / 'csrc'}", f"-I{ROOT / 'tests' / 'native'}"]
    command += [str(NATIVE / "both_ends.c"), str(NATIVE / "copy_visible.c"), *map(str, objects)]
    command += ["-o", str(target), "-pthread", "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LINK_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return target


def run(program: Path, seed: int, rounds: int, *scenarios: str) -> subprocess.CompletedProcess[str]:
    """`rounds` rounds of all scenarios, or of those named, from `seed` on."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BYWAY_", "LD_"))}
    environment["TSAN_OPTIONS"] = "exitcode=66 second_deadlock_stack=1"
    command = [str(program), str(seed), str(rounds), *scenarios]
    if shutil.which("setarch"):  # its shadow memory has a place that a randomised layout may take
        command = ["setarch", "--addr-no-randomize", *command]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
