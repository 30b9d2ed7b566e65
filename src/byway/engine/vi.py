"""Virtual interfaces as Python objects: where a stack's packets come from and go to.

`link` joins two stacks in memory.
"""

from __future__ import annotations

import ctypes
import mmap

from byway.engine import binding
from byway.engine.stack import Stack, TcpSocket, checked


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

    def poll(self) -> int:
        """What has come is judged, what is due is done, what waits leaves. How many packets came and left."""
        return int(self.stack.calls.vi_poll(self._vi, self.stack.at, self.stack.now_ns))

    def send(self, sock: TcpSocket, data: bytes, flags: int = 0) -> int:
        """TcpSocket.send, and what leaves because of it is on its way."""
        stack = self.stack
        return checked(stack.calls.vi_send(self._vi, stack.at, sock.number, data, len(data), flags, stack.now_ns))
