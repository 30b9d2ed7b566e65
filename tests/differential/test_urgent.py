"""Urgent data, by hand: behind a ring, given away, through a relay. Each is checked against the kernel."""

from __future__ import annotations

from pathlib import Path
from socket import MSG_DONTWAIT, MSG_OOB, SHUT_WR, SO_OOBINLINE, SOL_SOCKET

import pytest

from .__main__ import LIBRARY, world_of
from .case import Case, Step, Value
from .run import Trace, play
from .test_differential import connection

POLLIN, POLLPRI = 1, 2
OPTIONS = {"attach_after": 0, "attach_wait_us": 0, "ring_bytes": 4096, "spin_us": 0}


def send(end: str, *lengths: int, flags: int = 0) -> list[Step]:
    arguments: dict[str, Value] = {"flags": flags} if flags else {}
    return [Step(f"{end}0", "send", {"fd": f"k0{end}", "len": length, **arguments}) for length in lengths]


def urgent(end: str, *lengths: int) -> list[Step]:
    return send(end, *lengths, flags=int(MSG_OOB))


def receive(end: str, length: int = 1000, flags: int = int(MSG_DONTWAIT)) -> list[Step]:
    return [Step(f"{end}0", "recv", {"fd": f"k0{end}", "len": length, "flags": flags})]


def drain(*ends: str) -> list[Step]:
    return [Step(f"{end}0", "drain", {"fd": f"k0{end}"}) for end in ends]


def marks(end: str) -> list[Step]:
    poll: dict[str, Value] = {"items": [[f"k0{end}", POLLIN | POLLPRI]], "timeout_ms": 0}
    return [Step(f"{end}0", "ioctl", {"fd": f"k0{end}", "api": "SIOCATMARK"}), Step(f"{end}0", "poll", poll)]


def wait_for(end: str, events: int) -> list[Step]:
    return [Step(f"{end}0", "poll", {"items": [[f"k0{end}", events]], "timeout_ms": 5000})]


def in_line(end: str) -> list[Step]:
    value = {"level": int(SOL_SOCKET), "name": int(SO_OOBINLINE), "value": 1}
    return [Step(f"{end}0", "setsockopt", {"fd": f"k0{end}", **value})]


def half_close(end: str) -> list[Step]:
    return [Step(f"{end}0", "shutdown", {"fd": f"k0{end}", "how": int(SHUT_WR)})]


def give_away(end: str) -> list[Step]:
    return [
        Step(f"{end}0", "socketpair", {"new": "u0.a,u0.b"}),
        Step(f"{end}0", "send_fd", {"fd": "u0.a", "passed": f"k0{end}"}),
    ]


pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not Path(LIBRARY).exists(), reason="the library is not built"),
]

ATTACHED = [*send("c", 1), *receive("s", 1), *send("s", 1), *receive("c", 1)] * 2
"""Both ends use the ring from here on."""

CASES: dict[str, list[Step]] = {
    "one behind the ring": [*ATTACHED, *send("c", 5), *urgent("c", 1), *marks("s"), *drain("s")],
    "two behind the ring": [*ATTACHED, *send("c", 5), *urgent("c", 1, 1), *marks("s"), *drain("s")],
    "one read, two behind the ring": [
        *[*ATTACHED, *send("c", 5), *urgent("c", 1), *receive("s", 1, int(MSG_OOB)), *urgent("c", 3, 1)],
        *drain("s"),
    ],
    "two behind the ring, in line": [
        *[*ATTACHED, *in_line("s"), *send("c", 5), *urgent("c", 1, 1), *receive("s"), *marks("s")],
        *drain("s"),
    ],
    "given away behind the ring": [
        *[*ATTACHED, *send("c", 5), *urgent("c", 1), *send("c", 9), *give_away("s"), *marks("s")],
        *[*receive("s", 1, int(MSG_OOB)), *drain("s")],
    ],
    "read, then given away behind the ring": [
        *[*ATTACHED, *send("c", 5), *urgent("c", 1), *send("c", 9), *receive("s", 1, int(MSG_OOB))],
        *[*give_away("s"), *marks("s"), *receive("s"), *marks("s"), *receive("s", 1, int(MSG_OOB)), *drain("s")],
    ],
    "read, given away, and one more": [
        *[*ATTACHED, *send("c", 5), *urgent("c", 1), *receive("s", 1, int(MSG_OOB)), *give_away("s")],
        *[*urgent("c", 3), *marks("s"), *drain("s")],
    ],
    "passed where the sender is not attached": [
        *[*send("c", 1), *receive("s", 9), *send("s", 1), *urgent("s", 1), *receive("c", 9), *receive("c", 9)],
        *[*marks("c"), *receive("c", 1, int(MSG_OOB)), *send("s", 1), *drain("c")],
    ],
}
RELAYED: dict[str, list[Step]] = {
    "to the peer": [
        *[*urgent("s", 1), *wait_for("c", POLLPRI), *receive("c", 1, int(MSG_OOB))],
        *[*urgent("s", 1), *wait_for("c", POLLPRI), *receive("c", 1, int(MSG_OOB)), *drain("s")],
    ],
    "from the peer": [*wait_for("s", POLLPRI), *receive("s", 1, int(MSG_OOB)), *drain("s")],
    "read before, in line now": [*drain("s")],
}
READ_BEFORE = [*receive("s", 1, int(MSG_OOB)), *in_line("s")]
"""Before a relay is made."""


def played(name: str, steps: list[Step]) -> tuple[Trace, Trace]:
    """On the kernel, and under Byway."""
    case = Case(name, "two", OPTIONS, (*connection(), *steps))
    world = world_of(str(LIBRARY))
    kernel = play(case, world.kernel)
    return kernel, play(case, world.byway_for(case), kernel)


def shown(trace: Trace) -> list[str]:
    return [str(outcome) for outcome in trace.outcomes]


@pytest.mark.parametrize("name", CASES)
def test_urgent_data_is_what_the_kernel_shows(name: str) -> None:
    kernel, byway = played(name, CASES[name])
    assert shown(byway) == shown(kernel)
    assert byway.carried.by_ring != name.endswith("not attached") and not byway.carried.relays


@pytest.mark.parametrize("name", RELAYED)
def test_a_relay_passes_urgent_data_on(name: str) -> None:
    """A half-closed sender's bytes cannot be put into the kernel behind its end."""
    before = [*ATTACHED, *send("c", 5), *urgent("c", 1), *send("c", 9)]
    before += READ_BEFORE if name.startswith("read") else []
    kernel, byway = played(name, [*before, *half_close("c"), *give_away("s"), *RELAYED[name]])
    assert shown(byway) == shown(kernel)
    assert byway.carried.relays == 1
