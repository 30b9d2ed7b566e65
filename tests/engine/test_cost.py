"""What it costs to receive and acknowledge a segment of 64 bytes that comes in order, as callgrind counts: from the
link to the stack, and with the acknowledgement back to the link."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.engine.native_engine import compiled, output_of

RUN_TIMEOUT_S = 60
TOGETHER = 64  # STACK_BATCH of csrc/stack/stack.h: what the stack looks at together
INSTRUCTIONS_MAX = 400
ALONE_MAX = 1150  # nobody shares the lock, the poll, or an acknowledgement with more than one other


def instructions(segments: int, place: Path) -> float:
    """For each segment, when so many come together."""
    output = place / f"{segments}.out"
    program = compiled("segment_cost")
    command = ["valgrind", "-q", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={output}"]
    received = int(output_of([*command, program, str(segments)], RUN_TIMEOUT_S))
    total = re.search(r"^(?:summary|totals): (\d+)$", output.read_text(), re.MULTILINE)
    assert total
    return int(total[1]) / received


@pytest.mark.parametrize(("segments", "most"), [(1, ALONE_MAX), (8, 600), (32, 450), (TOGETHER, INSTRUCTIONS_MAX)])
def test_an_expected_segment_costs_little(segments: int, most: int, tmp_path: Path) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    found = instructions(segments, tmp_path)
    print(f"{segments} together: {found:,.0f} instructions for each")
    assert found <= most
