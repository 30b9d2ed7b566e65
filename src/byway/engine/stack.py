"""A stack and its sockets as Python objects. Time is handed in by whoever drives them: `stack.now_ns` is what every
call is told.

Errors are OSError with the errno that the call would set; what would wait is BlockingIOError.
"""

from __future__ import annotations

import ctypes
import ipaddress
import mmap
import os
import select
from dataclasses import dataclass
from typing import NamedTuple

from byway.engine import binding

STATES = [
    "CLOSED",
    "LISTEN",
    "SYN_SENT",
    "SYN_RECEIVED",
    "ESTABLISHED",
    "FIN_WAIT_1",
    "FIN_WAIT_2",
    "CLOSE_WAIT",
    "CLOSING",
    "LAST_ACK",
    "TIME_WAIT",
]
_BUFFER_BYTES = 1 << 16
READ_HANG_UP = 0x2000


class Place(NamedTuple):
    """An address, as text, and a port."""

    address: str
    port: int


@dataclass(frozen=True)
class Datagram:
    """What a UDP socket received."""

    payload: bytes
    source: Place
    destination: str
    interface: int
    bytes: int  # of the whole datagram, however many were asked for


def pack(text: str) -> binding.Address:
    """An address as the engine has it."""
    address = ipaddress.ip_address(text)
    packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    return binding.Address.from_buffer_copy(packed)


def unpack(address: binding.Address) -> str:
    found = ipaddress.IPv6Address(bytes(address.bytes))
    return str(found.ipv4_mapped or found)


def checked(result: int) -> int:
    """The result of a call, or the error that it is."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


class Stack:
    """A stack in memory of its own, or in the file `fd`, which is made as large as it must be, so that other processes
    can map it. `settings` are the fields of binding.Settings."""

    def __init__(
        self,
        now_ns: int = 0,
        *,
        library: str | None = None,
        secret: tuple[int, int] = (1, 2),
        fd: int = -1,
        **settings: int,
    ) -> None:
        self.calls = binding.library(library)
        self.now_ns = now_ns
        wanted = binding.Settings(**settings)
        wanted.secret[:] = secret
        size = checked(self.calls.stack_bytes(ctypes.byref(wanted)))
        self.settings = wanted
        if fd >= 0:
            os.ftruncate(fd, size)
        self._memory = mmap.mmap(fd, size)
        self.at = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        checked(self.calls.stack_make(self.at, size, ctypes.byref(wanted), now_ns))
        self._out = ctypes.create_string_buffer(binding.CELL_BYTES)
        self._out_at = ctypes.addressof(self._out)
        self._interface = ctypes.c_uint32()
        self._interface_at = ctypes.byref(self._interface)
        self.buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
        self.buffer_at = ctypes.addressof(self.buffer)

    def cells(self) -> tuple[int, int]:
        """Where its cells lie, and how many bytes they are together."""
        count = ctypes.c_uint64()
        offset = self.calls.stack_cells(self.at, ctypes.byref(count))
        return self.at + offset, count.value

    def add_address(self, address: str) -> None:
        checked(self.calls.stack_add_address(self.at, ctypes.byref(pack(address))))

    def receive(self, *packets: bytes, interface: int = 0) -> None:
        """IP packets have come together. Those for which there is no memory are lost."""
        lengths = (ctypes.c_uint32 * len(packets))(*map(len, packets))
        self.calls.stack_receive(self.at, b"".join(packets), lengths, len(packets), interface, self.now_ns)

    def run_timers(self) -> int:
        """Does what is due; when to be called next, binding.NEVER: not before something else happens."""
        return int(self.calls.stack_run_timers(self.at, self.now_ns))

    def transmit(self) -> bytes | None:
        """The next packet that is to leave."""
        count = self.calls.stack_transmit(self.at, self._out_at, binding.CELL_BYTES, self._interface_at)
        return ctypes.string_at(self._out_at, count) if count else None

    def _state(self, first: int, count: int) -> list[int]:
        value = ctypes.c_uint64()
        found = []
        for number in range(first, first + count):
            checked(self.calls.stack_state(self.at, number, ctypes.byref(value)))
            found.append(value.value)
        return found

    @property
    def free_cells(self) -> int:
        return self._state(0, 1)[0]

    @property
    def free_endpoints(self) -> int:
        return self._state(1, 1)[0]

    def counters(self) -> dict[str, int]:
        """What the stack has counted, by name."""
        names = binding.counters()
        return dict(zip(names, self._state(100, len(names)), strict=True))

    def drops(self) -> dict[str, int]:
        """Packets that were not taken, by why."""
        names = binding.drops()
        return dict(zip(names, self._state(1000, len(names)), strict=True))

    def states(self) -> dict[int, str]:
        """The state of each TCP socket that there is, those that nobody has accepted among them, by number."""
        info, found = binding.Info(), {}
        for number in range(1, self.settings.endpoints):
            if self.calls.tcp_info(self.at, number, ctypes.byref(info)) == 0:
                found[number] = STATES[info.state]
        return found

    def tcp(self) -> TcpSocket:
        return TcpSocket(self, checked(self.calls.socket_open(self.at, binding.PROTOCOL_TCP)))

    def udp(self) -> UdpSocket:
        return UdpSocket(self, checked(self.calls.socket_open(self.at, binding.PROTOCOL_UDP)))


class Socket:
    """A socket of a stack, by its number."""

    def __init__(self, stack: Stack, number: int) -> None:
        self.stack = stack
        self.calls = stack.calls
        self.number = number

    def bind(self, address: str, port: int) -> None:
        checked(self.calls.socket_bind(self.stack.at, self.number, ctypes.byref(pack(address)), port))

    def close(self) -> None:
        self.calls.socket_close(self.stack.at, self.number, self.stack.now_ns)

    def ready(self) -> int:
        """The bits of poll(2)."""
        return int(self.calls.socket_ready(self.stack.at, self.number))

    def is_readable(self) -> bool:
        return bool(self.ready() & select.POLLIN)

    def take_error(self) -> int:
        return int(self.calls.socket_take_error(self.stack.at, self.number))

    def local(self) -> Place:
        return self._place(False)

    def remote(self) -> Place:
        return self._place(True)

    def _place(self, is_remote: bool) -> Place:
        address = binding.Address()
        port = checked(self.calls.socket_address(self.stack.at, self.number, is_remote, ctypes.byref(address)))
        return Place(unpack(address), port)

    def set(self, option: str, value: int) -> None:
        """An option of csrc/engine/options.def, by name."""
        checked(self.calls.socket_set(self.stack.at, self.number, binding.options()[option], value, self.stack.now_ns))

    def get(self, option: str) -> int:
        return checked(self.calls.socket_get(self.stack.at, self.number, binding.options()[option]))


class TcpSocket(Socket):
    """A connection or a listener."""

    def listen(self, backlog: int = 128) -> None:
        checked(self.calls.tcp_listen(self.stack.at, self.number, backlog))

    def connect(self, address: str, port: int) -> None:
        """Begins a connection."""
        remote = ctypes.byref(pack(address))
        checked(self.calls.tcp_connect(self.stack.at, self.number, remote, port, self.stack.now_ns))

    def accept(self) -> TcpSocket:
        return TcpSocket(self.stack, checked(self.calls.tcp_accept(self.stack.at, self.number)))

    def send(self, data: bytes, flags: int = 0) -> int:
        return checked(self.calls.tcp_send(self.stack.at, self.number, data, len(data), flags, self.stack.now_ns))

    def receive(self, most: int = _BUFFER_BYTES, flags: int = 0) -> bytes:
        """Bytes; none: the end."""
        stack = self.stack
        most = min(most, _BUFFER_BYTES)
        count = checked(self.calls.tcp_receive(stack.at, self.number, stack.buffer_at, most, flags, stack.now_ns))
        return ctypes.string_at(stack.buffer_at, count)

    def shutdown(self, how: int) -> None:
        checked(self.calls.tcp_shutdown(self.stack.at, self.number, how, self.stack.now_ns))

    def abort(self) -> None:
        checked(self.calls.tcp_abort(self.stack.at, self.number, self.stack.now_ns))

    def at_mark(self) -> bool:
        return bool(checked(self.calls.tcp_at_mark(self.stack.at, self.number)))

    def info(self) -> binding.Info:
        info = binding.Info()
        checked(self.calls.tcp_info(self.stack.at, self.number, ctypes.byref(info)))
        return info

    @property
    def state(self) -> str:
        return STATES[int(self.info().state)]


class UdpSocket(Socket):
    """A datagram socket."""

    def connect(self, address: str, port: int) -> None:
        checked(self.calls.udp_connect(self.stack.at, self.number, ctypes.byref(pack(address)), port))

    def send(self, data: bytes, to: Place | None = None) -> int:
        address = ctypes.byref(pack(to.address)) if to else None
        port = to.port if to else 0
        return checked(self.calls.udp_send(self.stack.at, self.number, data, len(data), address, port))

    def receive(self, most: int = _BUFFER_BYTES, flags: int = 0) -> Datagram:
        stack, arrival = self.stack, binding.Arrival()
        count = checked(
            self.calls.udp_receive(stack.at, self.number, stack.buffer_at, most, flags, ctypes.byref(arrival))
        )
        source = Place(unpack(arrival.source), arrival.source_port)
        payload = ctypes.string_at(stack.buffer_at, count)
        return Datagram(payload, source, unpack(arrival.destination), arrival.interface, arrival.bytes)

    def join(self, group: str, interface: int = 0) -> None:
        checked(self.calls.udp_join(self.stack.at, self.number, ctypes.byref(pack(group)), interface))

    def leave(self, group: str, interface: int = 0) -> None:
        checked(self.calls.udp_leave(self.stack.at, self.number, ctypes.byref(pack(group)), interface))
