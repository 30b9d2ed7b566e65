"""Hosts that are network namespaces, joined by veth pairs: made by the tests themselves, on a machine without an
adapter to spare. Needs root."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from byway.errors import UserError
from byway.kernel import steer, xdp

CLONE_NEWNET = 0x40000000
COMMAND_TIMEOUT_S = 20
_numbers = itertools.count()


@functools.cache
def missing() -> str | None:
    """Why there can be no such network, if so: it is tried."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with two_hosts() as (host, _), host.entered(), steer.Steering(host.adapter.index):
            socket.socket(xdp.AF_XDP, socket.SOCK_RAW).close()
    except FileNotFoundError:
        return "ip is not installed (Debian: iproute2)"
    except subprocess.CalledProcessError as error:
        return f"there can be no namespace with a veth pair here: {error.stderr.strip()}"
    except (OSError, UserError) as error:
        return f"no adapter can be used here: {error}"
    return None


def ip(*words: str) -> str:
    """ip(8): what it prints."""
    command = ["ip", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S).stdout


def _enter(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@dataclass(frozen=True)
class Adapter:
    """One end of a veth pair."""

    name: str
    index: int
    mac: bytes


class Namespace:
    """A network namespace of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        ip("netns", "add", name)

    def ip(self, *words: str) -> str:
        return ip("-n", self.name, *words)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread does inside is done there: sockets that it makes stay there."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(before)
            os.close(there)
            os.close(before)

    def run(self, *command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """A command there."""
        with self.entered():
            return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)

    @contextmanager
    def process(self, work: Callable[[], None]) -> Iterator[int]:
        """A process there, which is ended with the block."""
        child = os.fork()
        if not child:
            try:
                with self.entered():
                    work()
            finally:
                os._exit(1)
        try:
            yield child
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, timeout=COMMAND_TIMEOUT_S)


class Host(Namespace):
    """A namespace with an adapter `eth` and an address of each family."""

    def __init__(self, name: str, v4: str, v6: str) -> None:
        super().__init__(name)
        self.v4, self.v6 = v4, v6

    def address(self, version: int) -> str:
        return self.v4 if version == 4 else self.v6

    def bring_up(self) -> None:
        self.ip("addr", "add", f"{self.v4}/24", "dev", "eth")
        self.ip("addr", "add", f"{self.v6}/64", "dev", "eth", "nodad")
        for adapter in ("lo", "eth"):
            self.ip("link", "set", adapter, "up")

    @property
    def adapter(self) -> Adapter:
        found = re.match(r"(\d+): (\S+?)@.*link/ether (\S+)", self.ip("-o", "link", "show", "eth"))
        assert found
        return Adapter(found[2], int(found[1]), bytes.fromhex(found[3].replace(":", "")))


class Prefix:
    """Namespaces under a name of their own; gone afterwards, whatever happens."""

    def __init__(self) -> None:
        self.name = f"byway-{os.getpid()}-{next(_numbers)}"
        self._made: list[Namespace] = []

    def host(self, number: int) -> Host:
        host = Host(f"{self.name}-{number}", f"10.77.0.{number}", f"fd77::{number}")
        self._made.append(host)
        return host

    def bare(self, name: str) -> Namespace:
        namespace = Namespace(f"{self.name}-{name}")
        self._made.append(namespace)
        return namespace

    def __enter__(self) -> Prefix:
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in self._made:
            namespace.remove()


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two, with a veth pair between them."""
    with Prefix() as prefix:
        one, other = prefix.host(1), prefix.host(2)
        ip("link", "add", "eth", "netns", one.name, "type", "veth", "peer", "name", "eth", "netns", other.name)
        for host in (one, other):
            host.bring_up()
        yield one, other
