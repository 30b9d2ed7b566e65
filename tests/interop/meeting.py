"""A host with Byway, one with lwIP, a link between them, and programs on both: what every test here begins with."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from byway.engine.stack import TcpSocket
from byway.sim.link import NS_PER_SECOND, Conditions
from byway.sim.traffic import Habits, Pattern, Server, Talker
from byway.sim.watch import ViolationError
from byway.sim.world import Host, World, join
from tests.interop.peer import Judge, LwipHost, LwipSocket

BYWAY = {4: "10.0.0.2", 6: "fd00::2"}
LWIP = {4: "10.0.0.1", 6: "fd00::1"}
PORT = 80
FIRST_PORT = 1024
TALK_LIMIT_NS = 4 * 3600 * NS_PER_SECOND  # of virtual time
END_LIMIT_NS = 4000 * NS_PER_SECOND

# What lwIP does that watch.py does not allow, which is its right or its habit; the tests say where each is seen.
PROBE = "bytes up to N, where the window ends at N"


def kind_of(violation: str) -> str:
    """A violation's text without its numbers."""
    return re.sub(r"\d+", "N", violation)


class PatientTalker(Talker):
    """Sends nothing before it has read the other side's end."""

    def poke(self) -> None:
        could_send = self.has_end
        super().poke()
        if self.has_end and not could_send and not self.is_done:
            super().poke()

    def _write(self) -> None:
        if self.has_end:
            super()._write()


class LwipTalker(Talker):
    """One that can be told to stop waiting."""

    def give_up(self) -> None:
        self.error = TimeoutError("nobody is there any more")
        self.sock.abort()
        self._finish()


class Meeting:
    """Leaving it unloads lwIP."""

    def __init__(
        self,
        seed: int,
        version: int,
        conditions: Conditions | tuple[Conditions, Conditions],
        lwip_mtu: int = 1500,
        **settings: int,
    ) -> None:
        """`conditions`: of both directions, or from lwIP to Byway and back. `settings`: of Byway's stack."""
        self.world = World(seed)
        mtu = settings.setdefault("mtu", 1500)
        self.judge = Judge(max(mtu, lwip_mtu), kind_of)
        self.world.observers.append(self.judge)
        self.byway = Host(self.world, BYWAY[version], library=None, **{"endpoints": 16, "cells": 2048, **settings})
        self.free = self._free()
        self.lwip = LwipHost(self.world, LWIP[4], LWIP[6], lwip_mtu, LWIP[version])
        there, back = conditions if isinstance(conditions, tuple) else (conditions, conditions)
        self.links = join(self.lwip, self.byway, there, back)
        self.patterns = {"byway": Pattern(2 * seed), "lwip": Pattern(2 * seed + 1)}
        self.talkers: dict[str, Talker] = {}
        self.lwip_window = 0  # so many bytes does it offer at most; 0: all that it has
        self.options: dict[str, int] = {}  # of Byway's sockets, before they connect or listen
        self.make: dict[str, Callable[..., Talker]] = {"byway": Talker, "lwip": LwipTalker}
        self._exit = ExitStack()
        self._exit.enter_context(self.lwip)
        self._servers: list[Server] = []
        self._port = FIRST_PORT

    def __enter__(self) -> Meeting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._exit.close()

    def _free(self) -> tuple[int, int]:
        return self.byway.stack.free_cells, self.byway.stack.free_endpoints

    def host(self, name: str) -> Host:
        return self.lwip if name == "lwip" else self.byway

    def connect(self, name: str, port: int = PORT) -> TcpSocket:
        """Host `name` begins a connection to the other one."""
        host, remote = self.host(name), self.host(other(name))
        host.stack.now_ns = self.world.now_ns
        sock = host.stack.tcp()
        self._set_options(sock)
        sock.bind(host.addresses[0], self._port)
        self._port += 1
        sock.connect(remote.addresses[0], port)
        return sock

    def talk(self, client: str, habits: dict[str, Habits]) -> None:
        """A connection over which both behave as `habits` say, by host; `client` opens it."""
        server = other(client)
        listens = Server(self.host(server), PORT, lambda sock: self._talk(server, sock, habits[server]))
        self._set_options(listens.sock)
        self._servers.append(listens)
        self._talk(client, self.connect(client), habits[client])
        self.host(client).settle()

    def _talk(self, name: str, sock: TcpSocket, habits: Habits) -> Talker:
        if isinstance(sock, LwipSocket) and self.lwip_window:
            sock.limit_window(self.lwip_window)
        sends, expects = self.patterns[name], self.patterns[other(name)]
        self.talkers[name] = self.make[name](self.host(name), sock, habits, sends, expects)
        return self.talkers[name]

    def _set_options(self, sock: TcpSocket) -> None:
        if not isinstance(sock, LwipSocket):
            for option, value in self.options.items():
                sock.set(option, value)

    def received(self, name: str) -> int:
        """How many bytes the program of a host has read."""
        return self.talkers[name].received if name in self.talkers else 0

    def is_over(self) -> bool:
        """Of a server that was never asked nothing is expected."""
        return all(talker.is_done for talker in self.talkers.values())

    def run(self) -> None:
        """Until both programs are done."""
        if self.world.run(self.is_over, TALK_LIMIT_NS):
            return
        left = self._left_alone()
        if left is None:
            raise ViolationError(f"a program waits for ever: {self.describe()}")
        left.give_up()
        self.lwip.settle()

    def _left_alone(self) -> LwipTalker | None:
        """The program of an lwIP in FIN-WAIT-2, when Byway has ended: lwIP has no keepalive there, and never asks."""
        left, byway = self.talkers.get("lwip"), self.talkers.get("byway")
        is_alone = isinstance(left, LwipTalker) and (byway is None or byway.is_done)
        return left if isinstance(left, LwipTalker) and is_alone and left.sock.state == "FIN_WAIT_2" else None

    def describe(self) -> str:
        facts = []
        for name, talker in self.talkers.items():
            said = "done" if talker.is_done else talker.sock.state
            facts.append(
                f"{name} {said}, sent {talker.sent} of {talker.habits.send_bytes}, received {talker.received}, "
                f"error {talker.error}"
            )
        return "; ".join(facts)

    def assert_complete(self) -> None:
        """Both have sent and read all, to the end, without an error."""
        assert set(self.talkers) == {"byway", "lwip"}, self.describe()
        for name, talker in self.talkers.items():
            assert talker.error is None, self.describe()
            assert talker.has_end and talker.sent == talker.habits.send_bytes, self.describe()
            assert talker.received == self.talkers[other(name)].sent, self.describe()

    def is_cut_short(self) -> bool:
        """Whether lwIP has sent a FIN before its last bytes, and Byway has read what was before it.

        lwIP splits a segment that has more bytes than the window, and leaves the FIN on the first part, too:
        tcp_split_unsent_seg() wants to remove it with TCPH_SET_FLAG, which removes nothing.
        """
        byway, lwip = self.talkers.get("byway"), self.talkers.get("lwip")
        if byway is None or lwip is None or not byway.has_end:
            return False
        return byway.received < lwip.sent and byway.received in self.judge.lwip_ends

    def finish(self) -> None:
        """Both stacks end what is left; nothing is in use then."""
        for server in self._servers:
            server.close()
            server.host.settle()
        self.world.run(self._is_clean, END_LIMIT_NS)
        assert self._free() == self.free, f"free cells and endpoints: {self._free()}, once {self.free}"
        assert self.lwip.stack.connections == 0, f"lwIP still has {self.lwip.stack.connections} connections"

    def _is_clean(self) -> bool:
        return self._free() == self.free and self.lwip.stack.connections == 0


def other(name: str) -> str:
    return "lwip" if name == "byway" else "byway"
