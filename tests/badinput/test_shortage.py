"""No memory, no descriptors, no system call: the program runs on the kernel, unharmed."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests import variant
from tests.badinput.common import helper, kernel_lines, lines_of, start_peer
from tests.programs import harness
from tests.programs.harness import KERNEL, Programs, World
from tests.programs.ring import client, read_ring

pytestmark = pytest.mark.timeout(60)

ENOMEM, EMFILE, EACCES, ENOSPC, ENOSYS, EPERM = 12, 24, 13, 28, 38, 1
AF_UNIX, AF_NETLINK = 1, 16

DENIALS = {
    "no-memory-file": [f"memfd_create={ENOMEM}"],
    "memory-file-unknown": [f"memfd_create={ENOSYS}"],
    "memory-full": [f"fallocate={ENOSPC}"],
    "memory-not-resizable": [f"ftruncate={ENOMEM}"],
    "no-eventfd": [f"eventfd2={EMFILE}"],
    "no-netlink": [f"socket={EACCES},{AF_NETLINK}"],
    "no-unix-sockets": [f"socket={EMFILE},{AF_UNIX}"],
    "nothing": [
        f"memfd_create={ENOMEM}",
        f"eventfd2={ENOMEM}",
        f"socket={EMFILE},{AF_UNIX}",
        f"socket={EMFILE},{AF_NETLINK}",
    ],
    "old-kernel": [f"pidfd_getfd={ENOSYS}", f"pidfd_open={ENOSYS}", f"membarrier={ENOSYS}", f"getrandom={ENOSYS}"],
    "no-getfd": [f"pidfd_getfd={EPERM}"],
    "no-peeking": [f"process_vm_readv={EPERM}"],
}


@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.parametrize("name", ("descriptors",))
def test_denied(group: Programs, carrier: World, denial: str, name: str) -> None:
    prefix: list[str | Path] = [helper("deny"), *DENIALS[denial], "--"]
    assert lines_of(group, (carrier, carrier), name, prefix=prefix) == kernel_lines(group, name)


@pytest.mark.parametrize("denial", DENIALS)
def test_server_denied(group: Programs, carrier: World, denial: str) -> None:
    """The server cannot; its clients could."""
    peer_program = harness.compile_native(harness.NATIVE / "peer.c")
    peer = group.start([helper("deny"), *DENIALS[denial], "--", peer_program, "127.0.0.1"], carrier)
    port = peer.wait_output("port ").split()[1]
    output = group.run([helper("descriptors"), "127.0.0.1", port], carrier, timeout_s=40.0)
    assert output.splitlines() == kernel_lines(group, "descriptors")
    peer.stop()


@pytest.mark.skipif(variant.is_sanitized(), reason="a sanitizer needs more address space than that for itself")
@pytest.mark.parametrize("megabytes", (6, 8, 10, 12, 14, 16, 20, 24, 32, 48))
def test_little_address_space(group: Programs, carrier: World, megabytes: int) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    lines = lines_of(group, (carrier, carrier), "descriptors", before_exec=limit)
    said_by_loader = [line for line in lines if line.startswith("ERROR: ld.so")]
    assert [line for line in lines if line not in said_by_loader] == kernel_lines(
        group, "descriptors", before_exec=limit
    )


@pytest.mark.parametrize("kilobytes", (0, 4, 64, 8192, 16384, 65536))
def test_small_file_size_limit(group: Programs, carrier: World, kilobytes: int) -> None:
    """RLIMIT_FSIZE holds for memory files too, and sends SIGXFSZ: Byway's memory must not end the program."""

    peer, port = start_peer(group, carrier)
    limited = f"(ulimit -f {kilobytes * 2}; {helper('descriptors')} 127.0.0.1 {port}; echo status $?)"
    program = group.start(["sh", "-c", f"{limited} | cat"], carrier)  # a file as output would be limited too
    assert program.wait(40.0) == 0, program.output()
    assert program.output().splitlines() == [*kernel_lines(group, "descriptors"), "status 0"]
    peer.stop()


def test_locked_memory_limit(group: Programs, carrier: World) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))

    assert lines_of(group, (carrier, carrier), "descriptors", before_exec=limit) == kernel_lines(group, "descriptors")


def test_reason_is_told(group: Programs, carrier: World) -> None:
    """Where the arena could be made, it says why nothing else could."""
    if not carrier.is_byway:
        pytest.skip("the kernel needs no reasons")
    if harness.needs("memcached"):
        pytest.skip("memcached is not installed")
    port = harness.free_port()
    argv = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "root"]
    server = group.start([helper("deny"), f"socket={EACCES},{AF_NETLINK}", "--", *argv], carrier)
    server.wait_listening(port)
    client(group, carrier, "memcached-values", "127.0.0.1", port, 50, 100)
    connection = harness.connect("127.0.0.1", port)
    connection.sendall(b"version\r\nversion\r\n")
    assert connection.recv(100)
    connection.sendall(b"version\r\n")
    assert connection.recv(100)
    ring = read_ring(server.pid)
    assert ring is not None and ring.sent_bytes == 0
    assert ring.reasons() & {"no_diag", "peer_not_local", "peer_not_byway", "no_descriptors"}, ring.sockets
    connection.close()
    server.stop()


def test_kernel_first(group: Programs) -> None:
    """The denials themselves do no harm to a program on the kernel."""
    prefix: list[str | Path] = [helper("deny"), *DENIALS["nothing"], "--"]
    assert lines_of(group, (KERNEL, KERNEL), "descriptors", prefix=prefix) == kernel_lines(group, "descriptors")
