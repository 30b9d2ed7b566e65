"""Two stacks joined by a link: in one process and in two, full, and full of nonsense."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import time
from collections.abc import Iterator

import pytest

from byway.engine.stack import Stack, TcpSocket
from byway.engine.vi import Link, Vi

CLIENT, SERVER = {4: "10.0.0.1", 6: "fd00::1"}, {4: "10.0.0.2", 6: "fd00::2"}
PORT = 80
STEP_NS = 100_000
# of csrc/vi/link.h: a direction begins behind the link's first line, its slots behind two lines more
LINK_BYTES_BEFORE, TAKEN_AT, SLOTS_AT, SLOTS, SLOT_BYTES = 64, 64, 192, 256, 2048
POLLS_MAX = 100_000
STREAM_BYTES = 3_000_000
TIME_WAIT_NS = 61 * 10**9
DELAYED_NS = 41_000_000  # until what waits for an acknowledgement has it
RUN_TIMEOUT_S = 60


class Pair:
    """A client's and a server's stack, and the link between them."""

    def __init__(self, **settings: int) -> None:
        self.link = Link()
        self.client, self.server = (
            Stack(10**9, secret=(side, 9), **{"cells": 1024, "endpoints": 64, **settings}) for side in (1, 2)
        )
        self.free = self.client.free_cells, self.server.free_cells
        self.ways: list[Vi] = [self.link.open(0, self.client), self.link.open(1, self.server)]

    def poll(self) -> None:
        """Both, a moment later."""
        for way in self.ways:
            way.stack.now_ns += STEP_NS
            way.poll()

    def pass_time(self, wait_ns: int) -> None:
        for stack in (self.client, self.server):
            stack.now_ns += wait_ns
        self.poll()

    def connect(self, listener: TcpSocket, port: int, version: int) -> tuple[TcpSocket, TcpSocket]:
        sock = self.client.tcp()
        sock.bind(CLIENT[version], port)
        sock.connect(SERVER[version], PORT)
        for _ in range(10):
            self.poll()
            with contextlib.suppress(BlockingIOError):
                return sock, listener.accept()
        raise AssertionError("nobody accepts")

    def listen(self) -> TcpSocket:
        listener = self.server.tcp()
        listener.bind("::", PORT)
        listener.listen(64)
        return listener


@pytest.fixture
def pair() -> Iterator[Pair]:
    yield Pair()


def pattern(seed: int, count: int) -> bytes:
    return random.Random(seed).randbytes(count)


def received(sock: TcpSocket) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return sock.receive()
    return b""


def test_bytes_go_both_ways_and_all_memory_returns(pair: Pair) -> None:
    listener = pair.listen()
    ends = pair.connect(listener, 1000, 4)
    wanted = [pattern(side, STREAM_BYTES) for side in (0, 1)]
    sent, come = [0, 0], [b"", b""]
    for _ in range(POLLS_MAX):
        for side, sock in enumerate(ends):
            with contextlib.suppress(BlockingIOError):
                sent[side] += pair.ways[side].send(sock, wanted[side][sent[side] : sent[side] + 20_000])
            come[side] += received(sock)
        pair.poll()
        if min(map(len, come)) == STREAM_BYTES:
            break
    assert come == wanted[::-1]
    for sock in (*ends, listener):
        sock.close()
    for _ in range(3):
        pair.poll()
    pair.pass_time(TIME_WAIT_NS)
    assert (pair.client.free_cells, pair.server.free_cells) == pair.free


def test_each_gets_its_own_when_many_come_together(pair: Pair) -> None:
    """Of one connection the stack looks at several at once, of others between them one by one."""
    listener = pair.listen()
    ends = [pair.connect(listener, 1000 + i, 4 if i % 3 else 6) for i in range(12)]
    chosen = random.Random(1)
    wanted = [b""] * len(ends)
    come = [b""] * len(ends)
    for turn in range(300):
        for _ in range(40):
            i = chosen.randrange(len(ends)) if turn % 2 else chosen.randrange(2)
            piece = pattern(len(wanted[i]) + i, chosen.choice([1, 60, 1400]))
            with contextlib.suppress(BlockingIOError):
                wanted[i] += piece[: pair.ways[0].send(ends[i][0], piece)]
        pair.poll()
        for i, (_, server) in enumerate(ends):
            come[i] += received(server)
    for _ in range(100):
        pair.pass_time(DELAYED_NS)
        for i, (_, server) in enumerate(ends):
            come[i] += received(server)
    assert come == wanted
    assert pair.server.counters()["expected"] > 1000


def test_a_full_link_loses_nothing(pair: Pair) -> None:
    """Whoever does not take for a while finds all of it later; the sender keeps what has no room."""
    listener = pair.listen()
    client, server = pair.connect(listener, 1000, 4)
    client.set("nodelay", 1)
    wanted = b""
    for turn in range(600):
        piece = pattern(turn, 20)
        with contextlib.suppress(BlockingIOError):
            wanted += piece[: pair.ways[0].send(client, piece)]
    come = b""
    for _ in range(200):
        pair.poll()
        come += received(server)
    assert come == wanted
    assert pair.client.counters()["retransmissions"] == 0


def test_nonsense_in_the_link_is_no_packet(pair: Pair) -> None:
    """The other side may write there what it wants: our stack drops it, and goes on."""
    chosen = random.Random(2)
    memory, base = pair.link.memory, SLOTS_AT + SLOTS * SLOT_BYTES  # of the direction from side 1
    for _ in range(400):
        (taken,) = struct.unpack_from("<I", memory, base + TAKEN_AT)
        slot = base + SLOTS_AT - LINK_BYTES_BEFORE + taken % SLOTS * SLOT_BYTES
        count = chosen.choice([chosen.randrange(1, SLOT_BYTES - 4), chosen.randrange(SLOT_BYTES, 1 << 16)])
        memory[slot + 4 : slot + SLOT_BYTES] = chosen.randbytes(SLOT_BYTES - 4)
        struct.pack_into("<I", memory, slot, (taken & 0xFFFF) << 16 | count)
        pair.ways[0].poll()
    assert sum(pair.client.drops().values()) > 100
    assert pair.client.free_cells == pair.free[0]


def test_no_side_three(pair: Pair) -> None:
    with pytest.raises(OSError, match="Invalid"):
        pair.link.open(2, pair.client)


def echo_for_ever(pair: Pair, listener: TcpSocket) -> None:
    """The server, in a process of its own."""
    way, ends = pair.ways[1], []
    while True:
        way.stack.now_ns = time.monotonic_ns()
        way.poll()
        with contextlib.suppress(BlockingIOError):
            ends.append(listener.accept())
        for end in ends:
            data = received(end)
            while data:
                with contextlib.suppress(BlockingIOError):
                    data = data[way.send(end, data) :]
                way.stack.now_ns = time.monotonic_ns()
                way.poll()


def test_two_processes() -> None:
    pair = Pair()
    for stack in (pair.client, pair.server):
        stack.now_ns = time.monotonic_ns()
    listener = pair.listen()
    child = os.fork()
    if not child:
        try:
            echo_for_ever(pair, listener)
        finally:
            os._exit(1)
    try:
        assert talk(pair) == pattern(3, 300_000)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def talk(pair: Pair) -> bytes:
    """What the echoing process gives back."""
    way, wanted, come = pair.ways[0], pattern(3, 300_000), b""
    sock = pair.client.tcp()
    sock.bind(CLIENT[4], 1000)
    sock.connect(SERVER[4], PORT)
    end = time.monotonic() + RUN_TIMEOUT_S
    sent = 0
    while len(come) < len(wanted) and time.monotonic() < end:
        way.stack.now_ns = time.monotonic_ns()
        way.poll()
        with contextlib.suppress(BlockingIOError):
            sent += way.send(sock, wanted[sent : sent + 10_000])
        come += received(sock)
    return come
