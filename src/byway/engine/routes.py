"""What the mirror answers (csrc/mirror/lookup.h): by where a packet goes."""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass
from enum import IntEnum

from byway.engine import binding
from byway.engine.stack import pack, unpack


class Answer(IntEnum):
    """`enum mirror_answer`."""

    WAY = 0
    HERE = 1
    NO_WAY = 2
    ASK_KERNEL = 3


@dataclass(frozen=True)
class Way:
    """By where, when the answer is WAY."""

    answer: Answer
    link: int = 0
    next_hop: str = ""
    source: str = ""
    mtu: int = 0


@dataclass(frozen=True)
class Adapter:
    """What a link comes down to."""

    link: int
    vlans: tuple[int, ...]  # the outer tag first
    mac: bytes


class Routes:
    """A mirror's file, read."""

    def __init__(self, fd: int, size: int = 0, *, library: str | None = None) -> None:
        self.calls = binding.library(library)
        self._memory = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        self._at = (ctypes.c_char * 0).from_address(_address_of(self._memory))

    @property
    def sequence(self) -> int:
        """Another one after every change."""
        return int(self.calls.mirror_sequence(ctypes.addressof(self._at)))

    def find(self, destination: str, source: str = "", mark: int = 0, flow: int = 0) -> Way:
        """By where a packet to `destination` goes. `flow`: a number that stays the same for a flow."""
        unspecified = "::" if ":" in destination else "0.0.0.0"
        question = binding.Question(pack(destination), pack(source or unspecified), mark, flow)
        way = binding.Way()
        answer = Answer(self.calls.mirror_find(ctypes.addressof(self._at), ctypes.byref(question), ctypes.byref(way)))
        if answer is not Answer.WAY:
            return Way(answer)
        return Way(answer, way.link, unpack(way.next_hop), unpack(way.source), way.mtu)

    def adapter(self, link: int) -> Adapter | None:
        """What carries the link's frames now; None: the kernel must send."""
        found = binding.Adapter()
        if not self.calls.mirror_adapter(ctypes.addressof(self._at), link, ctypes.byref(found)):
            return None
        return Adapter(found.link, tuple(found.vlans[: found.vlan_count]), bytes(found.mac))

    def neighbour(self, link: int, address: str) -> bytes | None:
        """Its MAC; None: it is not known."""
        mac = ctypes.create_string_buffer(6)
        found = self.calls.mirror_neighbour(ctypes.addressof(self._at), link, ctypes.byref(pack(address)), mac)
        return mac.raw if found else None


def _address_of(memory: mmap.mmap) -> int:
    """Where a mapping lies that may only be read: ctypes takes writable ones alone."""
    view = memoryview(memory)
    pointer = ctypes.c_void_p()
    python = ctypes.pythonapi
    buffer = (ctypes.c_ssize_t * 16)()  # Py_buffer, whose first member is the address
    python.PyObject_GetBuffer.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_int]
    python.PyBuffer_Release.argtypes = [ctypes.c_void_p]
    python.PyObject_GetBuffer(view, ctypes.byref(buffer), 0)
    pointer.value = buffer[0]
    python.PyBuffer_Release(ctypes.byref(buffer))
    return int(pointer.value or 0)
