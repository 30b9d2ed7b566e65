"""What a case is: the processes, the options, and the steps; as JSON, and as text for people.

Words: an *actor* is a thread of control that obeys steps: `c0` and `s0` are client and server, `c1`/`s1` a second
thread in the same process, `c2`… processes forked later. A *slot* is the name of a descriptor: `k0c` is the client's
end of connection k0, `k0s` the server's, `k0c.1` a duplicate, `L0` a listener, `e0` an epoll set. A *stream* is one
direction, named like the end that sends it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

Value = int | str | list[list[int | str]]
TOPOLOGIES = ("two", "threads", "family", "one")
SLOT = re.compile(r"^(k\d+)([cs])(\.\d+)?$")


@dataclass(frozen=True)
class Step:
    """One call of one actor. `arguments` go to the agent; names of slots are made descriptors on the way."""

    actor: str
    call: str
    arguments: dict[str, Value] = field(default_factory=dict)

    def text(self, key: str, otherwise: str = "") -> str:
        value = self.arguments.get(key, otherwise)
        return value if isinstance(value, str) else otherwise

    def number(self, key: str, otherwise: int = 0) -> int:
        value = self.arguments.get(key, otherwise)
        return value if isinstance(value, int) else otherwise

    def items(self) -> list[tuple[str, int]]:
        value = self.arguments.get("items", [])
        return [(str(slot), int(events)) for slot, events in value] if isinstance(value, list) else []

    def sends(self) -> str | None:
        """The stream that this step sends on."""
        return end_of(self.text("fd")) if self.call == "send" else None

    def receives(self) -> str | None:
        """The stream that this step receives from."""
        end = end_of(self.text("fd")) if self.call in ("recv", "drain") else None
        return other_end(end) if end else None

    def __str__(self) -> str:
        parts = []
        for key, value in self.arguments.items():
            if isinstance(value, list):
                parts.append(f"{key}=" + ",".join(f"{slot}:{int(events):#x}" for slot, events in value))
            elif key in ("flags", "events") and isinstance(value, int):
                parts.append(f"{key}={value:#x}")
            else:
                parts.append(f"{key}={value}")
        return f"{self.actor}: {self.call}({', '.join(parts)})"


@dataclass(frozen=True)
class Case:
    seed: str
    topology: str
    options: dict[str, int]  # BYWAY_* for the run under Byway
    steps: tuple[Step, ...]

    def with_steps(self, steps: list[Step]) -> Case:
        return Case(self.seed, self.topology, self.options, tuple(steps))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Case:
        steps = tuple(Step(s["actor"], s["call"], s["arguments"]) for s in data["steps"])
        return Case(data["seed"], data["topology"], data["options"], steps)

    def dumps(self) -> str:
        return json.dumps(self.to_json(), indent=1)

    def __str__(self) -> str:
        head = f"case {self.seed}: topology {self.topology}, " + " ".join(
            f"BYWAY_{name.upper()}={value}" for name, value in self.options.items()
        )
        return "\n".join([head, *(f"  {i:3} {step}" for i, step in enumerate(self.steps))])


def end_of(slot: str) -> str | None:
    """`k0c.1` → `k0c`: the end of a connection that a slot stands for; None for other descriptors."""
    match = SLOT.match(slot)
    return match.group(1) + match.group(2) if match else None


def other_end(end: str) -> str:
    return end[:-1] + ("s" if end.endswith("c") else "c")


def parse_actor(actor: str) -> tuple[str, int]:
    """`c2` → the client side's actor number 2."""
    return actor[0], int(actor[1:])
