"""Steering: which of an adapter's packets go to a stack, and which stay the kernel's (csrc/bpf/steer.bpf.c).

One `Steering` is an adapter's program with its maps. Filters are exact; what matches none passes as if nothing were
here.
"""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from byway import native
from byway.errors import UserError
from byway.kernel import bpf

OBJECT = "steer.bpf.o"
QUEUES_MAX = 64  # of csrc/bpf/steer.h, as all below
_ANY = bytes(16)
Kept = TypeVar("Kept", bound=bpf.Descriptor)


class Flag(IntFlag):
    """`enum steer_flag`."""

    ASK_KERNEL = 1
    GONE = 2


class Count(IntEnum):
    """`enum steer_count`."""

    PASSED = 0
    STEERED = 1
    KERNELS_OWN = 2
    NO_SOCKET = 3
    GONE = 4
    FRAGMENT = 5
    EGRESS_DROPPED = 6


NO_FLAGS = Flag(0)


@dataclass(frozen=True)
class Filter:
    """Packets to `local` from `remote`, as (address, port); no remote: from anybody. The unspecified address: any of
    its family."""

    protocol: int
    local: tuple[str, int]
    remote: tuple[str, int] | None = None

    def pack(self) -> bytes:
        """`struct flow`."""
        address = ipaddress.ip_address(self.local[0])
        remote_port = self.remote[1] if self.remote else 0
        head = struct.pack(">BBHHH", self.protocol, address.version, self.local[1], remote_port, 0)
        return head + self.pair()

    def pair(self) -> bytes:
        """The two addresses."""
        return _sixteen(self.local[0]) + (_sixteen(self.remote[0]) if self.remote else _ANY)


def _sixteen(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    if address.is_unspecified:
        return _ANY
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


class Steering:
    """The programs of one adapter. `is_native`: the driver runs them; else the kernel does, later and slower."""

    def __init__(self, interface: int) -> None:
        """UserError: the programs were not built. OSError: EBUSY: another XDP program is there; EPERM."""
        path = Path(native.path(OBJECT))
        if not path.exists():
            raise UserError(f"{path} is missing: install clang or ziglang, then {native.HOW_TO_BUILD}")
        self._held: list[bpf.Descriptor] = []
        self._exact: dict[bytes, bytes] = {}  # filters of connections, and between which addresses
        self._pairs: Counter[bytes] = Counter()
        try:
            self._load(bpf.ObjectFile(path.read_bytes()), interface)
        except BaseException:
            self.close()
            raise

    def _load(self, source: bpf.ObjectFile, interface: int) -> None:
        self.maps: dict[str, bpf.Map] = {}
        for name, shape in source.maps().items():
            self.maps[name] = self._keep(bpf.Map.create(name, shape))
        licence = source.section("license").data
        steer = source.code("xdp", self.maps)
        hush = source.code("tcx", self.maps)
        xdp = self._keep(bpf.Program.load(bpf.ProgramType.XDP, "steer", steer, licence, bpf.Attach.XDP))
        tcx = self._keep(bpf.Program.load(bpf.ProgramType.CLASSIFIER, "hush", hush, licence, bpf.Attach.TCX_EGRESS))
        self._keep(tcx.attach(bpf.Attach.TCX_EGRESS, interface))
        self.is_native = self._attach(xdp, interface)

    def _keep(self, one: Kept) -> Kept:
        self._held.append(one)
        return one

    def _attach(self, program: bpf.Program, interface: int) -> bool:
        try:
            self._keep(program.attach(bpf.Attach.XDP, interface, bpf.XdpMode.NATIVE))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self._keep(program.attach(bpf.Attach.XDP, interface, bpf.XdpMode.GENERIC))
            return False
        return True

    def give(self, stack: int, queue: int, fd: int) -> None:
        """What is steered to the stack, and comes by the queue, goes to the XDP socket `fd`."""
        self.maps["sockets"][struct.pack("<I", stack * QUEUES_MAX + queue)] = struct.pack("<I", fd)

    def add(self, wanted: Filter, stack: int, flags: Flag = NO_FLAGS) -> None:
        """Its packets are the stack's from now on; of one that is there already stack and flags change."""
        key = wanted.pack()
        if wanted.remote and key not in self._exact:
            self._exact[key] = wanted.pair()
            self._count_pair(wanted.pair(), 1)
        self.maps["flows"][key] = struct.pack("<II", stack, int(flags))

    def remove(self, wanted: Filter) -> None:
        """KeyError: there is no such filter."""
        key = wanted.pack()
        del self.maps["flows"][key]
        if key in self._exact:
            self._count_pair(self._exact.pop(key), -1)

    def _count_pair(self, pair: bytes, more: int) -> None:
        """How many filters there are between two addresses: between none, fragments are the kernel's."""
        self._pairs[pair] += more
        if self._pairs[pair]:
            self.maps["pairs"][pair] = struct.pack("<I", self._pairs[pair])
        else:
            del self.maps["pairs"][pair]

    def counts(self) -> dict[str, int]:
        """How many packets met each fate."""
        return {one.name.lower(): self.maps["counts"].sum(struct.pack("<I", int(one))) for one in Count}

    def close(self) -> None:
        """The adapter is the kernel's again."""
        for one in reversed(self._held):
            one.close()
        self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
