"""Fixtures of tests with real programs; tests/badinput and tests/stress use them too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.files import Files, make_files
from tests.programs.harness import KERNEL, Programs, World


@pytest.fixture(params=["kernel", "byway"])
def carrier(request: pytest.FixtureRequest) -> World:
    """The world that a test runs in: each test runs in both."""
    if request.param == "kernel":
        return KERNEL
    if missing := harness.byway_missing():
        pytest.skip(missing)
    return harness.byway_world()


@pytest.fixture(params=["kernel-kernel", "byway-byway", "byway-kernel", "kernel-byway"])
def worlds(request: pytest.FixtureRequest) -> tuple[World, World]:
    """Server's and client's world."""
    names = request.param.split("-")
    missing = harness.byway_missing()
    if "byway" in names and missing:
        pytest.skip(missing)
    server, client = (KERNEL if name == "kernel" else harness.byway_world() for name in names)
    return server, client


@pytest.fixture(params=harness.local_addresses())
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Programs]:
    """Programs of a test; afterwards none is left."""
    with harness.programs(tmp_path) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return make_files(tmp_path / "files")
