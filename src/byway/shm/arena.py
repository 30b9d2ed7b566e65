"""Reads an arena: the processes and sockets of one family, and its counters (struct shm_arena).

Its family goes on writing while we read, so a slot is a picture of one moment, and every index in it is checked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from byway.shm import memory, tables
from byway.shm.layout import Layout, View, installed

FILE_PREFIX = "/memfd:byway.arena"
CHILD_PENDING = 2**64 - 1  # owner of a slot whose process is being forked


@dataclass(frozen=True)
class Process:
    """One process slot in use."""

    index: int
    pid: int  # in its own namespace
    start_time: int
    pid_namespace: int
    name: str


@dataclass(frozen=True)
class Socket:
    """One socket slot in use."""

    index: int
    state: str  # of enum shm_socket_state: open, listen, offered, joined, attached, never
    reason: int
    descriptor: int
    owner: int  # a process slot
    cookie: int
    holders: frozenset[int]  # process slots
    channel: int
    end: int
    former_sent_bytes: int  # by rings, of channels that it has left
    former_received_bytes: int
    last_sent_bytes: int  # by the present ring, as noted now and then
    last_received_bytes: int
    moves_to_ring: int
    moves_to_kernel: int

    changes_taken: int  # of the direction that it receives

    @property
    def is_attached(self) -> bool:
        return self.state == "attached"

    @property
    def send_carrier(self) -> str:
        return "ring" if self.is_attached and self.moves_to_ring > self.moves_to_kernel else "kernel"

    @property
    def receive_carrier(self) -> str:
        return "ring" if self.is_attached and self.changes_taken & 1 else "kernel"


class Arena:
    """One mapped arena of our own version."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.layout: Layout = view.layout
        self.states = state_names(view.layout)

    def processes(self) -> dict[int, Process]:
        """The slots in use, by index."""
        found = {}
        for index in range(self.layout.constants["SHM_PROCESSES_MAX"]):
            slot = self.view.inner("processes", index)
            owner = slot.integer("owner")
            if owner not in (0, CHILD_PENDING):
                found[index] = Process(
                    index, owner, slot.integer("start_time"), slot.integer("pidns"), slot.text("name")
                )
        return found

    def sockets(self) -> Iterator[Socket]:
        high = min(self.view.integer("socket_high"), self.layout.constants["SHM_SOCKETS_MAX"])
        for index in range(high):
            slot = self.view.inner("sockets", index)
            state = self.states.get(slot.integer("state"))
            if state is not None:
                yield read_socket(slot, index, state)

    def counters(self) -> dict[str, int]:
        values = self.view.integers("counters")
        return {name: values[counter.number] for name, counter in tables.counters().items()}


def state_names(layout: Layout) -> dict[int, str]:
    """The states of a slot in use, by number, in small letters."""
    states = layout.enums["shm_socket_state"]
    return {value: name.removeprefix("SHM_SOCKET_").lower() for name, value in states.items() if value}


def holder_slots(words: tuple[int, ...]) -> frozenset[int]:
    return frozenset(64 * word + bit for word, bits in enumerate(words) for bit in range(64) if bits >> bit & 1)


def read_socket(slot: View, index: int, state: str) -> Socket:
    return Socket(
        index=index,
        state=state,
        reason=slot.integer("reason"),
        descriptor=slot.integer("descriptor"),
        owner=slot.integer("owner"),
        cookie=slot.integer("cookie"),
        holders=holder_slots(slot.integers("holders")),
        channel=slot.integer("channel"),
        end=slot.integer("end") & 1,
        former_sent_bytes=slot.integer("ring_sent_bytes"),
        former_received_bytes=slot.integer("ring_received_bytes"),
        last_sent_bytes=slot.integer("last_ring_sent_bytes"),
        last_received_bytes=slot.integer("last_ring_received_bytes"),
        moves_to_ring=slot.integer("moves_to_ring"),
        moves_to_kernel=slot.integer("moves_to_kernel"),
        changes_taken=slot.integer("changes_taken"),
    )


def open_arena(path: str) -> Arena | None:
    """The arena behind a descriptor; None when it is gone, not ours to read, or of another version of Byway."""
    layout = installed()
    mapped = memory.map_file(path)
    if mapped is None or len(mapped) < layout.structs["shm_arena"].size_bytes:
        return None
    view = View(mapped, layout, "shm_arena")
    is_ours = (
        view.integer("magic") == layout.constants["SHM_MAGIC_ARENA"] and view.integer("abi_hash") == layout.abi_hash
    )
    return Arena(view) if is_ours else None
