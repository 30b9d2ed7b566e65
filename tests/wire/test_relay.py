"""The engine and the Linux kernel over a path that loses, delays, doubles and reorders: every byte arrives, both
ways."""

from __future__ import annotations

import contextlib
import random
import socket

import pytest

from byway.engine.stack import TcpSocket
from tests.wire.engine import Engine, engine_on
from tests.wire.network import missing
from tests.wire.relay import Treatment, hosts_apart

pytestmark = [pytest.mark.wire, pytest.mark.skipif(missing() is not None, reason=missing() or "")]
PORT = 5001
STREAM_BYTES = 1_500_000
WAIT_S = 40.0

TREATMENTS = {
    "nothing": Treatment(),
    "loss": Treatment(loss=0.02, delay_s=0.002),
    "overtaking": Treatment(late=0.1, late_s=0.01, delay_s=0.002),
    "doubling": Treatment(doubled=0.1, delay_s=0.002),
    "all": Treatment(loss=0.02, late=0.1, doubled=0.05, delay_s=0.003),
}


def swap(address: str, out: bytes, wanted: bytes) -> None:
    """A server of the kernel's: sends its stream while it reads the other's, and says at the end if that was right."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, PORT), family=family) as server:
        one, _ = server.accept()
    with one:
        one.setblocking(False)
        come, sent = b"", 0
        while len(come) < len(wanted) or sent < len(out):
            with contextlib.suppress(BlockingIOError):
                sent += one.send(out[sent : sent + 50_000]) if sent < len(out) else 0
            with contextlib.suppress(BlockingIOError):
                come += one.recv(1 << 16)
        one.setblocking(True)
        one.sendall(b"right" if come == wanted else b"wrong")
        one.shutdown(socket.SHUT_WR)
        one.recv(1)


def swapped(engine: Engine, sock: TcpSocket, out: bytes, count: int) -> bytes:
    """What the peer sends while we send ours."""
    come, sent = b"", 0

    def is_whole() -> bool:
        nonlocal come, sent
        with contextlib.suppress(BlockingIOError):
            sent += sock.send(out[sent : sent + 50_000]) if sent < len(out) else 0
        with contextlib.suppress(BlockingIOError):
            come += sock.receive()
        return len(come) >= count

    engine.wait(is_whole, WAIT_S)
    return come


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", TREATMENTS)
def test_every_byte_arrives(name: str, version: int) -> None:
    seed = sum(name.encode()) + version
    ours, theirs = (random.Random(f"{seed} {side}").randbytes(STREAM_BYTES) for side in ("ours", "theirs"))
    with hosts_apart(TREATMENTS[name], seed) as (host, peer), engine_on(host, peer) as engine:
        address = peer.address(version)
        with peer.process(lambda: swap(address, theirs, ours)):
            sock = engine.connected(version, (address, PORT))
            come = swapped(engine, sock, ours, STREAM_BYTES + len(b"right"))
            assert come[:STREAM_BYTES] == theirs
            assert come[STREAM_BYTES:] == b"right"
            sock.close()
            assert engine.wait(lambda: not engine.stack.states() or "TIME_WAIT" in engine.stack.states().values(), 10)
        judge(engine.stack.counters(), TREATMENTS[name])


def judge(counters: dict[str, int], treatment: Treatment) -> None:
    """That the path was what it should be, and that the engine did not send again for nothing."""
    assert bool(counters["retransmissions"]) or not treatment.loss
    assert bool(counters["out_of_order"]) or not (treatment.loss or treatment.late)
    assert counters["duplicates_told"] or not treatment.doubled
    if treatment == Treatment():
        assert counters["retransmissions"] == 0
