"""The library exports the names of csrc/interpose/calls.def, and nothing else.

A name that the table has and the library has not would pass by the rings; one that only the library has would stand in
the way of a program's own function.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import variant

CALLS = variant.ROOT / "csrc" / "interpose" / "calls.def"


def table(path: Path = CALLS) -> list[str]:
    """The names of calls.def, in its order."""
    return re.findall(r'^CALL\((\w+), "[^"]+"\)$', path.read_text(), re.MULTILINE)


def exported(library: Path) -> set[str]:
    command = ["nm", "-D", "--defined-only", "--format=posix", str(library)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    return {line.split()[0].partition("@")[0] for line in output.splitlines()}


@pytest.fixture(scope="module")
def release() -> Path:
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed (Debian: binutils)")
    library = variant.library("release")
    if not library.exists():
        pytest.skip(f"{library} is not built: ./dev build")
    return library


def test_every_line_of_the_table_is_a_call() -> None:
    lines = [line for line in CALLS.read_text().splitlines() if line.startswith("CALL")]
    assert len(lines) == len(table()), "a line that this test cannot read"


def test_no_name_is_in_the_table_twice() -> None:
    assert len(table()) == len(set(table()))


def test_every_name_of_the_table_is_exported(release: Path) -> None:
    assert set(table()) - exported(release) == set()


def test_nothing_else_is_exported(release: Path) -> None:
    assert exported(release) - set(table()) == set()


def test_the_core_library_takes_no_name_of_libc(release: Path) -> None:
    core = release.with_name("libbyway.so")
    if not core.exists():
        pytest.skip(f"{core} is not built: ./dev build")
    assert exported(core) & set(table()) == set()
