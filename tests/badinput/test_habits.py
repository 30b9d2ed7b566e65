"""Habits of old programs that a library in the middle may stumble over: the kernel does not."""

from __future__ import annotations

import pytest

from tests.programs import harness
from tests.programs.harness import Programs, World

pytestmark = pytest.mark.timeout(90)
NATIVE = harness.ROOT / "tests" / "badinput" / "native"


@pytest.mark.parametrize("habit", ("select", "handlers", "library"))
def test_habit(group: Programs, carrier: World, habit: str) -> None:
    early = harness.compile_native(NATIVE / "early.c", "-shared", "-fPIC")
    program = harness.compile_native(
        NATIVE / "habits.c", "-Wl,--no-as-needed", str(early), f"-Wl,-rpath,{early.parent}"
    )
    assert group.run([program, habit], carrier.with_options(attach_after=1), timeout_s=40) == "ok\n"
