"""Writes what passes in a world as pcapng, which Wireshark reads (draft-ietf-opsawg-pcapng): raw IP packets, with
virtual times."""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from byway.sim.world import BEGINS_NS, Host

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
_RAW_IP = 101  # LINKTYPE_RAW
_OPTION_NAME, _OPTION_RESOLUTION = 2, 9
_NANOSECONDS = b"\x09"


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


class Capture:
    """An observer of a world. Each host is an interface; a packet is written where it leaves."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._interfaces: dict[int, int] = {}
        self._file.write(_block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _interface(self, host: Host) -> int:
        if id(host) not in self._interfaces:
            self._interfaces[id(host)] = len(self._interfaces)
            options = _option(_OPTION_NAME, host.addresses[0].encode()) + _option(_OPTION_RESOLUTION, _NANOSECONDS)
            self._file.write(_block(_INTERFACE, struct.pack("<HHI", _RAW_IP, 0, 0) + options + _option(0, b"")))
        return self._interfaces[id(host)]

    def leaves(self, host: Host, packet: bytes) -> None:
        when = host.world.now_ns - BEGINS_NS
        head = struct.pack("<IIIII", self._interface(host), when >> 32, when & 0xFFFFFFFF, len(packet), len(packet))
        self._file.write(_block(_PACKET, head + packet + bytes(-len(packet) % 4)))

    def reaches(self, host: Host, packet: bytes) -> None:
        """Seen where it left."""
