"""The tests are tested: a library with one fault is found by the scenario that is there for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.runner import Oracle, run_case
from tests.crash.scenarios import MEGABYTE, SCENARIOS, draw_shape
from tests.programs import harness
from tests.programs.harness import World

FAULTS = {
    "lost_byte": "write_close",
    "doubled_byte": "write_killed",
    "early_end": "duplex_then_close",
    "lost_reset": "reader_killed_with_bytes_unread",
    "wrong_errno": "full_then_reader_killed",
    "hang": "write_close",
    "left_process": "write_exit",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fault", ["none", *FAULTS])
def test_fault_is_found(fault: str, tmp_path: Path) -> None:
    library = harness.compile_native(
        harness.ROOT / "tests" / "crash" / "native" / "faulty.c", "-shared", "-fPIC", "-Wno-stringop-overflow"
    )
    name = FAULTS.get(fault, "write_close")
    shape = draw_shape(3, ["127.0.0.1"], MEGABYTE, MEGABYTE)
    shape = replace(shape, receive_mode="block", receive_chunk_bytes=1000, chunk_bytes=1000, options={}, warm_turns=3)
    faulty = World("faulty", library, {"FAULT": fault})
    outcome = run_case(SCENARIOS[name](shape), shape, (faulty, faulty), tmp_path, 4.0)
    assert Oracle(name, tmp_path, 10.0, rounds_most=3).allows(shape, outcome) == (fault == "none"), outcome
