"""The readers of arenas and pairs, over memory that is made here as the header says, and the verbs that show it."""

import ctypes
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from byway.kernel import proc, tcp
from byway.shm import arena, layout, members, pair, tables
from tests.tools.conftest import Byway

HEADER = Path(__file__).resolve().parents[2] / "csrc" / "shm" / "layout.h"
SO_COOKIE = 57


@dataclass
class Writer:
    """Writes members by name into a memory of our own."""

    file_descriptor: int
    parsed: layout.Layout
    struct_name: str
    base: int = 0

    def write(self, **values: int | bytes) -> None:
        for name, value in values.items():
            member = self.parsed.structs[self.struct_name].members[name]
            raw = value if isinstance(value, bytes) else struct.pack(f"<{layout.SCALARS[member.type]}", value)
            os.pwrite(self.file_descriptor, raw, self.base + member.offset)

    def inner(self, name: str, index: int = 0) -> "Writer":
        member = self.parsed.structs[self.struct_name].members[name]
        return Writer(
            self.file_descriptor, self.parsed, member.type, self.base + member.offset + index * member.element_bytes
        )


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> layout.Layout:
    """The header's layout as the installed one, whether or not anything is built."""
    found = layout.parse(HEADER.read_text())
    for module in (arena, pair):
        monkeypatch.setattr(module, "installed", lambda: found)
    folder = str(HEADER.parent)
    monkeypatch.setattr("byway.native.FOLDER", folder)
    return found


def memfd(name: str, size: int) -> Iterator[int]:
    file_descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(file_descriptor, size)
    yield file_descriptor
    os.close(file_descriptor)


@pytest.fixture
def arena_writer(parsed: layout.Layout) -> Iterator[Writer]:
    for file_descriptor in memfd("byway.arena", parsed.structs["shm_arena"].size_bytes):
        writer = Writer(file_descriptor, parsed, "shm_arena")
        writer.write(magic=parsed.constants["SHM_MAGIC_ARENA"], abi_hash=parsed.abi_hash, socket_high=4)
        namespace = proc.namespace(os.getpid(), "pid")
        writer.inner("processes", 3).write(owner=os.getpid(), pidns=namespace, name=b"itself")
        yield writer


@pytest.fixture
def pair_writer(parsed: layout.Layout) -> Iterator[Writer]:
    size = layout.rounded_up(
        layout.rounded_up(parsed.structs["shm_pair"].size_bytes, 64) + 8 * parsed.structs["shm_channel"].size_bytes,
        4096,
    )
    for file_descriptor in memfd("byway.pair", size + 8 * 2 * 65536):
        writer = Writer(file_descriptor, parsed, "shm_pair")
        writer.write(magic=parsed.constants["SHM_MAGIC_PAIR"], abi_hash=parsed.abi_hash)
        yield writer


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def cookie_of(one: socket.socket) -> int:
    return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)


def put_channel(writer: Writer, parsed: layout.Layout, number: int, cookies: tuple[int, int]) -> Writer:
    first = layout.rounded_up(parsed.structs["shm_pair"].size_bytes, 64)
    size = parsed.structs["shm_channel"].size_bytes
    channel = Writer(writer.file_descriptor, parsed, "shm_channel", first + number * size)
    channel.write(in_use=1, cookies=struct.pack("<2Q", *cookies))
    return channel


def name_of(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def test_attached_socket_is_reported(
    parsed: layout.Layout,
    arena_writer: Writer,
    pair_writer: Writer,
    connection: tuple[socket.socket, socket.socket],
) -> None:
    client, server = connection
    cookies = (cookie_of(server), cookie_of(client))
    states = parsed.enums["shm_socket_state"]
    slot = arena_writer.inner("sockets", 2)
    slot.write(
        state=states["SHM_SOCKET_ATTACHED"], descriptor=client.fileno(), owner=3, cookie=cookies[1], end=1, reason=0
    )
    slot.write(holders=struct.pack("<4Q", 1 << 3, 0, 0, 0), ring_sent_bytes=1000, ring_received_bytes=2000)
    channel = put_channel(pair_writer, parsed, 5, cookies)
    revoked = parsed.constants["SHM_TAIL_REVOKED"]
    channel.inner("direction", 0).write(tail=revoked | 7 << 48 | 30, head=1 << 48 | 20, change_count=2)
    channel.inner("direction", 1).write(tail=9 << 48 | 50, head=40, change_count=3)

    (report,) = members.report_sockets([members.read_member(os.getpid())])
    assert (report.local, report.remote) == (name_of(client.getsockname()), name_of(server.getsockname()))
    assert (report.state, report.transport, report.reason) == ("ESTAB", "local", "")
    assert (report.send_carrier, report.receive_carrier) == ("ring", "kernel")
    assert (report.ring_sent_bytes, report.ring_received_bytes) == (1050, 2020)
    assert report.holders == [os.getpid()]


def test_socket_that_is_not_accelerated_says_why(
    parsed: layout.Layout, arena_writer: Writer, connection: tuple[socket.socket, socket.socket]
) -> None:
    by_name = {reason.name: reason for reason in tables.reasons().values()}
    slot = arena_writer.inner("sockets", 0)
    slot.write(state=parsed.enums["shm_socket_state"]["SHM_SOCKET_NEVER"], reason=by_name["out_of_band"].code, owner=3)
    slot.write(holders=struct.pack("<4Q", 1 << 3, 0, 0, 0), descriptor=connection[0].fileno(), last_ring_sent_bytes=12)
    (report,) = members.report_sockets([members.read_member(os.getpid())])
    assert report.transport == "kernel"
    assert report.reason == "out-of-band data was used"
    assert report.local == name_of(connection[0].getsockname())
    assert report.ring_sent_bytes == 12


def test_socket_of_the_dead_is_left_out(parsed: layout.Layout, arena_writer: Writer) -> None:
    arena_writer.inner("sockets", 1).write(state=1, owner=9, holders=struct.pack("<4Q", 1 << 9, 0, 0, 0))
    assert members.report_sockets([members.read_member(os.getpid())]) == []


def test_descriptor_that_is_another_socket_by_now_is_not_believed(
    arena_writer: Writer, connection: tuple[socket.socket, socket.socket]
) -> None:
    slot = arena_writer.inner("sockets", 0)
    slot.write(
        state=1, owner=3, holders=struct.pack("<4Q", 1 << 3, 0, 0, 0), descriptor=connection[0].fileno(), cookie=2**63
    )
    (report,) = members.report_sockets([members.read_member(os.getpid())])
    assert report.local == "?"


def test_arena_of_another_version_is_not_read(arena_writer: Writer) -> None:
    arena_writer.write(abi_hash=1)
    member = members.read_member(os.getpid())
    assert members.report_sockets([member]) == []
    (report,) = members.report_members([member])
    assert report.note == "another version of Byway"


def test_counters_and_numbers_of_a_member(parsed: layout.Layout, arena_writer: Writer) -> None:
    values = [0] * parsed.constants["SHM_COUNTERS_MAX"]
    values[tables.counters()["ring_sent_bytes"].number] = 5
    values[tables.counters()["overflows"].number] = 77
    arena_writer.write(counters=struct.pack(f"<{len(values)}Q", *values))
    slot = arena_writer.inner("sockets", 0)
    slot.write(state=5, owner=3, holders=struct.pack("<4Q", 1 << 3, 0, 0, 0), last_ring_received_bytes=12)
    (report,) = members.report_members([members.read_member(os.getpid())])
    assert (report.sockets, report.attached, report.ring_bytes) == (1, 1, 17)
    assert report.counters["overflows"] == 77


@pytest.mark.parametrize("region", range(8))
def test_number_of_channels_follows_from_the_size(parsed: layout.Layout, region: int) -> None:
    count = min(8 << region, 128)
    channel_bytes = parsed.structs["shm_channel"].size_bytes
    head_bytes = 0 if region else layout.rounded_up(parsed.structs["shm_pair"].size_bytes, 64)
    for ring_bytes in (4096, 65536, 16 << 20):
        size = layout.rounded_up(head_bytes + count * channel_bytes, 4096) + count * 2 * ring_bytes
        assert pair.channel_count(size, head_bytes, channel_bytes) == count
    assert pair.channel_count(4096, head_bytes, channel_bytes) == 0


def test_the_kernel_table_and_sock_diag_agree(connection: tuple[socket.socket, socket.socket]) -> None:
    client, server = connection
    by_cookie = tcp.by_cookie()
    if not by_cookie:
        pytest.skip("no sock_diag here")
    for one, other in ((client, server), (server, client)):
        found = by_cookie[cookie_of(one)]
        assert found == tcp.table(os.getpid())[os.fstat(one.fileno()).st_ino]
        assert (found.local, found.remote) == (name_of(one.getsockname()), name_of(other.getsockname()))


def test_addresses_of_both_families_are_written_as_ss_writes_them() -> None:
    assert tcp.parse_table_address("0100007F:1F90") == "127.0.0.1:8080"
    assert tcp.parse_table_address("00000000000000000000000001000000:0000") == "[::1]:*"


# -- the verbs


def test_ps_and_ss_without_anything(byway: Byway, native_library: Path) -> None:
    for words in (["ps", "--json"], ["ss", "--json"]):
        done = byway(*words)
        assert done.returncode == 0, done.stderr
        assert isinstance(json.loads(done.stdout), list)
    assert byway("ps").returncode == 0
    assert byway("ss").returncode == 0


def test_ss_of_a_process_that_is_not_under_byway(byway: Byway, native_library: Path) -> None:
    done = byway("ss", "--pid", str(os.getpid()))
    assert done.returncode == 1
    assert "is not under Byway" in done.stderr
    done = byway("ss", "--pid", str(2**22 + 5))
    assert "there is no process" in done.stderr


def test_options_lists_the_table(byway: Byway, native_library: Path) -> None:
    listed = json.loads(byway("options", "--json").stdout)
    assert {entry["name"] for entry in listed} == set(tables.options())
    assert {entry["variable"] for entry in listed} >= {"BYWAY_SPIN_US", "BYWAY_LOG"}
    assert "spin_us" in byway("options").stdout


def test_unknown_verb_names_the_nearest(byway: Byway) -> None:
    done = byway("rum")
    assert done.returncode == 2
    assert "byway run" in done.stderr


def test_tables_have_unique_numbers_within_bounds(parsed: layout.Layout) -> None:
    numbers = [counter.number for counter in tables.counters().values()]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < parsed.constants["SHM_COUNTERS_MAX"]
    for option in tables.options().values():
        assert option.minimum <= option.default <= option.maximum, option.name
        assert option.text


def test_libc_agrees_on_process_identity() -> None:
    assert proc.inner_process_id(os.getpid()) == ctypes.CDLL(None).getpid()
