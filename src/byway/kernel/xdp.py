"""AF_XDP sockets: one queue of an adapter, with memory of the caller's (Linux, Documentation/networking/af_xdp.rst).

Here the socket is made, which needs CAP_NET_RAW, and CAP_NET_ADMIN to bind; used it is by csrc/vi/xdp.c, of any process
that has the descriptor and the memory.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

AF_XDP = 44
SOL_XDP = 283
RING_ENTRIES = 2048  # XDP_RING_ENTRIES of csrc/vi/xdp.h

_ADDRESS = "<HHIII"  # struct sockaddr_xdp


class Option(IntEnum):
    """Socket options of SOL_XDP (include/uapi/linux/if_xdp.h)."""

    MMAP_OFFSETS = 1
    RX_RING = 2
    TX_RING = 3
    UMEM_REGISTER = 4
    UMEM_FILL_RING = 5
    UMEM_COMPLETION_RING = 6
    STATISTICS = 7
    OPTIONS = 8


class Bind(IntFlag):
    """How a socket is bound: sxdp_flags."""

    COPY = 1 << 1
    ZERO_COPY = 1 << 2
    NEED_WAKEUP = 1 << 3


@dataclass(frozen=True)
class Umem:
    """Memory that packets lie in: page-aligned, chunks of a power of two."""

    at: int
    size: int  # bytes
    chunk_bytes: int

    def pack(self) -> bytes:
        return struct.pack("<QQIIII", self.at, self.size, self.chunk_bytes, 0, 0, 0)


@dataclass(frozen=True)
class Statistics:
    """`struct xdp_statistics`: what the kernel dropped, and why."""

    rx_dropped: int
    rx_invalid: int
    tx_invalid: int
    rx_ring_full: int
    fill_ring_empty: int
    tx_ring_empty: int


class Socket:
    """An XDP socket with its four rings. `is_zero_copy`: the driver writes packets into the memory itself."""

    def __init__(self, umem: Umem, interface: int, queue: int) -> None:
        """OSError: EBUSY: the queue has another one; EPERM; ENODEV; EINVAL: the memory is not as AF_XDP wants it."""
        self.socket = socket.socket(AF_XDP, socket.SOCK_RAW | socket.SOCK_CLOEXEC)
        try:
            self._prepare(umem)
            self.is_zero_copy = self._bind(interface, queue)
        except BaseException:
            self.close()
            raise

    def _prepare(self, umem: Umem) -> None:
        self.socket.setsockopt(SOL_XDP, Option.UMEM_REGISTER, umem.pack())
        for ring in (Option.UMEM_FILL_RING, Option.UMEM_COMPLETION_RING, Option.RX_RING, Option.TX_RING):
            self.socket.setsockopt(SOL_XDP, ring, struct.pack("<i", RING_ENTRIES))

    def _bind(self, interface: int, queue: int) -> bool:
        try:
            self._bind_as(interface, queue, Bind.ZERO_COPY)
        except OSError:
            self._bind_as(interface, queue, Bind.COPY)
            return False
        return True

    def _bind_as(self, interface: int, queue: int, how: Bind) -> None:
        address = struct.pack(_ADDRESS, AF_XDP, how | Bind.NEED_WAKEUP, interface, queue, 0)
        _bind(self.socket.fileno(), address)

    @property
    def fd(self) -> int:
        return self.socket.fileno()

    def statistics(self) -> Statistics:
        data = self.socket.getsockopt(SOL_XDP, Option.STATISTICS, 48)
        return Statistics(*struct.unpack("<6Q", data))

    def close(self) -> None:
        self.socket.close()


def _bind(fd: int, address: bytes) -> None:
    """bind(2) with an address that Python's socket module does not know."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(fd, address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
