"""The engine on an adapter's queue, with the Linux kernel as its peer, and beside the kernel of its own host."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest

from byway.engine.binding import PROTOCOL_TCP, PROTOCOL_UDP
from byway.engine.stack import Place, TcpSocket
from byway.kernel.steer import Filter, Flag
from tests.wire.engine import STACK_NUMBER, Engine, engine_on
from tests.wire.network import Host, missing, two_hosts

pytestmark = [pytest.mark.wire, pytest.mark.skipif(missing() is not None, reason=missing() or "")]
PORT = 5000
STREAM_BYTES = 400_000


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts() as pair:
        yield pair


@pytest.fixture
def engine(hosts: tuple[Host, Host]) -> Iterator[Engine]:
    with engine_on(*hosts) as one:
        yield one


def echo_server(address: str) -> None:
    """Of the kernel's; one connection after the other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, PORT), family=family) as server:
        while True:
            one, _ = server.accept()
            with one:
                while data := one.recv(65536):
                    one.sendall(data)


def received(sock: TcpSocket) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return sock.receive()
    return b""


def echoed(engine: Engine, sock: TcpSocket, data: bytes) -> bytes:
    """What comes back of it."""
    sent, come = 0, b""

    def is_whole() -> bool:
        nonlocal sent, come
        with contextlib.suppress(BlockingIOError):
            sent += sock.send(data[sent : sent + 20_000]) if sent < len(data) else 0
        come += received(sock)
        return len(come) >= len(data)

    engine.wait(is_whole)
    return come


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_to_the_kernel(engine: Engine, hosts: tuple[Host, Host], version: int) -> None:
    peer = hosts[1]
    with peer.process(lambda: echo_server(peer.address(version))):
        sock = engine.connected(version, (peer.address(version), PORT))
        data = random.Random(version).randbytes(STREAM_BYTES)
        assert echoed(engine, sock, data) == data
        sock.shutdown(socket.SHUT_WR)
        assert engine.wait(lambda: sock.state == "TIME_WAIT")
    assert engine.stack.counters()["expected"] > 100
    assert engine.steering.counts()["steered"] > 100


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_from_the_kernel(engine: Engine, hosts: tuple[Host, Host], version: int) -> None:
    host, peer = hosts
    listener = engine.stack.tcp()
    listener.bind(host.address(version), PORT)
    listener.listen()
    engine.steering.add(Filter(PROTOCOL_TCP, (host.address(version), PORT)), STACK_NUMBER, Flag.ASK_KERNEL)

    def talk() -> None:
        with socket.create_connection((host.address(version), PORT)) as sock:
            sock.sendall(b"from the kernel")
            sock.recv(100)
            sock.recv(100)

    with peer.process(talk):
        accepted: list[TcpSocket] = []

        def has_accepted() -> bool:
            with contextlib.suppress(BlockingIOError):
                accepted.append(listener.accept())
            return bool(accepted)

        assert engine.wait(has_accepted)
        come = b""

        def has_all() -> bool:
            nonlocal come
            come += received(accepted[0])
            return come == b"from the kernel"

        assert engine.wait(has_all)
        accepted[0].send(b"from the engine")
        accepted[0].close()
        assert engine.wait(lambda: "TIME_WAIT" in engine.stack.states().values())


def test_what_no_filter_names_is_the_kernels(engine: Engine, hosts: tuple[Host, Host]) -> None:
    """Ping, and TCP of the kernel's, by the adapter that the engine has."""
    host, peer = hosts
    with host.process(lambda: echo_server(host.v4)):
        script = (
            "import socket, time\n"
            "for _ in range(100):\n"
            "    try:\n"
            f"        sock = socket.create_connection(('{host.v4}', {PORT}), 5)\n"
            "        break\n"
            "    except ConnectionRefusedError:\n"
            "        time.sleep(0.05)\n"
            "sock.sendall(b'hello')\n"
            "print(sock.recv(10))\n"
        )
        done = peer.run("python3", "-c", script)
        assert done.stdout == "b'hello'\n", done.stderr
    assert engine.steering.counts()["steered"] == 0


def test_a_connection_that_the_kernel_has_stays_the_kernels(hosts: tuple[Host, Host]) -> None:
    """A listener's filter comes while a server of the kernel's is connected: nginx that is loaded anew."""
    host, peer = hosts
    with host.entered():
        server = socket.create_server((host.v4, PORT))
    with peer.entered():
        client = socket.create_connection((host.v4, PORT))
    one, _ = server.accept()
    with engine_on(host, peer) as engine, server, client, one:
        listener = engine.stack.tcp()
        listener.bind(host.v4, PORT)
        listener.listen()
        engine.steering.add(Filter(PROTOCOL_TCP, ("0.0.0.0", PORT)), STACK_NUMBER, Flag.ASK_KERNEL)
        client.sendall(b"still here")
        one.settimeout(5)
        assert one.recv(100) == b"still here"
        assert engine.steering.counts()["kernels_own"] >= 1
        with peer.entered():
            new = socket.socket()
            new.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                new.connect((host.v4, PORT))
        assert engine.wait(lambda: listener.is_readable())
        new.close()


def test_the_kernel_does_not_answer_for_us(engine: Engine, hosts: tuple[Host, Host]) -> None:
    """A segment of a flow whose stack has gone: no reset leaves, neither for the segment nor later."""
    host, peer = hosts
    with peer.process(lambda: echo_server(peer.v4)):
        sock = engine.connected(4, (peer.v4, PORT))
        flow = Filter(PROTOCOL_TCP, (host.v4, sock.local().port), (peer.v4, PORT))
        engine.steering.add(flow, STACK_NUMBER, Flag.GONE)
        sock.send(b"what nobody hears the answer to")
        engine.poll()
        assert engine.wait(lambda: engine.steering.counts()["gone"] >= 1)
        states = peer.run("ss", "-tnH", "state", "established").stdout
        assert f":{PORT}" in states


def test_the_kernel_sends_nothing_by_a_flow_of_ours(engine: Engine, hosts: tuple[Host, Host]) -> None:
    host, peer = hosts
    engine.steering.add(Filter(PROTOCOL_TCP, (host.v4, 41000), (peer.v4, PORT)), STACK_NUMBER)
    for port, is_dropped in ((41000, True), (41001, False)):
        with host.entered():
            sock = socket.socket()
        with sock:
            sock.bind((host.v4, port))
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError if is_dropped else ConnectionRefusedError):
                sock.connect((peer.v4, PORT))
    assert engine.steering.counts()["egress_dropped"] >= 1


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams(engine: Engine, hosts: tuple[Host, Host], version: int) -> None:
    host, peer = hosts
    address = host.address(version)
    engine.steering.add(Filter(PROTOCOL_UDP, (address, PORT)), STACK_NUMBER)
    here = engine.stack.udp()
    here.bind(address, PORT)
    with peer.entered():
        there = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    with there:
        there.settimeout(5)
        there.bind((peer.address(version), PORT))
        there.sendto(b"from the kernel", (address, PORT))
        assert engine.wait(lambda: here.is_readable())
        assert here.receive().payload == b"from the kernel"
        here.send(b"from the engine", Place(peer.address(version), PORT))
        engine.poll()
        assert there.recv(100) == b"from the engine"


def test_fragments_between_filtered_addresses_are_nobodys(engine: Engine, hosts: tuple[Host, Host]) -> None:
    """They are dropped, since the kernel knows nothing of the flow; others are the kernel's to put together."""
    host, peer = hosts
    exact = Filter(PROTOCOL_UDP, (host.v4, PORT), (peer.v4, PORT))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here, peer.entered():
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with host.entered():
            here.bind((host.v4, PORT + 1))
        here.settimeout(5)
        there.bind((peer.v4, PORT))
        with there:
            engine.steering.add(exact, STACK_NUMBER)
            there.sendto(bytes(4000), (host.v4, PORT + 1))
            assert engine.wait(lambda: engine.steering.counts()["fragment"] >= 3, 2)
            engine.steering.remove(exact)
            there.sendto(b"x" * 4000, (host.v4, PORT + 1))
            assert here.recv(5000) == b"x" * 4000
