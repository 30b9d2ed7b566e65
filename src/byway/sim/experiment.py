"""A number of flows from one host to another over one path, and what became of each: the goodput, and cwnd over
time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from byway.engine.stack import TcpSocket
from byway.sim.capture import Capture
from byway.sim.link import NS_PER_SECOND, Conditions
from byway.sim.traffic import Habits, Pattern, Server, Talker
from byway.sim.watch import Watch
from byway.sim.world import BEGINS_NS, Host, World, join

SAMPLES = 400  # of cwnd, over the whole run
CELLS_A_FLOW = 4096
BUFFER_BYTES = 1 << 21
LIMIT_NS = 7 * 24 * 3600 * NS_PER_SECOND
FIRST_PORT = 1024


@dataclass
class Flow:
    """One connection's sending side."""

    talker: Talker
    ended_ns: int = 0
    samples: list[tuple[float, int]] = field(default_factory=list)  # seconds, cwnd in bytes

    @property
    def seconds(self) -> float:
        return (self.ended_ns - BEGINS_NS) / 1e9


class Experiment:
    """`flows` connections that send `count` bytes each, all at once."""

    def __init__(
        self, seed: int, path: Conditions, flows: int, count: int, *, mtu: int = 1500, v6: bool = False
    ) -> None:
        self.world = World(seed)
        self.watch = Watch(mtu)
        self.world.observers.append(self.watch)
        addresses = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
        self.sender, self.receiver = (self._host(address, flows, mtu) for address in addresses)
        self.links = join(self.sender, self.receiver, path, path)
        self._pattern = Pattern(seed)
        self.server = Server(self.receiver, 80, self._accepted, backlog=flows)
        self.flows = [self._connect(FIRST_PORT + number, count) for number in range(flows)]
        self._count = count

    def _host(self, address: str, flows: int, mtu: int) -> Host:
        cells, endpoints = CELLS_A_FLOW * flows, 4 * flows + 4
        return Host(
            self.world,
            address,
            cells=cells,
            endpoints=endpoints,
            mtu=mtu,
            send_bytes=BUFFER_BYTES,
            receive_bytes=BUFFER_BYTES,
        )

    def _accepted(self, sock: TcpSocket) -> Talker:
        return Talker(self.receiver, sock, Habits(send_bytes=0), self._pattern, self._pattern)

    def _connect(self, port: int, count: int) -> Flow:
        self.sender.stack.now_ns = self.world.now_ns
        sock = self.sender.stack.tcp()
        sock.bind(self.sender.addresses[0], port)
        sock.connect(self.receiver.addresses[0], 80)
        return Flow(Talker(self.sender, sock, Habits(send_bytes=count), self._pattern, self._pattern))

    def _sample(self, every_ns: int) -> None:
        """A long run has few samples too: when there are too many, every second one goes, and others come half as
        often."""
        for flow in self.flows:
            if not flow.talker.is_done:
                flow.samples.append(((self.world.now_ns - BEGINS_NS) / 1e9, flow.talker.sock.info().cwnd))
        if max(len(flow.samples) for flow in self.flows) > SAMPLES:
            every_ns *= 2
            for flow in self.flows:
                flow.samples = flow.samples[::2]
        self.world.after(every_ns, self._sample, every_ns)

    def _is_over(self) -> bool:
        for flow in self.flows:
            if flow.talker.is_done and not flow.ended_ns:
                flow.ended_ns = self.world.now_ns
        return all(flow.ended_ns for flow in self.flows)

    def run(self, pcap: Path | None, sample_ns: int) -> None:
        """To the end; raises ViolationError where a rule is broken."""
        if pcap:
            with Capture(pcap) as capture:
                self.world.observers.insert(0, capture)
                self._go(sample_ns)
        else:
            self._go(sample_ns)

    def _go(self, sample_ns: int) -> None:
        self.sender.settle()
        self._sample(sample_ns)
        self.world.run(self._is_over, LIMIT_NS)
