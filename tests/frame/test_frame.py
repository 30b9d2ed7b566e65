"""Packets that another implementation makes (scapy) are read as it says, and built again byte for byte."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

pytest.importorskip("scapy")
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.packet import Packet, Raw

from tests.programs import harness

V4 = {"src": "192.0.2.1", "dst": "198.51.100.7"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8:1::7"}
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class Reader:
    """tests/native/frames.c, running."""

    def __init__(self) -> None:
        sources = sorted(map(str, (harness.CSRC / "frame").glob("*.c")))
        program = harness.compile_native(harness.NATIVE / "frames.c", *SANITIZERS, *sources)
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, packet: bytes) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(packet.hex() + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"ended with {self.process.wait()} at {packet.hex()}"
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.fixture(scope="module")
def read() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    assert reader.process.stdin
    reader.process.stdin.close()
    assert reader.process.wait(10) == 0


def in_16_bytes(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    return ("" if parsed.version == 6 else "00" * 10 + "ffff") + parsed.packed.hex()


def ip(version: int, **fields: Any) -> Packet:
    """A header as Byway builds one: DF and no identification."""
    if version == 4:
        return IP(**V4, id=0, flags="DF", **fields)
    return IPv6(**V6, **{{"ttl": "hlim", "tos": "tc"}.get(name, name): value for name, value in fields.items()})


VERSIONS = pytest.mark.parametrize("version", [4, 6])
WORDS = some.integers(0, 2**32 - 1)
HALVES = some.integers(0, 2**16 - 1)
OPTIONS = some.fixed_dictionaries(
    {},
    optional={
        "mss": some.integers(1, 2**16 - 1),
        "sack_permitted": some.just(True),
        "timestamp": some.tuples(WORDS, WORDS),
        "window_scale": some.integers(0, 14),
        "sacks": some.lists(some.tuples(WORDS, WORDS), min_size=1, max_size=1),
    },
)


def as_scapy(options: dict[str, Any]) -> list[tuple[str, Any]]:
    """In the order, and with the padding, of csrc/frame/segment.c."""
    made: list[tuple[str, Any]] = []
    if "mss" in options:
        made.append(("MSS", options["mss"]))
    if "sack_permitted" in options:
        made += [("NOP", None), ("NOP", None), ("SAckOK", b"")]
    if "timestamp" in options:
        made += [("NOP", None), ("NOP", None), ("Timestamp", options["timestamp"])]
    if "window_scale" in options:
        made += [("NOP", None), ("WScale", options["window_scale"])]
    if "sacks" in options:
        made += [("NOP", None), ("NOP", None), ("SAck", tuple(edge for block in options["sacks"] for edge in block))]
    return made


@VERSIONS
@settings(max_examples=100, deadline=None)
@given(
    ports=some.tuples(HALVES, HALVES),
    numbers=some.tuples(WORDS, WORDS),
    window=HALVES,
    hop_limit=some.integers(0, 255),
    traffic_class=some.integers(0, 255),
    options=OPTIONS,
    payload=some.binary(max_size=1500),
)
def test_segments_are_read_and_built_as_scapy_does(
    read: Reader,
    version: int,
    ports: tuple[int, int],
    numbers: tuple[int, int],
    window: int,
    hop_limit: int,
    traffic_class: int,
    options: dict[str, Any],
    payload: bytes,
) -> None:
    tcp = TCP(sport=ports[0], dport=ports[1], seq=numbers[0], ack=numbers[1], window=window, flags="SA")
    tcp.options = as_scapy(options)
    packet = bytes(ip(version, ttl=hop_limit, tos=traffic_class) / tcp / Raw(payload))
    found = read(packet)
    addresses = V4 if version == 4 else V6
    assert found["drop"] == "none"
    assert found["source"] == in_16_bytes(addresses["src"]) and found["destination"] == in_16_bytes(addresses["dst"])
    assert (found["source_port"], found["destination_port"]) == ports
    assert (found["sequence"], found["acknowledgement"], found["window"]) == (*numbers, window)
    assert (found["hop_limit"], found["traffic_class"]) == (hop_limit, traffic_class)
    assert found["flags"] == 0x12 and found["payload"] == len(payload)
    assert found["mss"] == options.get("mss", 0)
    assert found["may_sack"] == options.get("sack_permitted", 0)
    assert found.get("window_scale") == options.get("window_scale")
    assert found.get("timestamp") == (list(options["timestamp"]) if "timestamp" in options else None)
    assert found["sacks"] == [list(block) for block in options.get("sacks", [])]
    assert found["built"] == packet.hex()


def test_three_blocks_fit_beside_timestamps(read: Reader) -> None:
    blocks = [(10, 20), (30, 40), (2**32 - 5, 5)]
    tcp = TCP(options=as_scapy({"timestamp": (1, 2), "sacks": blocks}))
    packet = bytes(ip(4) / tcp)
    found = read(packet)
    assert found["sacks"] == [list(block) for block in blocks]
    assert found["built"] == packet.hex()


@VERSIONS
@settings(max_examples=100, deadline=None)
@given(ports=some.tuples(HALVES, HALVES), payload=some.binary(max_size=1500))
def test_datagrams_are_read_and_built_as_scapy_does(
    read: Reader, version: int, ports: tuple[int, int], payload: bytes
) -> None:
    packet = bytes(ip(version) / UDP(sport=ports[0], dport=ports[1]) / Raw(payload))
    found = read(packet)
    assert (found["drop"], found["source_port"], found["destination_port"]) == ("none", *ports)
    assert found["payload"] == len(payload)
    assert found["built"] == packet.hex()


@VERSIONS
@settings(max_examples=100, deadline=None)
@given(at=some.integers(0, 2**16), flip=some.integers(1, 255))
def test_a_byte_that_changes_on_the_way_is_noticed(read: Reader, version: int, at: int, flip: int) -> None:
    packet = bytearray(bytes(ip(version) / TCP(sport=1, dport=2) / Raw(b"some bytes")))
    skipped = 8 if version == 6 else 0  # IPv6 has no checksum of its own: version, class, flow, length, next, hops
    at = skipped + at % (len(packet) - skipped)
    packet[at] ^= flip if at else flip & 0xF or 1  # another version would be another protocol, which has no checksum
    assert read(bytes(packet))["drop"] != "none"


@VERSIONS
@settings(max_examples=100, deadline=None)
@given(data=some.binary(max_size=120))
def test_nonsense_is_never_believed(read: Reader, version: int, data: bytes) -> None:
    read(data)
    read(bytes([version << 4 | 5]) + data)
    read(bytes(ip(version, **({"proto": 6} if version == 4 else {"nh": 6})) / Raw(data)))
    read(bytes(ip(version) / (ICMP(type=3, code=4) / Raw(data) if version == 4 else ICMPv6PacketTooBig() / Raw(data))))


@VERSIONS
def test_what_ends_early_is_dropped(read: Reader, version: int) -> None:
    packet = bytes(ip(version) / TCP(sport=1, dport=2, options=[("MSS", 1460)]) / Raw(b"x" * 20))
    assert {read(packet[:count])["drop"] for count in range(len(packet))} <= {"short_frame", "bad_header"}
    assert read(packet + b"padding of the link")["drop"] == "none"


@pytest.mark.parametrize(
    ("packet", "drop"),
    [
        (IP(**V4, flags="MF") / TCP(), "fragment"),
        (IP(**V4, frag=8) / Raw(b"x" * 40), "fragment"),
        (IPv6(**V6) / IPv6ExtHdrFragment() / TCP(), "fragment"),
        (IP(src="224.0.0.1", dst="192.0.2.1") / TCP(), "bad_address"),
        (IP(src="255.255.255.255", dst="192.0.2.1") / TCP(), "bad_address"),
        (IP(src="0.0.0.0", dst="192.0.2.1") / TCP(), "bad_address"),
        (IPv6(src="ff02::1", dst="2001:db8::1") / TCP(), "bad_address"),
        (IPv6(src="::ffff:192.0.2.1", dst="2001:db8::1") / TCP(), "bad_address"),
        (IP(**V4, chksum=1) / TCP(), "bad_ip_checksum"),
        (IP(**V4) / TCP(chksum=1), "bad_transport_checksum"),
        (IP(**V4) / TCP(dataofs=4), "bad_transport_header"),
        (IP(**V4) / TCP(dataofs=15), "bad_transport_header"),
        (IP(**V4) / UDP(len=7) / Raw(b"12345678"), "bad_transport_header"),
        (IPv6(**V6) / UDP(chksum=0), "bad_transport_checksum"),
        (IP(**V4) / UDP(chksum=0), "none"),
        (IP(**V4, options=b"\x01\x01\x01\x00") / TCP(), "none"),
        (IPv6(**V6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(), "none"),
        (IPv6(**V6) / (IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()) / TCP(), "none"),
        (IPv6(**V6, nh=200) / Raw(b"x" * 8), "none"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.summary().replace(" ", ""),
)
def test_by_name(read: Reader, packet: Packet, drop: str) -> None:
    assert read(bytes(packet))["drop"] == drop


def test_headers_without_end_are_not_walked_for_ever(read: Reader) -> None:
    packet: Packet = IPv6(**V6)
    for _ in range(9):
        packet = packet / IPv6ExtHdrDestOpt()
    assert read(bytes(packet / TCP()))["drop"] == "unknown_header"


@pytest.mark.parametrize(
    ("message", "kind", "mtu"),
    [
        (ICMP(type=3, code=0), "soft", 0),
        (ICMP(type=3, code=3), "hard", 0),
        (ICMP(type=3, code=4, nexthopmtu=1400), "too big", 1400),
        (ICMP(type=11, code=0), "soft", 0),
        (ICMP(type=8, code=0), "other", 0),
    ],
)
def test_errors_say_which_segment_they_are_about(read: Reader, message: Packet, kind: str, mtu: int) -> None:
    about = bytes(IP(src=V4["dst"], dst=V4["src"]) / TCP(sport=80, dport=4000, seq=77) / Raw(b"x" * 1000))[:28]
    found = read(bytes(ip(4) / message / Raw(about)))
    assert (found["drop"], found["kind"], found["mtu"]) == ("none", kind, mtu)
    if kind != "other":
        assert (found["source_port"], found["destination_port"], found["sequence"]) == (80, 4000, 77)
        assert found["quoted_source"] == in_16_bytes(V4["dst"])


def test_packet_too_big_of_ipv6(read: Reader) -> None:
    about = bytes(IPv6(src=V6["dst"], dst=V6["src"]) / TCP(sport=80, dport=4000, seq=77) / Raw(b"x" * 1000))[:60]
    found = read(bytes(ip(6) / ICMPv6PacketTooBig(mtu=1280) / Raw(about)))
    assert (found["kind"], found["mtu"], found["sequence"]) == ("too big", 1280, 77)
