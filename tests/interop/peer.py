"""lwIP as a host of the simulation: the same links, observers and programs serve it as serve Byway's own hosts.

LwipStack and LwipSocket have the calls of byway.engine.stack.Stack and TcpSocket that hosts, servers and talkers use,
and derive from them so that a type checker takes them; what else those classes have does not work here. Time is the
world's: lwIP is told it before each call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections import Counter
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_uint8, c_uint16, c_uint32, c_void_p
from pathlib import Path
from types import TracebackType

from byway.engine import binding
from byway.engine.stack import STATES, Stack, TcpSocket
from byway.sim import wire
from byway.sim.link import Corrupted
from byway.sim.watch import ViolationError, Watch
from byway.sim.world import Host, World
from tests.programs import harness

INCLUDE = Path("/usr/include/lwip")
SOURCE = Path(__file__).parent / "native" / "lwip_peer.c"
WINDOW_BYTES = 65535  # what Debian's lwIP offers (TCP_WND)
NS_PER_MS = 1_000_000
PACKET_BYTES = 2048
BUFFER_BYTES = 1 << 16
MS_MASK = 0xFFFFFFFF

WOULD_BLOCK = -7
ERRORS = {  # err_t, as a program of Linux would see it; lwIP says "aborted" where it gives up
    WOULD_BLOCK: errno.EAGAIN,
    -1: errno.ENOMEM,
    -4: errno.EHOSTUNREACH,
    -8: errno.EADDRINUSE,
    -11: errno.EPIPE,
    -13: errno.ETIMEDOUT,
    -14: errno.ECONNRESET,
}
CALLS: dict[str, tuple[object, list[object]]] = {
    "make": (c_int, [c_char_p, c_char_p, c_uint32, c_uint32, c_uint32]),
    "set_now": (None, [c_uint32]),
    "input": (c_int, [c_char_p, c_uint32]),
    "output": (c_int, [c_void_p, c_uint32]),
    "run_timers": (c_int, []),
    "connections": (c_int, []),
    "open": (c_void_p, [c_char_p, c_uint16]),
    "connect": (c_int, [c_void_p, c_char_p, c_uint16]),
    "listen": (c_int, [c_void_p, c_uint8]),
    "accept": (c_void_p, [c_void_p]),
    "state": (c_uint32, [c_void_p]),
    "ready": (c_uint32, [c_void_p]),
    "take_error": (c_int, [c_void_p]),
    "send": (c_int, [c_void_p, c_char_p, c_uint32]),
    "receive": (c_int, [c_void_p, c_void_p, c_uint32]),
    "withhold": (None, [c_void_p, c_uint32]),
    "set_nodelay": (None, [c_void_p, c_int]),
    "set_keepalive": (None, [c_void_p, c_uint32]),
    "shut_down": (c_int, [c_void_p]),
    "close": (c_int, [c_void_p]),
    "abort": (None, [c_void_p]),
}


def missing() -> str | None:
    """Why there is no lwIP, or None."""
    return None if (INCLUDE / "lwip" / "tcp.h").exists() else "lwIP is not installed: apt-get install liblwip-dev"


def checked(result: int) -> int:
    """The result of a call, or the error that it is."""
    if result < 0:
        number = ERRORS.get(result, errno.EIO)
        raise OSError(number, f"lwIP: {os.strerror(number)} ({result})")
    return result


class Library:
    """native/lwip_peer.c with lwIP behind it, loaded afresh: lwIP's state is global, and goes with it."""

    def __init__(self) -> None:
        path = harness.compile_native(SOURCE, "-shared", "-fPIC", "-isystem", str(INCLUDE), "-llwip")
        self._loaded = ctypes.CDLL(str(path))
        for name, (result, arguments) in CALLS.items():
            function = getattr(self._loaded, f"lwip_peer_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> ctypes._NamedFuncPointer:
        raise AttributeError(name)

    def unload(self) -> None:
        close = ctypes.CDLL(None).dlclose
        close.argtypes = [c_void_p]
        close(self._loaded._handle)


class LwipStack(Stack):
    """lwIP with one interface. One at a time in a process: `end` it before the next is made."""

    def __init__(self, now_ns: int, ip4: str, ip6: str, mtu: int, seed: int) -> None:
        self.lwip = Library()
        self._now_ns = now_ns
        made = self.lwip.make(ip4.encode(), ip6.encode(), mtu, seed, now_ns // NS_PER_MS & MS_MASK)
        if made != 0:
            raise RuntimeError("lwIP was made twice, or cannot read its address")
        self.place = ctypes.create_string_buffer(BUFFER_BYTES)
        self.place_at = ctypes.addressof(self.place)

    @property
    def now_ns(self) -> int:
        return self._now_ns

    @now_ns.setter
    def now_ns(self, now_ns: int) -> None:
        self._now_ns = now_ns
        self.lwip.set_now(now_ns // NS_PER_MS & MS_MASK)

    def end(self) -> None:
        """All of it is gone; no socket of it may be used any more."""
        self.lwip.unload()

    def receive(self, *packets: bytes, interface: int = 0) -> None:
        for packet in packets:
            checked(self.lwip.input(packet, len(packet)))

    def run_timers(self) -> int:
        wait_ms = self.lwip.run_timers()
        return binding.NEVER if wait_ms < 0 else (self._now_ns // NS_PER_MS + wait_ms) * NS_PER_MS

    def transmit(self) -> bytes | None:
        count = checked(self.lwip.output(self.place_at, PACKET_BYTES))
        return ctypes.string_at(self.place_at, count) if count else None

    def tcp(self) -> LwipSocket:
        return LwipSocket(self)

    @property
    def connections(self) -> int:
        """How many lwIP still has, those in TIME-WAIT with them."""
        return int(self.lwip.connections())


class LwipSocket(TcpSocket):
    """A connection or a listener of lwIP."""

    def __init__(self, stack: LwipStack, handle: int | None = None) -> None:
        self.lwip_stack = stack
        self.lwip = stack.lwip
        self._handle = handle

    @property
    def handle(self) -> int:
        """What the C side calls it."""
        if self._handle is None:
            raise RuntimeError("the socket is not bound, or closed")
        return self._handle

    def bind(self, address: str, port: int) -> None:
        self._handle = self.lwip.open(address.encode(), port)
        if self._handle is None:
            raise OSError(errno.EADDRINUSE, f"lwIP does not bind {address} port {port}")

    def listen(self, backlog: int = 128) -> None:
        checked(self.lwip.listen(self.handle, backlog))

    def connect(self, address: str, port: int) -> None:
        checked(self.lwip.connect(self.handle, address.encode(), port))

    def accept(self) -> LwipSocket:
        accepted = self.lwip.accept(self.handle)
        if accepted is None:
            raise BlockingIOError(errno.EAGAIN, "nobody has connected")
        return LwipSocket(self.lwip_stack, accepted)

    def ready(self) -> int:
        return int(self.lwip.ready(self.handle))

    def take_error(self) -> int:
        error = self.lwip.take_error(self.handle)
        return ERRORS.get(error, errno.EIO) if error else 0

    def send(self, data: bytes, flags: int = 0) -> int:
        count = checked(self.lwip.send(self.handle, data, len(data)))
        return count if count else checked(WOULD_BLOCK)

    def receive(self, most: int = BUFFER_BYTES, flags: int = 0) -> bytes:
        stack = self.lwip_stack
        count = checked(self.lwip.receive(self.handle, stack.place_at, min(most, BUFFER_BYTES)))
        return ctypes.string_at(stack.place_at, count)

    def shutdown(self, how: int) -> None:
        if how != socket.SHUT_WR:
            raise NotImplementedError("of lwIP only the sending side is shut down here")
        checked(self.lwip.shut_down(self.handle))

    def abort(self) -> None:
        self.lwip.abort(self.handle)

    def close(self) -> None:
        handle, self._handle = self.handle, None
        checked(self.lwip.close(handle))

    def limit_window(self, window_bytes: int) -> None:
        """Offers no more than this any more; a window that has been offered stays."""
        self.lwip.withhold(self.handle, WINDOW_BYTES - window_bytes)

    def set(self, option: str, value: int) -> None:
        """Those that talkers set. Keepalive is set by its idle time, which comes first."""
        if option == "nodelay":
            self.lwip.set_nodelay(self.handle, value)
        elif option == "keepalive_idle_ms":
            self.lwip.set_keepalive(self.handle, value)
        elif option != "keepalive":
            raise NotImplementedError(option)

    @property
    def state(self) -> str:
        return STATES[int(self.lwip.state(self.handle))]


class LwipHost(Host):
    """A machine whose stack is lwIP."""

    stack: LwipStack

    def __init__(self, world: World, ip4: str, ip6: str, mtu: int, first: str) -> None:
        """`first` of both addresses is the one that its servers listen at."""
        self.world = world
        self.addresses = (first, *({ip4, ip6} - {first}))
        self.stack = LwipStack(world.now_ns, ip4, ip6, mtu, world.random.getrandbits(32))
        self.programs = []
        self.gather_ns = 0
        self._arrived = []
        self._routes = {}
        self._timer_ns = binding.NEVER
        world.hosts.append(self)

    def __enter__(self) -> LwipHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stack.end()


class Judge(Watch):
    """Watches both hosts, and holds Byway's alone to the rules: what lwIP breaks is kept in `excused`, by its kind."""

    def __init__(self, mtu: int, kind_of: Callable[[str], str]) -> None:
        super().__init__(mtu)
        self.kind_of = kind_of
        self.excused: Counter[str] = Counter()
        self.closed_windows: Counter[str] = Counter()  # segments that offer no byte, by who sent them
        self.most_in_vain = 0  # packets of one side, of which the other has seen none, in a row
        self.lwip_ends: set[int] = set()  # bytes of lwIP's stream before a FIN that it sent
        self._in_vain = {"byway": 0, "lwip": 0}
        self._lwip_first = 0  # the sequence number of its first byte

    def leaves(self, host: Host, packet: bytes) -> None:
        self._in_vain[name_of(host)] += 1
        self.most_in_vain = max(self.most_in_vain, *self._in_vain.values())
        if wire.protocol_of(packet) == wire.TCP:
            self._look(host, wire.read_segment(packet))
        try:
            super().leaves(host, packet)
        except ViolationError as error:
            if not isinstance(host, LwipHost):
                raise
            self.excused[self.kind_of(str(error))] += 1

    def reaches(self, host: Host, packet: bytes) -> None:
        if not isinstance(packet, Corrupted):
            self._in_vain["byway" if isinstance(host, LwipHost) else "lwip"] = 0
        super().reaches(host, packet)

    def _look(self, host: Host, segment: wire.Segment) -> None:
        if segment.window == 0 and not segment.flags & wire.RST:
            self.closed_windows[name_of(host)] += 1
        if not isinstance(host, LwipHost):
            return
        if segment.flags & wire.SYN:
            self._lwip_first = segment.sequence + 1
        if segment.flags & wire.FIN:
            self.lwip_ends.add((segment.sequence + segment.payload_bytes - self._lwip_first) & 0xFFFFFFFF)


def name_of(host: Host) -> str:
    return "lwip" if isinstance(host, LwipHost) else "byway"
