"""Byway's TCP and lwIP's understand each other: who connects, who sends, over which network, and however it ends."""

from __future__ import annotations

import socket
from collections import Counter
from random import Random

import pytest

from byway.engine.stack import TcpSocket
from byway.sim import hostile
from byway.sim.link import NS_PER_SECOND, Conditions
from byway.sim.traffic import Habits
from tests.interop import peer
from tests.interop.meeting import PROBE, Meeting, PatientTalker, other

MS = 1_000_000
MEGABYTE = 1_000_000
DELAY_NS = 5 * MS
PLAIN = Conditions(delay_ns=DELAY_NS)

pytestmark = pytest.mark.skipif(peer.missing() is not None, reason=peer.missing() or "")

CLIENTS = pytest.mark.parametrize("client", ["byway", "lwip"])
VERSIONS = pytest.mark.parametrize("version", [4, 6])
SENDERS = pytest.mark.parametrize("senders", [("byway",), ("lwip",), ("byway", "lwip")], ids="+".join)

NETWORKS = {
    "plain": PLAIN,
    "loss": Conditions(delay_ns=DELAY_NS, loss=0.02),
    "reordering": Conditions(delay_ns=DELAY_NS, late=0.1, late_ns=4 * DELAY_NS),
    "duplication": Conditions(delay_ns=DELAY_NS, duplicate=0.1),
    "corruption": Conditions(delay_ns=DELAY_NS, corrupt=0.02),
    "narrow": Conditions(delay_ns=DELAY_NS, bits_per_second=10_000_000, queue_bytes=20_000),
}
SMALL_BUFFERS = {"send_bytes": 4096, "receive_bytes": 4096}


def habits_of(senders: tuple[str, ...], size: int = MEGABYTE) -> dict[str, Habits]:
    return {name: Habits(size if name in senders else 0) for name in ("byway", "lwip")}


def run_whole(meeting: Meeting, client: str, habits: dict[str, Habits]) -> None:
    """A connection from its first packet until nothing is left of it; every byte is compared."""
    meeting.talk(client, habits)
    meeting.run()
    meeting.assert_complete()
    meeting.finish()
    assert set(meeting.judge.excused) <= {PROBE}, meeting.judge.excused


@CLIENTS
@VERSIONS
@SENDERS
@pytest.mark.parametrize("network", NETWORKS)
def test_a_megabyte_arrives(network: str, senders: tuple[str, ...], version: int, client: str) -> None:
    with Meeting(1, version, NETWORKS[network]) as meeting:
        run_whole(meeting, client, habits_of(senders))
        if network not in ("plain", "narrow"):
            assert sum(link.events.total() for link in meeting.links) > 10, "nothing adverse has happened"


@CLIENTS
@VERSIONS
@SENDERS
def test_through_small_windows(senders: tuple[str, ...], version: int, client: str) -> None:
    with Meeting(2, version, PLAIN, **SMALL_BUFFERS) as meeting:
        meeting.lwip_window = 4096
        run_whole(meeting, client, habits_of(senders, MEGABYTE // 2))


@CLIENTS
@VERSIONS
@SENDERS
@pytest.mark.parametrize("narrow", ["byway", "lwip", "both"])
def test_with_small_segments(narrow: str, senders: tuple[str, ...], version: int, client: str) -> None:
    """An MSS of 536 bytes from an MTU of 576; IPv6 has 1,280 at least."""
    least = 576 if version == 4 else 1280
    mtu = {name: least if narrow in (name, "both") else 1500 for name in ("byway", "lwip")}
    with Meeting(3, version, PLAIN, lwip_mtu=mtu["lwip"], mtu=mtu["byway"]) as meeting:
        meeting.judge.mtu = least  # each heeds the other's MSS
        run_whole(meeting, client, habits_of(senders))


@CLIENTS
@VERSIONS
def test_an_mss_of_536_that_a_program_asks_for(version: int, client: str) -> None:
    with Meeting(4, version, PLAIN) as meeting:
        meeting.options["mss"] = 536
        meeting.judge.mtu = 536 + (40 if version == 4 else 60)
        run_whole(meeting, client, habits_of(("byway", "lwip")))


@CLIENTS
@VERSIONS
@pytest.mark.parametrize("first", ["byway", "lwip"])
def test_half_closed_it_carries_the_rest(first: str, version: int, client: str) -> None:
    """The side that ends first reads a megabyte that is sent after its end has come."""
    second = other(first)
    with Meeting(5, version, NETWORKS["loss"]) as meeting:
        meeting.make[second] = PatientTalker
        meeting.talk(client, {first: Habits(1000), second: Habits(MEGABYTE)})
        assert meeting.world.run(lambda: meeting.received(first) > 0, 60 * NS_PER_SECOND)
        assert meeting.talkers[second].sock.state == "CLOSE_WAIT"
        assert meeting.talkers[first].sock.state == "FIN_WAIT_2"
        meeting.run()
        meeting.assert_complete()
        meeting.finish()


def establish(meeting: Meeting, client: str) -> dict[str, TcpSocket]:
    """A connection that both sides have, and no program pokes."""
    server = meeting.host(other(client))
    server.stack.now_ns = meeting.world.now_ns
    listener = server.stack.tcp()
    listener.bind(server.addresses[0], 80)
    listener.listen(1)
    sock = meeting.connect(client)
    meeting.host(client).settle()
    assert meeting.world.run(listener.is_readable, 10 * NS_PER_SECOND)
    accepted = listener.accept()
    listener.close()
    server.settle()
    return {client: sock, other(client): accepted}


def at_once(meeting: Meeting, sockets: dict[str, TcpSocket], data: bytes) -> None:
    """Both send, and end, before anything of the other side can have come."""
    for name, sock in sockets.items():
        meeting.host(name).stack.now_ns = meeting.world.now_ns
        if data:
            assert sock.send(data) == len(data)
        sock.shutdown(socket.SHUT_WR)
        meeting.host(name).settle()


@CLIENTS
@VERSIONS
@pytest.mark.parametrize("data", [b"", b"all of it"])
def test_closed_from_both_sides_at_once(data: bytes, version: int, client: str) -> None:
    with Meeting(6, version, PLAIN) as meeting:
        sockets = establish(meeting, client)
        at_once(meeting, sockets, data)
        seen: dict[str, set[str]] = {name: set() for name in sockets}

        def both_wait() -> bool:
            for name, sock in sockets.items():
                seen[name].add(sock.state)
            return all(sock.state == "TIME_WAIT" for sock in sockets.values())

        assert meeting.world.run(both_wait, 10 * NS_PER_SECOND), seen
        assert all("CLOSING" in states for states in seen.values()), seen
        for name, sock in sockets.items():
            assert (sock.receive() if data else b"") == data
            assert sock.receive() == b""
            sock.close()
            meeting.host(name).settle()
        meeting.finish()


@CLIENTS
@VERSIONS
@pytest.mark.parametrize("who", ["byway", "lwip"])
def test_a_reset_reaches_the_other_side(who: str, version: int, client: str) -> None:
    habits = {who: Habits(MEGABYTE, abort_after=200_000), other(who): Habits(MEGABYTE)}
    with Meeting(7, version, PLAIN) as meeting:
        meeting.talk(client, habits)
        meeting.run()
        assert isinstance(meeting.talkers[who].error, ConnectionAbortedError)
        assert isinstance(meeting.talkers[other(who)].error, ConnectionResetError), meeting.describe()
        meeting.finish()


@VERSIONS
@CLIENTS
def test_where_nobody_listens_it_is_refused(client: str, version: int) -> None:
    with Meeting(8, version, PLAIN) as meeting:
        sock = meeting.connect(client)
        meeting.host(client).settle()
        assert meeting.world.run(lambda: bool(sock.ready() & 8), 10 * NS_PER_SECOND)
        with pytest.raises((ConnectionRefusedError, ConnectionResetError)):  # lwIP knows no difference
            sock.receive()
        sock.close()
        meeting.host(client).settle()
        meeting.finish()


@CLIENTS
@VERSIONS
@pytest.mark.parametrize("pause_s", [3, 100])
@pytest.mark.parametrize("reader", ["byway", "lwip"])
def test_a_reader_that_pauses_closes_its_window(reader: str, pause_s: int, version: int, client: str) -> None:
    """The sender probes, for as long as it takes, and goes on when the window opens. The reader ends last: lwIP would
    leave LAST-ACK after two minutes, whatever it still had to send."""
    slow = Habits(0, pause=0.3, pause_ns=pause_s * NS_PER_SECOND)
    with Meeting(9, version, NETWORKS["loss"], receive_bytes=20_000) as meeting:
        meeting.make[reader] = PatientTalker
        run_whole(meeting, client, {reader: slow, other(reader): Habits(MEGABYTE)})
        assert meeting.judge.closed_windows[reader] > 0


@VERSIONS
@pytest.mark.parametrize("asks", ["byway", "lwip"])
def test_who_is_asked_whether_he_lives_answers(asks: str, version: int) -> None:
    """Keepalive, for an hour in which nobody says anything."""
    with Meeting(10, version, PLAIN) as meeting:
        sockets = establish(meeting, "byway")
        sockets[asks].set("keepalive_idle_ms", 10_000)
        sockets[asks].set("keepalive", 1)
        before = meeting.judge.packets
        meeting.world.pass_time(3600 * NS_PER_SECOND)
        assert meeting.judge.packets - before > 2 * 40
        at_once(meeting, sockets, b"still here")
        meeting.world.pass_time(NS_PER_SECOND)
        for name, sock in sockets.items():
            assert sock.receive() == b"still here"
            sock.close()
            meeting.host(name).settle()
        meeting.finish()


HOSTILE_BYTES = 100_000
HOSTILE_NETWORKS = 200
CHUNK = 25
GIVE_UP_PACKETS = (
    6  # the fewest: lwIP sends a SYN so often, and as often what it has in LAST-ACK, which it leaves after two minutes
)


def draw_meeting(seed: int) -> tuple[Meeting, str, dict[str, Habits]]:
    random = Random(seed)
    version = random.choice([4, 6])
    mtu = random.choice([576 if version == 4 else 1280, 1500])
    conditions = hostile.draw_conditions(random, mtu), hostile.draw_conditions(random, mtu)
    meeting = Meeting(seed, version, conditions, lwip_mtu=mtu, **hostile.draw_settings(random, mtu))
    meeting.lwip_window = random.choice([0, 0, 3000, 20_000])
    habits = {name: hostile.draw_habits(random, HOSTILE_BYTES) for name in ("byway", "lwip")}
    return meeting, random.choice(["byway", "lwip"]), habits


def outcome(meeting: Meeting) -> str:
    """How a connection ended, where each end is one that may be. A side that was told nothing has all. Without a reset
    by a program, it fails only if so many packets in a row were lost that a stack may give up."""
    talkers = list(meeting.talkers.values())
    if meeting.is_cut_short():
        return "cut short by lwIP"
    if not any(talker.error for talker in talkers):
        meeting.assert_complete()
        return "complete"
    for talker in talkers:
        assert talker.error or (talker.has_end and talker.sent == HOSTILE_BYTES), meeting.describe()
    if any(isinstance(talker.error, ConnectionAbortedError) for talker in talkers):
        return "reset"
    assert meeting.judge.most_in_vain >= GIVE_UP_PACKETS, meeting.describe()
    return "failed"


def run_hostile(seed: int) -> str:
    """The outcome in the network of a seed."""
    meeting, client, habits = draw_meeting(seed)
    with meeting:
        meeting.talk(client, habits)
        meeting.run()
        ended = outcome(meeting)
        meeting.finish()
        assert set(meeting.judge.excused) <= {PROBE}, meeting.judge.excused
        return ended


@pytest.mark.parametrize("first", range(0, HOSTILE_NETWORKS, CHUNK))
def test_hostile_networks(first: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(first, first + CHUNK):
        try:
            outcomes[run_hostile(seed)] += 1
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert outcomes["complete"] + outcomes["reset"] >= CHUNK * 7 / 8, outcomes
