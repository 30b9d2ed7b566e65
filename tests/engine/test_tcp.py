"""What no script says: numbers that nobody guesses, packets to many, stacks of others, sizes of functions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from byway.engine.stack import Stack
from byway.sim import wire

CSRC = Path(__file__).resolve().parents[2] / "csrc"
ENGINE = ("frame", "stack", "ip", "udp", "tcp", "engine", "vi", "standalone")
LINES_MAX = 70
NS_PER_SECOND = 10**9


def first_number(secret: tuple[int, int], port: int, now_ns: int) -> int:
    """The sequence number of a SYN."""
    stack = Stack(now_ns, secret=secret, cells=64, endpoints=8)
    sock = stack.tcp()
    sock.bind("10.0.0.1", port)
    sock.connect("10.0.0.2", 80)
    packet = stack.transmit()
    assert packet
    return wire.read_segment(packet).sequence


def test_first_numbers_grow_with_time_and_differ_by_port_and_secret() -> None:
    """RFC 6528, 3; RFC 9293, 3.4.1: a clock of 4 us, and a hash of both ends and a secret."""
    begin = 10**12
    first = first_number((1, 2), 1000, begin)
    later = first_number((1, 2), 1000, begin + NS_PER_SECOND)
    assert (later - first) % 2**32 == 250_000
    others = {first_number((1, 2), port, begin) for port in range(1000, 1100)}
    others |= {first_number((secret, 2), 1000, begin) for secret in range(1, 101)}
    assert len(others) == 199
    assert max(others) - min(others) > 2**31


def test_a_segment_to_many_is_not_answered() -> None:
    """RFC 1122, 4.2.3.10."""
    stack = Stack(1, cells=64, endpoints=8)
    listener = stack.tcp()
    listener.bind("0.0.0.0", 80)
    listener.listen()
    other = Stack(1, cells=64, endpoints=8)
    sock = other.tcp()
    sock.bind("10.0.0.1", 1000)
    sock.connect("10.0.0.2", 80)
    packet = other.transmit()
    assert packet
    source, _ = wire.addresses_of(packet)
    for destination in (b"\xe0\x00\x00\x05", b"\xff\xff\xff\xff"):
        stack.receive(wire.ipv4(source, destination, wire.TCP, packet[20:]))
        assert stack.transmit() is None
    stack.receive(packet)
    assert stack.transmit()


def test_a_packet_for_another_is_not_taken() -> None:
    stack = Stack(1, cells=64, endpoints=8)
    stack.add_address("10.0.0.9")
    stack.receive(wire.ipv4(b"\x0a\0\0\x01", b"\x0a\0\0\x08", wire.TCP, bytes(20)))
    assert stack.drops()["not_for_us"] == 1
    assert stack.transmit() is None


@pytest.mark.parametrize(
    "setting", [{"mtu": 100}, {"mtu": 5000}, {"cells": 3}, {"delayed_ack_ms": 501}, {"endpoints": 1}]
)
def test_settings_out_of_range_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(OSError):
        Stack(1, **setting)


def test_no_function_of_the_engine_is_long() -> None:
    long = []
    for folder in ENGINE:
        for path in (CSRC / folder).glob("*.[ch]"):
            for match in re.finditer(
                r"^(?=\w)[^\n;=]*\b(\w+)\([^;{}]*\)\n\{\n(.*?)^\}", path.read_text(), re.MULTILINE | re.DOTALL
            ):
                if match[2].count("\n") > LINES_MAX:
                    long.append(f"{path.name}: {match[1]}")
    assert not long
