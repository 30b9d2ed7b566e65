"""The fixtures of tests/programs."""

from tests.programs.conftest import carrier, group, host, worlds

__all__ = ["carrier", "group", "host", "worlds"]
