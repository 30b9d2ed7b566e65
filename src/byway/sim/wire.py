"""What the simulation reads of packets, and the ICMP message that a router sends when one is too large.

Only what checks need, and quickly: the engine's own reading is judged by scapy (tests/frame/).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
_IPV4_BYTES, _IPV6_BYTES = 20, 40
_TCP = struct.Struct(">HHIIBBHHH")
_QUOTED_BYTES = 48
_HOP_LIMIT = 64


class Segment(NamedTuple):
    """A TCP segment, as it stands in a packet."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int  # not scaled
    urgent: int
    header: bytes  # the options
    payload_at: int  # from the start of the packet
    payload_bytes: int

    @property
    def length(self) -> int:
        """What it takes of the sequence space."""
        return self.payload_bytes + bool(self.flags & SYN) + bool(self.flags & FIN)


def protocol_of(packet: bytes) -> int:
    return packet[9 if packet[0] >> 4 == 4 else 6]


def transport_at(packet: bytes) -> int:
    """Where the transport's header begins: nothing that is simulated has options or extension headers."""
    return _IPV4_BYTES if packet[0] >> 4 == 4 else _IPV6_BYTES


def addresses_of(packet: bytes) -> tuple[bytes, bytes]:
    """Source and destination, as they stand there."""
    return (packet[12:16], packet[16:20]) if packet[0] >> 4 == 4 else (packet[8:24], packet[24:40])


def read_segment(packet: bytes) -> Segment:
    at = transport_at(packet)
    source, destination, sequence, acknowledgement, offset, flags, window, _, urgent = _TCP.unpack_from(packet, at)
    payload_at = at + (offset >> 4) * 4
    options = packet[at + 20 : payload_at]
    return Segment(
        source,
        destination,
        sequence,
        acknowledgement,
        flags,
        window,
        urgent,
        options,
        payload_at,
        len(packet) - payload_at,
    )


def read_options(segment: Segment) -> dict[int, bytes]:
    """Each option's value, by its kind (RFC 9293, 3.2)."""
    found, at, options = {}, 0, segment.header
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        found[options[at]] = options[at + 2 : at + options[at + 1]]
        at += options[at + 1]
    return found


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, _HOP_LIMIT, protocol, 0, source, destination
    )
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + payload


def ipv6(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    return struct.pack(">IHBB16s16s", 6 << 28, len(payload), protocol, _HOP_LIMIT, source, destination) + payload


def too_big(packet: bytes, mtu: int) -> bytes:
    """The router's answer to a packet that does not fit (RFC 1191, 4; RFC 4443, 3.2), sent by the packet's
    destination."""
    source, destination = addresses_of(packet)
    quote = packet[:_QUOTED_BYTES]
    if packet[0] >> 4 == 4:
        message = struct.pack(">BBHHH", 3, 4, 0, 0, mtu) + quote
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        return ipv4(destination, source, ICMP, message)
    message = struct.pack(">BBHI", 2, 0, 0, mtu) + quote
    pseudo = destination + source + struct.pack(">II", len(message), ICMPV6)
    message = message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]
    return ipv6(destination, source, ICMPV6, message)
