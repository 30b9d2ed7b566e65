"""Runs a scenario: one stack, the script is its peer and its program, and time stands still but for what the script
says."""

from __future__ import annotations

import errno
import ipaddress
import select
import socket
import struct
from collections.abc import Callable

from byway.engine.stack import Socket, Stack, TcpSocket
from byway.sim import wire
from byway.sim.traffic import Pattern
from tests.script.language import (
    FLAGS,
    Line,
    Scenario,
    ScriptError,
    build_options,
    parse_line,
    parse_segment,
    show_options,
)

BEGINS_NS = 10**15
TOLERANCE_NS = 2_000_000  # the wheel's tick, and rounding of what a script says
PEER_ISN = 4_000_000_000  # wraps around soon
PEER_PORT, OWN_PORT = 1000, 80
ADDRESSES = {"ipv4": ("10.0.0.1", "10.0.0.2"), "ipv6": ("fd00::1", "fd00::2")}
MTU = {"ipv4": 1500, "ipv6": 1520}  # so that segments are as large in both
BITS = {"in": select.POLLIN, "out": select.POLLOUT, "pri": select.POLLPRI, "err": select.POLLERR, "hup": select.POLLHUP}
SEND_FLAGS = {"oob": socket.MSG_OOB, "more": socket.MSG_MORE, "peek": socket.MSG_PEEK}


class Mismatch(AssertionError):
    """The stack did something else than the script says."""


class Runner:
    """A scenario on its way."""

    def __init__(self, scenario: Scenario, family: str, library: str | None = None) -> None:
        self.scenario = scenario
        self.own, self.peer = ADDRESSES[family]
        settings = {"cells": 1024, "endpoints": 32, "mtu": MTU[family], "time_wait_ms": 60_000} | scenario.settings
        self.peer_isn = settings.pop("peer_isn", PEER_ISN)
        self.stack = Stack(BEGINS_NS, library=library, **settings)
        self.free = (self.stack.free_cells, self.stack.free_endpoints)
        self.sockets: dict[str, Socket] = {}
        self.gathered: list[bytes] = []  # packets of the peer that come with the next one
        self.sent: list[tuple[int, bytes]] = []  # packets of the stack that no line has spoken of yet
        self.stack_isn = 0
        self.pattern = Pattern(1)
        self.written: dict[str, int] = {}
        self.read: dict[str, int] = {}
        self.ports = (OWN_PORT, PEER_PORT)

    # -- time ---------------------------------------------------------------------------------------------------------

    def collect(self) -> None:
        while (packet := self.stack.transmit()) is not None:
            self.sent.append((self.stack.now_ns, packet))

    def pass_time(self, until_ns: int) -> None:
        """Timers run when they are due."""
        while True:
            next_ns = self.stack.run_timers()
            self.collect()
            if next_ns > until_ns:
                break
            self.stack.now_ns = max(self.stack.now_ns, next_ns)
        self.stack.now_ns = max(self.stack.now_ns, until_ns)

    def run(self) -> None:
        for line in self.scenario.lines:
            try:
                self.do(line)
            except (Mismatch, ScriptError, OSError, KeyError) as error:
                where = f"{self.scenario.file}.txt:{line.number}: {line.text}"
                raise Mismatch(f"{where}\n  {error}\n  {self.describe()}") from error
        self.expect_silence("at the end")

    def describe(self) -> str:
        states = [f"{name}: {one.info().named()}" for name, one in self.sockets.items() if isinstance(one, TcpSocket)]
        return "\n  ".join([*(f"sent: {self.show(packet)}" for _, packet in self.sent), *states])

    def do(self, line: Line) -> None:
        if line.verb == ">":
            self.expect(line)
            return
        self.pass_time(self.stack.now_ns + line.wait_ns)
        if line.verb not in ("state", "info", "count", "isn"):
            self.expect_silence("before this line")
        verb = {"<": "receive", "<<": "gather"}.get(line.verb, line.verb)
        handler: Callable[[Line], None] = getattr(self, f"do_{verb}")
        handler(line)
        self.collect()

    # -- segments -----------------------------------------------------------------------------------------------------

    def expect_silence(self, when: str) -> None:
        if self.sent:
            raise Mismatch(f"{when} the stack has sent what no line says: {self.show(self.sent[0][1])}")

    def show(self, packet: bytes) -> str:
        if wire.protocol_of(packet) != wire.TCP:
            return packet.hex()
        found = wire.read_segment(packet)
        letters = "".join(letter for letter, bit in FLAGS.items() if found.flags & bit)
        begin = (found.sequence - self.stack_isn) & 0xFFFFFFFF
        ack = (found.acknowledgement - self.peer_isn) & 0xFFFFFFFF
        options = ",".join(show_options(found, self.peer_isn))
        length = found.payload_bytes
        return (
            f"{letters} {begin}:{begin + length}({length}) ack {ack} win {found.window} urg {found.urgent} <{options}>"
        )

    def expect(self, line: Line) -> None:
        """The next packet of the stack comes so much later than the line before, and says so."""
        due_ns = self.stack.now_ns + line.wait_ns
        if not self.sent:
            self.pass_time(due_ns + TOLERANCE_NS if line.wait_ns else due_ns)
        if not self.sent:
            raise Mismatch("the stack has sent nothing")
        when_ns, packet = self.sent.pop(0)
        if abs(when_ns - due_ns) > TOLERANCE_NS:
            raise Mismatch(f"it was sent {(when_ns - due_ns) / 1e9:+.3f} s from then: {self.show(packet)}")
        self.stack.now_ns = max(when_ns, due_ns)
        self.compare(packet, line)

    def compare(self, packet: bytes, line: Line) -> None:
        wanted, found = parse_segment(line.text[2:]), wire.read_segment(packet)
        if found.flags & wire.SYN:
            self.stack_isn = found.sequence
        begin = (found.sequence - self.stack_isn) & 0xFFFFFFFF
        ack = (found.acknowledgement - self.peer_isn) & 0xFFFFFFFF
        same = (
            wanted.flags == found.flags
            and (begin, found.payload_bytes) == (wanted.begin & 0xFFFFFFFF, wanted.length)
            and wanted.ack in (None, ack)
            and wanted.window in (None, found.window)
            and wanted.urgent in (None, found.urgent)
            and self.options_fit(wanted.options, found)
        )
        if not same:
            raise Mismatch(f"it was {self.show(packet)}")
        if found.payload_bytes and not found.flags & wire.SYN:
            self.check_payload(packet[found.payload_at :], begin)

    def options_fit(self, wanted: str | None, found: wire.Segment) -> bool:
        shown = show_options(found, self.peer_isn)
        if wanted is None:
            return True
        asked = [option for option in wanted.split(",") if option]
        if "..." in asked:
            return all(option in shown for option in asked if option != "...")
        return asked == shown

    def check_payload(self, payload: bytes, begin: int) -> None:
        if payload != self.pattern.at(begin - 1, len(payload)):
            raise Mismatch(f"the bytes from {begin} are not those that were written")

    def do_receive(self, line: Line) -> None:
        self.do_gather(line)
        self.stack.receive(*self.gathered)
        self.gathered.clear()

    def do_gather(self, line: Line) -> None:
        """`<< SEGMENT`: comes together with the next one."""
        segment = parse_segment(line.text.lstrip("<").strip())
        payload = self.pattern.at(segment.begin - 1, segment.length) if segment.length else b""
        options = build_options(segment.options or "", self.stack_isn)
        ack = ((segment.ack or 0) + self.stack_isn) & 0xFFFFFFFF if segment.ack is not None else 0
        own_port, peer_port = self.ports
        header = struct.pack(
            ">HHIIBBHHH",
            peer_port,
            own_port,
            (segment.begin + self.peer_isn) & 0xFFFFFFFF,
            ack,
            (5 + len(options) // 4) << 4,
            segment.flags,
            65535 if segment.window is None else segment.window,
            0,
            segment.urgent or 0,
        )
        self.gathered.append(self.packet(wire.TCP, header + options + payload, 16, damaged=segment.more == "bad"))

    def packet(self, protocol: int, transport: bytes, checksum_at: int, *, damaged: bool = False) -> bytes:
        source, destination = (ipaddress.ip_address(text).packed for text in (self.peer, self.own))
        pseudo = source + destination + struct.pack(">II", len(transport), protocol)
        check = wire.checksum(pseudo + transport) ^ damaged
        transport = transport[:checksum_at] + check.to_bytes(2, "big") + transport[checksum_at + 2 :]
        build = wire.ipv4 if len(source) == 4 else wire.ipv6
        return build(source, destination, protocol, transport)

    # -- calls --------------------------------------------------------------------------------------------------------

    def returns(self, line: Line, call: Callable[[], object]) -> None:
        """`… = RESULT`, where RESULT is a number, a word, or the name of an errno."""
        wanted = line.text.partition(" = ")[2].strip()
        try:
            result = str(call())
        except OSError as error:
            result = errno.errorcode[error.errno or 0]
        if wanted and result != wanted:
            raise Mismatch(f"it returned {result}")
        if not wanted and result.startswith("E"):
            raise Mismatch(f"it failed: {result}")

    def stream(self, line: Line) -> TcpSocket:
        found = self.sockets[line.words[1]]
        assert isinstance(found, TcpSocket)
        return found

    def number(self, line: Line, index: int = 2) -> int:
        return int(line.words[index])

    def do_listen(self, line: Line) -> None:
        """listen NAME [BACKLOG]"""
        one = self.stack.tcp()
        self.sockets[line.words[1]] = one
        backlog = self.number(line) if len(line.words) > 2 and line.words[2] != "=" else 10
        self.returns(line, lambda: one.bind(self.own, OWN_PORT) or one.listen(backlog) or 0)

    def do_socket(self, line: Line) -> None:
        """socket NAME: bound, and not connected yet"""
        self.sockets[line.words[1]] = self.stack.tcp()
        self.sockets[line.words[1]].bind(self.own, PEER_PORT)

    def do_established(self, line: Line) -> None:
        """established NAME [mss N] [win N] [wscale N] [sack] [ts]: a connection that the peer has opened, from
        listener l"""
        words = [*line.words[2:], ""]
        given = {name: words[words.index(name) + 1] for name in ("mss", "win", "wscale") if name in words}
        window, scale = int(given.get("win", 10000)), int(given.get("wscale", 0))
        options = [f"mss {given.get('mss', 1000)}"]
        options += ["sackOK"] * ("sack" in words) + ["TS 1 0"] * ("ts" in words)
        options += [f"wscale {scale}"] * ("wscale" in given)
        text = f"""
            +0 listen l
            +0 < S 0:0(0) win {min(window, 65535)} <{",".join(options)}>
            +0 > S. 0:0(0) ack 1
            +0 < . 1:1(0) ack 1 win {window >> scale} <{"TS 1 0" if "ts" in words else ""}>
            +0 accept l {line.words[1]}"""
        for one in text.split("\n")[1:]:
            self.do(parse_line(line.number, one.strip()))
            self.collect()

    def do_connect(self, line: Line) -> None:
        """connect NAME: from port 1000 to the peer's port 80"""
        if line.words[1] not in self.sockets:
            self.do_socket(line)
        self.ports = (PEER_PORT, OWN_PORT)
        self.returns(line, lambda: self.stream(line).connect(self.peer, OWN_PORT) or 0)

    def do_accept(self, line: Line) -> None:
        """accept LISTENER NAME"""

        def call() -> int:
            self.sockets[line.words[2]] = self.stream(line).accept()
            return 0

        self.returns(line, call)

    def do_write(self, line: Line) -> None:
        """write NAME BYTES [oob|more]"""
        name, count = line.words[1], self.number(line)
        begin = self.written.get(name, 0)
        flags = sum(SEND_FLAGS.get(word, 0) for word in line.words[3:])

        def call() -> int:
            done = self.stream(line).send(self.pattern.at(begin, count), flags)
            self.written[name] = begin + done
            return done

        self.returns(line, call)

    def do_read(self, line: Line) -> None:
        """read NAME BYTES [oob|peek]: the bytes are compared"""
        name, flags = line.words[1], sum(SEND_FLAGS.get(word, 0) for word in line.words[3:])
        begin = self.read.get(name, 0)

        def call() -> int:
            data = self.stream(line).receive(self.number(line), flags)
            if not flags:
                if data != self.pattern.at(begin, len(data)):
                    raise Mismatch("these are not the bytes that were sent")
                self.read[name] = begin + len(data)
            return len(data)

        self.returns(line, call)

    def do_skip(self, line: Line) -> None:
        """skip NAME BYTES: an urgent byte that reads pass by"""
        self.read[line.words[1]] = self.read.get(line.words[1], 0) + self.number(line)

    def do_shutdown(self, line: Line) -> None:
        """shutdown NAME rd|wr|rdwr"""
        how = {"rd": socket.SHUT_RD, "wr": socket.SHUT_WR, "rdwr": socket.SHUT_RDWR}[line.words[2]]
        self.returns(line, lambda: self.stream(line).shutdown(how) or 0)

    def do_close(self, line: Line) -> None:
        self.sockets.pop(line.words[1]).close()

    def do_abort(self, line: Line) -> None:
        self.stream(line).abort()

    def do_set(self, line: Line) -> None:
        """set NAME OPTION VALUE"""
        self.returns(line, lambda: self.sockets[line.words[1]].set(line.words[2], self.number(line, 3)) or 0)

    # -- what is seen of it -------------------------------------------------------------------------------------------

    def do_state(self, line: Line) -> None:
        """state NAME STATE"""
        if self.stream(line).state != line.words[2]:
            raise Mismatch(f"it is in {self.stream(line).state}")

    def do_error(self, line: Line) -> None:
        """error NAME ERRNO|none"""
        number = self.sockets[line.words[1]].take_error()
        found = errno.errorcode[number] if number else "none"
        if found != line.words[2]:
            raise Mismatch(f"the error is {found}")

    def do_ready(self, line: Line) -> None:
        """ready NAME [in] [out] [pri] [err] [hup]: these and no others"""
        ready = self.sockets[line.words[1]].ready()
        found = {name for name, bit in BITS.items() if ready & bit}
        if found != set(line.words[2:]):
            raise Mismatch(f"ready for {sorted(found)}")

    def do_info(self, line: Line) -> None:
        """info NAME FIELD VALUE: of struct byway_tcp_info"""
        found = self.stream(line).info().named()[line.words[2]]
        if found != self.number(line, 3):
            raise Mismatch(f"{line.words[2]} is {found}")

    def do_count(self, line: Line) -> None:
        """count COUNTER VALUE"""
        found = (self.stack.counters() | self.stack.drops())[line.words[1]]
        if found != self.number(line):
            raise Mismatch(f"{line.words[1]} is {found}")

    def do_mark(self, line: Line) -> None:
        """mark NAME yes|no"""
        if self.stream(line).at_mark() != (line.words[2] == "yes"):
            raise Mismatch("the mark is elsewhere")

    def do_free(self, line: Line) -> None:
        """free: all memory and all sockets are as at the beginning"""
        if (self.stack.free_cells, self.stack.free_endpoints) != self.free:
            raise Mismatch(
                f"free cells and sockets: {self.stack.free_cells}, {self.stack.free_endpoints}, not {self.free}"
            )

    def do_wait(self, line: Line) -> None:
        """wait: so much time passes, and nothing is sent"""

    def do_port(self, line: Line) -> None:
        """port N: the peer sends from there"""
        self.ports = (self.ports[0], self.number(line, 1))

    def do_isn(self, line: Line) -> None:
        """isn N: the peer's numbers begin there: another connection"""
        self.peer_isn = self.number(line, 1)

    def do_icmp(self, line: Line) -> None:
        """icmp TYPE CODE [mtu N] [seq N]: about a segment of the stack, by its sequence number"""
        values = dict(zip(line.words[3::2], map(int, line.words[4::2]), strict=True))
        own, peer = (ipaddress.ip_address(text).packed for text in (self.own, self.peer))
        ports = struct.pack(">HHI", *self.ports, (values.get("seq", 1) + self.stack_isn) & 0xFFFFFFFF)
        quote = (wire.ipv4 if len(own) == 4 else wire.ipv6)(own, peer, wire.TCP, ports)
        head = struct.pack(
            ">BBHHH" if len(own) == 4 else ">BBHI", *map(int, line.words[1:3]), 0, *self.rest(values, own)
        )
        if len(own) == 16:
            self.stack.receive(self.packet(wire.ICMPV6, head + quote, 2))
            return
        message = head + quote
        message = message[:2] + wire.checksum(message).to_bytes(2, "big") + message[4:]
        self.stack.receive(wire.ipv4(peer, own, wire.ICMP, message))

    @staticmethod
    def rest(values: dict[str, int], own: bytes) -> list[int]:
        return [0, values.get("mtu", 0)] if len(own) == 4 else [values.get("mtu", 0)]


def run(scenario: Scenario, family: str, library: str | None = None) -> None:
    """Raises Mismatch."""
    Runner(scenario, family, library).run()
