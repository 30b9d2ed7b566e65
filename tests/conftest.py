"""What every test may use."""

from pathlib import Path

import pytest

from tests import variant


@pytest.fixture(scope="session")
def native_library() -> Path:
    """The library under test. Builds nothing: `./dev test` did, or `./dev build` does."""
    path = variant.library()
    if not path.exists():
        pytest.skip(f"{path} is not built: ./dev build {variant.name()}")
    return path
