"""Byway against the kernel on random sequences, and the tester against itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import variant

from .__main__ import LIBRARY, work
from .case import Case, Step
from .check import Verdict, World, check
from .generate import generate
from .shrink import shrink
from .workers import workers

SEED = 20
CASES = 150
DIFFERING_ENOUGH = 3
KERNEL = World({}, {})
BYWAY = World({}, {"LD_PRELOAD": variant.preload()})

needs_library = pytest.mark.skipif(not Path(LIBRARY).exists(), reason="the library is not built")


def verdicts(cases: int, world: World) -> list[Verdict]:
    """Up to the third case that differs: those take long, and three tell enough."""
    found: list[Verdict] = []
    with workers(2) as pool:
        for verdict in pool.imap_unordered(work, [(SEED, number, world) for number in range(cases)], 2):
            found.append(verdict)
            if sum(each.differs for each in found) >= DIFFERING_ENOUGH:
                break
    return found


def told(found: list[Verdict]) -> str:
    """`./dev diff --seed SEED --case K` shows each again, shrunk."""
    return "\n".join(f"case {v.case.seed}: {v.differences[0]}" for v in found if v.differs)


# -- Byway ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@needs_library
def test_byway_shows_what_the_kernel_shows() -> None:
    found = verdicts(CASES, BYWAY)
    assert not told(found)
    assert sum(v.carried.by_ring for v in found) >= CASES / 2
    assert sum(v.carried.changed for v in found) >= CASES / 2


@needs_library
def test_a_one_shot_shows_the_end_of_a_dead_peer_beside_its_bytes() -> None:
    """Its bytes are in the ring, and the program has heard of its death before it asks."""
    warm_up = [
        step
        for _ in range(4)
        for step in (
            Step("c0", "send", {"fd": "k0c", "len": 1}),
            Step("s0", "recv", {"fd": "k0s", "len": 9}),
            Step("s0", "send", {"fd": "k0s", "len": 1}),
            Step("c0", "recv", {"fd": "k0c", "len": 9}),
        )
    ]
    end = [
        Step("s0", "send", {"fd": "k0s", "len": 2000}),
        Step("s0", "kill"),
        Step("c0", "send", {"fd": "k0c", "len": 10, "flags": 0x4000}),
        Step("c0", "epoll_create", {"new": "e0"}),
        Step("c0", "epoll_ctl", {"epfd": "e0", "fd": "k0c", "op": 1, "events": 0x40002001, "data": 7}),
        Step("c0", "epoll_wait", {"epfd": "e0", "timeout_ms": 0}),
    ]
    verdict = check(Case("by hand", "two", {"attach_after": 0}, (*connection(), *warm_up, *end)), BYWAY, quick=True)
    assert verdict.carried.by_ring
    assert not verdict.differs, verdict.differences[0]


# -- the tester itself ----------------------------------------------------------------------------------------


def test_the_kernel_agrees_with_itself() -> None:
    assert not told(verdicts(60, KERNEL))


def test_a_case_is_made_from_its_seed_alone() -> None:
    assert generate(3, 7) == generate(3, 7)
    assert generate(3, 7) != generate(3, 8)


def test_a_case_survives_json() -> None:
    case = generate(5, 5)
    assert Case.from_json(json.loads(case.dumps())) == case


def connection() -> list[Step]:
    return [
        Step("s0", "socket", {"new": "L0"}),
        Step("s0", "bind", {"fd": "L0"}),
        Step("s0", "listen", {"fd": "L0"}),
        Step("s0", "name", {"fd": "L0"}),
        Step("c0", "socket", {"new": "k0c"}),
        Step("c0", "connect", {"fd": "k0c", "port_of": "L0"}),
        Step("s0", "accept", {"fd": "L0", "new": "k0s"}),
    ]


def case_of(*steps: Step) -> Case:
    return Case("by hand", "two", {}, (*connection(), *steps))


@pytest.mark.parametrize(
    ("lie", "step"),
    [
        ("FIONREAD", Step("s0", "ioctl", {"fd": "k0s", "api": "FIONREAD"})),
        ("byte", Step("s0", "recv", {"fd": "k0s", "len": 5})),
        ("lost", Step("s0", "recv", {"fd": "k0s", "len": 5})),
    ],
)
def test_an_agent_that_lies_is_caught_and_the_case_shrunk(lie: str, step: Step) -> None:
    world = World({}, {"BYWAY_AGENT_LIE": lie})
    idle = [Step("c0", "name", {"fd": "k0c"}), Step("s0", "poll", {"items": [["k0s", 1]], "timeout_ms": 0})]
    case = case_of(*idle, Step("c0", "send", {"fd": "k0c", "len": 50}), step, *idle)
    assert check(case, world).differs
    small = shrink(case, lambda candidate: check(candidate, world, quick=True).differs)
    calls = [each.call for each in small.steps]
    assert len(small.steps) <= 10 and "send" in calls and step.call in calls and "poll" not in calls


def test_a_sleeper_that_is_never_woken_is_told() -> None:
    """On one side the receive sleeps for ever: nothing was sent to it."""
    receive = Step("s0", "recv", {"fd": "k0s", "len": 5})
    world = World({}, {"BYWAY_AGENT_LIE": "asleep"})
    verdict = check(case_of(receive, Step("c0", "send", {"fd": "k0c", "len": 5})), world, quick=True)
    assert verdict.differs and "blocked" in verdict.differences[0].byway


def test_the_shrinker_keeps_only_what_matters() -> None:
    steps = [Step("c0", "send", {"len": number}) for number in range(40)]
    case = Case("by hand", "one", {}, tuple(steps))

    def differs(candidate: Case) -> bool:
        lengths = [step.number("len") for step in candidate.steps]
        return 7 in lengths and any(length >= 16 for length in lengths)

    small = shrink(case, differs)
    assert sorted(step.number("len") for step in small.steps) in ([7, length] for length in range(16, 32))
    assert small.topology == "two"


def test_a_large_transfer_is_compared_as_a_stream() -> None:
    """How much one call does is open; that every byte arrives is not."""
    sends = [Step("c0", "send", {"fd": "k0c", "len": 300_000, "flags": 0x40}) for _ in range(3)]
    receives = [Step("s0", "recv", {"fd": "k0s", "len": 70_000, "flags": 0x40}) for _ in range(2)]
    assert not check(case_of(*sends, *receives, Step("s0", "drain", {"fd": "k0s"})), KERNEL).differs
