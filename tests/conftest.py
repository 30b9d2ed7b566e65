"""What every test may use."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import variant


def pytest_configure() -> None:
    """A shell's background jobs ignore SIGINT, and so would the programs that a test ends by it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def native_library() -> Path:
    """The library under test. Builds nothing: `./dev test` did, or `./dev build` does."""
    path = variant.library()
    if not path.exists():
        pytest.skip(f"{path} is not built: ./dev build {variant.name()}")
    return path


@pytest.fixture(autouse=True)
def no_sanitizer_report() -> Iterator[None]:
    """Under `./dev asan` and `./dev ubsan`: nothing that a test started was found at fault."""
    yield
    if variant.is_sanitized():
        reports = variant.take_reports()
        assert not reports, "\n".join(reports)
