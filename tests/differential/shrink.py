"""Makes a differing case small: fewer steps, then smaller numbers, as long as it still differs.

`differs` is asked for each candidate. Any subset of the steps is a valid case, so nothing has to be repaired.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from .case import Case, Step

Differs = Callable[[Case], bool]
SIMPLER = {"api": {"send": "send", "recv": "recv", "poll": "poll", "epoll_wait": "epoll_wait"}}


class Shrinker:
    def __init__(self, differs: Differs, seconds: float) -> None:
        self.differs = differs
        self.until = time.monotonic() + seconds
        self.tried = 0

    def still(self, case: Case) -> bool:
        if time.monotonic() > self.until:
            return False
        self.tried += 1
        return self.differs(case)

    def fewer_steps(self, case: Case) -> Case:
        """Leaves out runs of steps, halves first, then quarters, down to single ones."""
        length = max(len(case.steps) // 2, 1)
        while length >= 1:
            start = 0
            while start < len(case.steps):
                steps = list(case.steps)
                candidate = case.with_steps(steps[:start] + steps[start + length :])
                if candidate.steps and self.still(candidate):
                    case = candidate
                else:
                    start += length
            length //= 2
        return case

    def simpler_steps(self, case: Case) -> Case:
        for index in range(len(case.steps)):
            for candidate in simpler(case.steps[index]):
                steps = list(case.steps)
                steps[index] = candidate
                if self.still(case.with_steps(steps)):
                    case = case.with_steps(steps)
        return case

    def simpler_topology(self, case: Case) -> Case:
        plain = replace(case, topology="two")
        return plain if case.topology != "two" and self.still(plain) else case


def simpler(step: Step) -> list[Step]:
    """Smaller lengths, the plain call of the family, no flags: one change at a time."""
    found = []
    length = step.number("len")
    for smaller in (1, length // 4, length // 2):
        if 0 < smaller < length:
            found.append(replace(step, arguments={**step.arguments, "len": smaller}))
    plain = SIMPLER["api"].get(step.call)
    if plain and step.text("api", plain) != plain:
        found.append(replace(step, arguments={k: v for k, v in step.arguments.items() if k not in ("api", "parts")}))
    if step.number("flags") and step.call in ("send", "recv"):
        found.append(replace(step, arguments={k: v for k, v in step.arguments.items() if k != "flags"}))
    return found


def shrink(case: Case, differs: Differs, seconds: float = 60.0, last: int | None = None) -> Case:
    """`last`: the first step that differs; most often nothing behind it matters."""
    shrinker = Shrinker(differs, seconds)
    if last is not None:
        prefix = case.with_steps(list(case.steps[: last + 1]))
        case = prefix if shrinker.still(prefix) else case
    before: Case | None = None
    while before != case:
        before = case
        case = shrinker.fewer_steps(case)
        case = shrinker.simpler_topology(case)
        case = shrinker.simpler_steps(case)
    return case
