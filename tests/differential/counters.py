"""What the library counted in a program: ring bytes and moves, read from its arena (memfd "byway.arena").

The only place that knows how to find and read an arena here; offsets come from csrc/shm/layout.h by struct formats.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

HEAD = struct.Struct("=QQQQIIII2Q")  # struct shm_arena up to `counters`
COUNTERS = struct.Struct("=64Q")
PROCESSES = 256
PROCESS_BYTES = 64
SOCKET = struct.Struct("=IIIIQ4QIIIIQQIIQQQQQQ")  # struct shm_socket up to `reserved`
SOCKET_BYTES = 256
SOCKETS_AT = HEAD.size + COUNTERS.size + PROCESSES * PROCESS_BYTES
MAGIC = 0x616E657261776279
INDEX_RING_SENT, INDEX_TO_RING, INDEX_TO_KERNEL, INDEX_RELAYS = 1, 3, 4, 19  # counters.def
FIELD_RING_SENT, FIELD_LAST_RING_SENT, FIELD_TO_RING, FIELD_TO_KERNEL = 17, 19, 21, 22


@dataclass(frozen=True)
class Carried:
    """Sums over the arenas of a run."""

    ring_bytes: int = 0
    moves_to_ring: int = 0
    moves_to_kernel: int = 0
    relays: int = 0

    def __add__(self, other: Carried) -> Carried:
        return Carried(
            self.ring_bytes + other.ring_bytes,
            self.moves_to_ring + other.moves_to_ring,
            self.moves_to_kernel + other.moves_to_kernel,
            self.relays + other.relays,
        )

    @property
    def by_ring(self) -> bool:
        return self.ring_bytes > 0 or self.moves_to_ring > 0

    @property
    def changed(self) -> bool:
        return self.moves_to_ring + self.moves_to_kernel > 0


def arena_descriptors(pid: int) -> list[str]:
    directory = f"/proc/{pid}/fd"
    found = []
    try:
        for name in os.listdir(directory):
            path = f"{directory}/{name}"
            if os.readlink(path).startswith("/memfd:byway.arena"):
                found.append(path)
    except OSError:
        pass  # the process is gone
    return found


def read_arena(view: mmap.mmap) -> Carried:
    magic, _, _, _, _, _, high, _, _, _ = HEAD.unpack_from(view, 0)
    if magic != MAGIC:
        return Carried()
    counters = COUNTERS.unpack_from(view, HEAD.size)
    ring_sent, to_ring, to_kernel = (counters[i] for i in (INDEX_RING_SENT, INDEX_TO_RING, INDEX_TO_KERNEL))
    sockets_ring = sockets_to_ring = sockets_to_kernel = 0
    for index in range(min(high, 4096)):
        fields = SOCKET.unpack_from(view, SOCKETS_AT + index * SOCKET_BYTES)
        sockets_ring += fields[FIELD_RING_SENT] + fields[FIELD_LAST_RING_SENT]
        sockets_to_ring += fields[FIELD_TO_RING]
        sockets_to_kernel += fields[FIELD_TO_KERNEL]
    return Carried(
        ring_sent + sockets_ring,
        max(to_ring, sockets_to_ring),
        max(to_kernel, sockets_to_kernel),
        counters[INDEX_RELAYS],
    )


def carried_by(pids: list[int]) -> Carried:
    """What the arenas of these processes show, each arena once."""
    total, seen = Carried(), set()
    for pid in pids:
        for path in arena_descriptors(pid):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                identity = os.fstat(fd)
                if identity.st_ino in seen:
                    continue
                seen.add(identity.st_ino)
                with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as view:
                    total += read_arena(view)
            finally:
                os.close(fd)
    return total
