"""Virtual interfaces as Python objects: where a stack's packets come from and go to.

`link` joins two stacks in memory.
"""

from __future__ import annotations

import ctypes
import mmap

from byway.engine import binding
from byway.engine.stack import Stack, TcpSocket, checked, pack


class Link:
    """Two ends in memory that a process made by fork shares."""

    def __init__(self, *, library: str | None = None) -> None:
        self.calls = binding.library(library)
        self.memory = mmap.mmap(-1, self.calls.link_bytes())
        self.at = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.calls.link_make(self.at)

    def open(self, side: int, stack: Stack, interface: int = 0) -> Vi:
        """The end of `side` 0 or 1, for the stack. OSError: there is no such side, or the memory is no link."""
        vi = binding.Vi()
        checked(self.calls.link_open(ctypes.byref(vi), self.at, side, interface))
        return Vi(vi, stack)


class Vi:
    """A stack's way to others."""

    def __init__(self, vi: binding.Vi, stack: Stack) -> None:
        self._vi = ctypes.byref(vi)
        self.stack = stack
        self._memory: object = None  # what the kind of interface has of its own

    @classmethod
    def of_adapter(cls, stack: Stack, fd: int, mac: bytes, interface: int = 0, *, is_veth: bool = False) -> Vi:
        """By the XDP socket `fd`, whose memory the stack's cells are. `is_veth`: whoever sends there may leave
        checksums to an adapter that there is not. OSError: as getsockopt(2) and mmap(2)."""
        vi, memory = binding.Vi(), ctypes.create_string_buffer(stack.calls.xdp_bytes())
        at = ctypes.addressof(memory)
        checked(stack.calls.xdp_open(ctypes.byref(vi), at, stack.at, fd, mac, interface, int(is_veth)))
        one = cls(vi, stack)
        one._memory = memory
        return one

    def neighbour(self, address: str, mac: bytes) -> None:
        """Packets for the address go there. OSError: ENOSPC."""
        checked(self.stack.calls.xdp_neighbour(self._vi, self.stack.at, ctypes.byref(pack(address)), mac))

    def poll(self) -> int:
        """What has come is judged, what is due is done, what waits leaves. How many packets came and left."""
        return int(self.stack.calls.vi_poll(self._vi, self.stack.at, self.stack.now_ns))

    def send(self, sock: TcpSocket, data: bytes, flags: int = 0) -> int:
        """TcpSocket.send, and what leaves because of it is on its way."""
        stack = self.stack
        return checked(stack.calls.vi_send(self._vi, stack.at, sock.number, data, len(data), flags, stack.now_ns))
