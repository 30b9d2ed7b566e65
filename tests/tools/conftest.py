"""Starts `byway` as a user does, with an empty library where what matters is only how a program is started."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RUN_TIMEOUT_S = 30


@pytest.fixture(scope="session")
def compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler")
    return found


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that other users can enter, so that a program in it can be set-uid and found."""
    folder = tmp_path_factory.mktemp("tools")
    for each in (folder, *folder.parents):
        if each.owner() == Path.home().owner() and "pytest" in each.name:
            each.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def empty_library(compiler: str, scratch: Path) -> Path:
    """A library that does nothing: only that it is loaded can be seen."""
    source = scratch / "empty.c"
    source.write_text("int byway_empty_library;\n")
    library = scratch / "libempty.so"
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return library


Byway = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BYWAY_")}
    kept.pop("LD_PRELOAD", None)
    return kept


@pytest.fixture(scope="session")
def byway_command() -> list[str]:
    """For tests that start it by way of another program."""
    return [sys.executable, "-m", "byway"]


@pytest.fixture
def byway(byway_command: list[str], clean_environment: dict[str, str]) -> Byway:
    """Runs `byway WORDS`; keyword arguments are for the environment."""

    def run(*words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [*byway_command, *map(str, words)]
        variables = clean_environment | environment
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)

    return run


@pytest.fixture
def byway_run(byway: Byway, empty_library: Path) -> Byway:
    """Runs `byway run WORDS` with the empty library."""

    def run(*words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        return byway("run", *words, **({"BYWAY_LIBRARY": str(empty_library)} | environment))

    return run
