"""UDP between two stacks: RFC 768, RFC 1122 4.1, multicast by interface."""

from __future__ import annotations

import errno

import pytest

from byway.engine.stack import Place, Stack, UdpSocket
from byway.sim import wire

ONE = {4: "10.0.0.1", 6: "fd00::1"}
OTHER = {4: "10.0.0.2", 6: "fd00::2"}
GROUP = {4: "239.1.2.3", 6: "ff05::123"}
VERSIONS = pytest.mark.parametrize("version", [4, 6])
PORT = 5353


def stack(address: str, **settings: int) -> Stack:
    made = Stack(1, cells=256, endpoints=16, **settings)
    made.add_address(address)
    return made


def bound(of: Stack, address: str, port: int = PORT) -> UdpSocket:
    sock = of.udp()
    sock.bind(address, port)
    return sock


def carry(source: Stack, to: Stack, interface: int = 0) -> list[bytes]:
    packets = []
    while (packet := source.transmit()) is not None:
        packets.append(packet)
        to.receive(packet, interface=interface)
    return packets


@VERSIONS
@pytest.mark.parametrize("size", [0, 1, 2, 1000, 1472 - 20])
def test_a_datagram_arrives_as_it_was_sent(version: int, size: int) -> None:
    here, there = stack(ONE[version]), stack(OTHER[version])
    sender, receiver = bound(here, ONE[version], 1000), bound(there, OTHER[version])
    assert sender.send(b"x" * size, Place(OTHER[version], PORT)) == size
    carry(here, there)
    found = receiver.receive()
    assert found.payload == b"x" * size
    assert found.source == Place(ONE[version], 1000)
    assert found.destination == OTHER[version]
    with pytest.raises(BlockingIOError):
        receiver.receive()


@VERSIONS
def test_what_is_cut_off_is_told_and_gone(version: int) -> None:
    here, there = stack(ONE[version]), stack(OTHER[version])
    sender, receiver = bound(here, ONE[version], 1000), bound(there, OTHER[version])
    sender.send(b"abcdef", Place(OTHER[version], PORT))
    sender.send(b"next", Place(OTHER[version], PORT))
    carry(here, there)
    assert receiver.receive(3, flags=2).payload == b"abc"  # MSG_PEEK
    first = receiver.receive(3)
    assert (first.payload, first.bytes) == (b"abc", 6)
    assert receiver.receive().payload == b"next"


@VERSIONS
def test_a_datagram_larger_than_a_packet_is_an_error(version: int) -> None:
    here = stack(ONE[version])
    sender = bound(here, ONE[version], 1000)
    with pytest.raises(OSError) as error:
        sender.send(bytes(1500), Place(OTHER[version], PORT))
    assert error.value.errno == errno.EMSGSIZE


@VERSIONS
def test_a_connected_socket_hears_its_peer_alone(version: int) -> None:
    here, there = stack(ONE[version]), stack(OTHER[version])
    peer, stranger = bound(here, ONE[version], 1000), bound(here, ONE[version], 1001)
    receiver = bound(there, OTHER[version])
    receiver.connect(ONE[version], 1000)
    peer.send(b"peer", Place(OTHER[version], PORT))
    stranger.send(b"stranger", Place(OTHER[version], PORT))
    carry(here, there)
    assert receiver.receive().payload == b"peer"
    with pytest.raises(BlockingIOError):
        receiver.receive()
    receiver.send(b"back")
    carry(there, here)
    assert peer.receive().payload == b"back"


@VERSIONS
def test_an_icmp_error_is_told_to_a_connected_socket_once(version: int) -> None:
    here = stack(ONE[version])
    sender = bound(here, ONE[version], 1000)
    sender.connect(OTHER[version], PORT)
    sender.send(b"is anybody there?")
    packet = here.transmit()
    assert packet
    here.receive(unreachable(packet))
    with pytest.raises(ConnectionRefusedError):
        sender.send(b"again")
    assert sender.send(b"and again") == 9


@VERSIONS
def test_an_icmp_error_is_not_told_to_a_socket_that_is_not_connected(version: int) -> None:
    here = stack(ONE[version])
    sender = bound(here, ONE[version], 1000)
    sender.send(b"is anybody there?", Place(OTHER[version], PORT))
    packet = here.transmit()
    assert packet
    here.receive(unreachable(packet))
    assert sender.take_error() == 0


def unreachable(packet: bytes) -> bytes:
    """Nobody listens on the port (RFC 792; RFC 4443, 3.1), says the packet's destination."""
    message = bytearray(wire.too_big(packet, 0))
    at = wire.transport_at(bytes(message))
    message[at : at + 4] = bytes([3, 3, 0, 0]) if packet[0] >> 4 == 4 else bytes([1, 4, 0, 0])
    source, destination = wire.addresses_of(bytes(message))
    payload = bytes(message[at:])
    pseudo = (
        b"" if packet[0] >> 4 == 4 else source + destination + len(payload).to_bytes(4, "big") + bytes([0, 0, 0, 58])
    )
    message[at + 2 : at + 4] = wire.checksum(pseudo + payload).to_bytes(2, "big")
    return bytes(message)


@VERSIONS
def test_a_group_is_heard_on_its_interface(version: int) -> None:
    here, there = stack(ONE[version]), stack(OTHER[version])
    any_address = "0.0.0.0" if version == 4 else "::"
    sender = bound(here, ONE[version], 1000)
    one, other, none = (there.udp() for _ in range(3))
    for sock in (one, other, none):
        sock.set("share_port", 1)
        sock.bind(any_address, PORT)
    one.join(GROUP[version], interface=1)
    other.join(GROUP[version], interface=2)
    sender.send(b"to the group", Place(GROUP[version], PORT))
    carry(here, there, interface=2)
    assert other.receive().destination == GROUP[version]
    assert not one.is_readable() and not none.is_readable()
    other.leave(GROUP[version], interface=2)
    sender.send(b"to the group", Place(GROUP[version], PORT))
    carry(here, there, interface=2)
    assert not other.is_readable()


@VERSIONS
def test_every_member_of_a_group_hears_once(version: int) -> None:
    here, there = stack(ONE[version]), stack(OTHER[version])
    sender = bound(here, ONE[version], 1000)
    members = [there.udp() for _ in range(3)]
    for sock in members:
        sock.set("share_port", 1)
        sock.bind("0.0.0.0" if version == 4 else "::", PORT)
        sock.join(GROUP[version])
    sender.send(b"all", Place(GROUP[version], PORT))
    carry(here, there, interface=7)
    for sock in members:
        assert sock.receive().interface == 7
        assert not sock.is_readable()


@VERSIONS
def test_a_full_buffer_drops_and_says_so(version: int) -> None:
    here, there = stack(ONE[version]), stack(OTHER[version])
    sender, receiver = bound(here, ONE[version], 1000), bound(there, OTHER[version])
    receiver.set("datagram_receive_bytes", 5000)
    for _ in range(10):
        sender.send(bytes(1000), Place(OTHER[version], PORT))
    carry(here, there)
    count = 0
    while receiver.is_readable():
        receiver.receive()
        count += 1
    assert 0 < count < 10
    assert there.counters()["datagrams_dropped"] == 10 - count


@VERSIONS
def test_a_wrong_checksum_is_no_datagram(version: int) -> None:
    here, there = stack(ONE[version]), stack(OTHER[version])
    sender, receiver = bound(here, ONE[version], 1000), bound(there, OTHER[version])
    sender.send(b"abc", Place(OTHER[version], PORT))
    packet = here.transmit()
    assert packet
    there.receive(packet[:-1] + b"d")
    assert not receiver.is_readable()
    assert there.drops()["bad_transport_checksum"] == 1


def test_memory_returns() -> None:
    here, there = stack(ONE[4]), stack(OTHER[4])
    free = there.free_cells, there.free_endpoints
    sender, receiver = bound(here, ONE[4], 1000), bound(there, OTHER[4])
    for _ in range(20):
        sender.send(b"abc", Place(OTHER[4], PORT))
    carry(here, there)
    for _ in range(5):
        receiver.receive()
    receiver.close()
    assert (there.free_cells, there.free_endpoints) == free


def test_two_cannot_have_one_port() -> None:
    there = stack(OTHER[4])
    bound(there, OTHER[4])
    with pytest.raises(OSError) as error:
        bound(there, "0.0.0.0")
    assert error.value.errno == errno.EADDRINUSE


def test_a_broadcast_is_to_be_asked_for() -> None:
    here = stack(ONE[4])
    sender = bound(here, ONE[4], 1000)
    with pytest.raises(PermissionError):
        sender.send(b"all", Place("255.255.255.255", PORT))
    sender.set("broadcast", 1)
    assert sender.send(b"all", Place("255.255.255.255", PORT)) == 3
