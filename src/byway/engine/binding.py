"""The engine's C calls as ctypes functions: csrc/engine/engine.h says what each does. Nothing else of Byway calls the
library.

Facts that C has are read from where C has them: options from engine/options.def, counters from stack/counters.def,
reasons of drops from frame/drops.def (the build puts the tables beside the library).
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from ctypes import POINTER, c_char_p, c_int, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p

from byway import native
from byway.errors import UserError

NEVER = 2**64 - 1
CELL_BYTES = 2048
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17


class Settings(ctypes.Structure):
    """`struct stack_settings`."""

    _fields_ = (
        ("endpoints", c_uint32),
        ("cells", c_uint32),
        ("mtu", c_uint32),
        ("send_bytes", c_uint32),
        ("receive_bytes", c_uint32),
        ("rto_min_ms", c_uint32),
        ("delayed_ack_ms", c_uint32),
        ("time_wait_ms", c_uint32),
        ("initial_window", c_uint32),
        ("pad", c_uint32),
        ("secret", c_uint64 * 2),
    )


class Address(ctypes.Structure):
    """`struct address`: 16 bytes, IPv4 as ::ffff:a.b.c.d."""

    _fields_ = (("bytes", c_uint8 * 16),)


class Arrival(ctypes.Structure):
    """`struct udp_arrival`."""

    _fields_ = (
        ("source", Address),
        ("destination", Address),
        ("source_port", c_uint16),
        ("pad", c_uint16),
        ("interface", c_uint32),
        ("bytes", c_uint32),
        ("hop_limit", c_uint8),
        ("traffic_class", c_uint8),
        ("pad2", c_uint8 * 2),
    )


class Info(ctypes.Structure):
    """`struct byway_tcp_info`."""

    _fields_ = (
        *((name, c_uint32) for name in ("state", "recovery")),
        *((name, c_uint32) for name in ("iss", "snd_una", "snd_nxt", "snd_wnd", "irs", "rcv_nxt", "rcv_adv")),
        *((name, c_uint32) for name in ("snd_mss", "path_mtu", "cwnd", "ssthresh", "pipe", "retries", "duplicates")),
        *((name, c_uint32) for name in ("unsent_bytes", "unread_bytes", "waiting_cells", "sacked_ranges")),
        *((name, c_uint32) for name in ("may_sack", "has_timestamps", "snd_scale", "rcv_scale")),
        *((name, c_uint64) for name in ("srtt_ns", "rttvar_ns", "rto_ns")),
    )

    def named(self) -> dict[str, int]:
        return {field[0]: getattr(self, field[0]) for field in self._fields_}


class Vi(ctypes.Structure):
    """`struct vi`."""

    _fields_ = (
        ("kind", c_void_p),
        ("interface", c_uint32),
        ("side", c_uint32),
        ("memory", c_void_p),
        ("repairs", c_uint64),
        ("must_kick", c_uint32),
        ("pad", c_uint32),
    )


class Question(ctypes.Structure):
    """`struct mirror_question`."""

    _fields_ = (("destination", Address), ("source", Address), ("mark", c_uint32), ("flow", c_uint32))


class Adapter(ctypes.Structure):
    """`struct mirror_adapter`."""

    _fields_ = (
        ("link", c_uint32),
        ("vlans", c_uint16 * 2),
        ("vlan_count", c_uint8),
        ("mac", c_uint8 * 6),
        ("pad", c_uint8),
    )


class Way(ctypes.Structure):
    """`struct mirror_way`."""

    _fields_ = (("next_hop", Address), ("source", Address), ("link", c_uint32), ("mtu", c_uint32))


_STACK = c_void_p
CALLS: dict[str, tuple[object, list[object]]] = {
    "stack_bytes": (c_int64, [POINTER(Settings)]),
    "stack_make": (c_int, [c_void_p, c_uint64, POINTER(Settings), c_uint64]),
    "stack_check": (c_int, [c_void_p, c_uint64]),
    "stack_cells": (c_uint64, [_STACK, POINTER(c_uint64)]),
    "stack_add_address": (c_int, [_STACK, POINTER(Address)]),
    "stack_receive": (c_uint32, [_STACK, c_char_p, POINTER(c_uint32), c_uint32, c_uint32, c_uint64]),
    "stack_run_timers": (c_uint64, [_STACK, c_uint64]),
    "stack_transmit": (c_int, [_STACK, c_void_p, c_uint32, POINTER(c_uint32)]),
    "stack_state": (c_int, [_STACK, c_uint32, POINTER(c_uint64)]),
    "socket_open": (c_int, [_STACK, c_uint32]),
    "socket_bind": (c_int, [_STACK, c_uint32, POINTER(Address), c_uint32]),
    "socket_close": (None, [_STACK, c_uint32, c_uint64]),
    "socket_ready": (c_uint32, [_STACK, c_uint32]),
    "socket_take_error": (c_int, [_STACK, c_uint32]),
    "socket_address": (c_int, [_STACK, c_uint32, c_int, POINTER(Address)]),
    "socket_set": (c_int, [_STACK, c_uint32, c_uint32, c_int64, c_uint64]),
    "socket_get": (c_int64, [_STACK, c_uint32, c_uint32]),
    "tcp_connect": (c_int, [_STACK, c_uint32, POINTER(Address), c_uint32, c_uint64]),
    "tcp_listen": (c_int, [_STACK, c_uint32, c_uint32]),
    "tcp_accept": (c_int, [_STACK, c_uint32]),
    "tcp_send": (c_int64, [_STACK, c_uint32, c_char_p, c_uint32, c_int, c_uint64]),
    "tcp_receive": (c_int64, [_STACK, c_uint32, c_void_p, c_uint32, c_int, c_uint64]),
    "tcp_shutdown": (c_int, [_STACK, c_uint32, c_int, c_uint64]),
    "tcp_abort": (c_int, [_STACK, c_uint32, c_uint64]),
    "tcp_at_mark": (c_int, [_STACK, c_uint32]),
    "tcp_info": (c_int, [_STACK, c_uint32, POINTER(Info)]),
    "vi_poll": (c_uint32, [POINTER(Vi), _STACK, c_uint64]),
    "vi_send": (c_int64, [POINTER(Vi), _STACK, c_uint32, c_char_p, c_uint32, c_int, c_uint64]),
    "link_bytes": (c_uint64, []),
    "link_make": (None, [c_void_p]),
    "link_open": (c_int, [POINTER(Vi), c_void_p, c_uint32, c_uint32]),
    "mirror_find": (c_int, [c_void_p, POINTER(Question), POINTER(Way)]),
    "mirror_adapter": (c_int, [c_void_p, c_uint32, POINTER(Adapter)]),
    "mirror_neighbour": (c_int, [c_void_p, c_uint32, POINTER(Address), c_char_p]),
    "mirror_sequence": (c_uint32, [c_void_p]),
    "xdp_bytes": (c_uint64, []),
    "xdp_open": (c_int, [POINTER(Vi), c_void_p, _STACK, c_int, c_char_p, c_uint32, c_int]),
    "xdp_neighbour": (c_int, [POINTER(Vi), _STACK, POINTER(Address), c_char_p]),
    "udp_connect": (c_int, [_STACK, c_uint32, POINTER(Address), c_uint32]),
    "udp_send": (c_int, [_STACK, c_uint32, c_char_p, c_uint32, POINTER(Address), c_uint32]),
    "udp_receive": (c_int, [_STACK, c_uint32, c_void_p, c_uint32, c_int, POINTER(Arrival)]),
    "udp_join": (c_int, [_STACK, c_uint32, POINTER(Address), c_uint32]),
    "udp_leave": (c_int, [_STACK, c_uint32, POINTER(Address), c_uint32]),
}


class Library:
    """The loaded library: a method for each of CALLS."""

    def __init__(self, path: str) -> None:
        try:
            loaded = ctypes.CDLL(path)
        except OSError as error:
            raise UserError(f"{path} cannot be loaded ({error}): {native.HOW_TO_BUILD}") from None
        for name, (result, arguments) in CALLS.items():
            function = getattr(loaded, f"byway_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> ctypes._NamedFuncPointer:
        raise AttributeError(name)


@functools.cache
def library(path: str | None = None) -> Library:
    """The one at `path`, else at $BYWAY_ENGINE_LIBRARY (for tests), else the installed one; loaded once."""
    return Library(path or os.environ.get("BYWAY_ENGINE_LIBRARY") or native.path(native.ENGINE_LIBRARY))


@functools.cache
def options() -> dict[str, int]:
    """The number of each option, by name."""
    lines = re.findall(r"^OPTION\((\d+), (\w+),", native.read_text("engine_options.def"), re.MULTILINE)
    return {name: int(number) for number, name in lines}


@functools.cache
def counters() -> list[str]:
    """The stack's counters, in their order."""
    return re.findall(r"^COUNTER\((\w+),", native.read_text("stack_counters.def"), re.MULTILINE)


@functools.cache
def drops() -> list[str]:
    """Why packets are dropped, in the order of the numbers."""
    return re.findall(r"^DROP\(\d+, (\w+),", native.read_text("frame_drops.def"), re.MULTILINE)
