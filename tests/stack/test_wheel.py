"""The wheel gives out what is due, all of it and nothing else, whatever was set and however far time jumps."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as some

from tests.programs import harness

NODES = 64
FAR = 1 << 26  # more than the wheel reaches
DISTANCES = some.one_of(
    some.integers(0, 5),
    some.integers(0, 200),
    some.integers(0, 10_000),
    some.sampled_from([63, 64, 65, 4095, 4096, 4097, 262_143, 262_144, 262_145, (1 << 24) - 1, 1 << 24, (1 << 24) + 1]),
    some.integers(0, FAR),
)
STEPS = some.lists(
    some.one_of(
        some.tuples(some.just("set"), some.integers(0, NODES - 1), DISTANCES),
        some.tuples(some.just("clear"), some.integers(0, NODES - 1), some.just(0)),
        some.tuples(some.just("take"), some.just(0), DISTANCES),
        some.tuples(some.just("rebuild"), some.just(0), some.just(0)),
    ),
    max_size=80,
)


class Wheel:
    """tests/native/wheels.c, running."""

    def __init__(self) -> None:
        source = harness.CSRC / "stack" / "wheel.c"
        program = harness.compile_native(harness.NATIVE / "wheels.c", "-fsanitize=address,undefined", str(source))
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str) -> list[int]:
        self.tell(line)
        assert self.process.stdout
        return [int(word) for word in self.process.stdout.readline().split()]


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_against_a_table(steps: list[tuple[str, int, int]]) -> None:
    wheel, now, deadlines = Wheel(), 0, dict[int, int]()
    for what, node, distance in steps:
        if what == "set":
            deadlines[node] = max(now + distance - 2, 0)
            wheel.tell(f"set {node} {deadlines[node]}")
        elif what == "clear":
            deadlines.pop(node, None)
            wheel.tell(f"set {node} -1")
        elif what == "rebuild":
            wheel.tell("rebuild")
        else:
            now += distance
            due = {node for node, deadline in deadlines.items() if deadline <= now}
            assert set(wheel.ask(f"take {now}")) == due
            deadlines = {node: deadline for node, deadline in deadlines.items() if node not in due}
            (coming,) = wheel.ask("next")
            assert (coming == -1) == (not deadlines)
            assert not deadlines or now < coming <= min(deadlines.values())
    assert wheel.process.stdin
    wheel.process.stdin.close()
    assert wheel.process.wait(10) == 0


def test_all_that_is_due_at_once_comes_in_the_order_of_slots() -> None:
    wheel = Wheel()
    for node, deadline in enumerate([5000, 70, 3, 300_000]):
        wheel.tell(f"set {node} {deadline}")
    assert wheel.ask("take 400000") == [2, 1, 0, 3]
    wheel.process.kill()
