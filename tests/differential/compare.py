"""Judges two runs of a case. Strict, but for what Linux itself leaves open.

Left open: how much of a large send or receive is done at once, and what readiness shows while that is so. A stream is
*loose* from the moment when more is under way than any socket buffer is sure to hold (FLIGHT_STRICT_BYTES) until
nothing is; loose receives must still bring the right bytes in the right order, and a drain must bring them all.

A connection is *torn* when one of its ends goes while a stream of it is loose: how much had arrived by then, and
whether FIN could follow it, decides between reset and end, ECONNRESET and EPIPE. One kernel with one program shows both
when the receive buffer begins at another size (net.ipv4.tcp_rmem 65536, 131072 or 262144) or does not grow
(tcp_moderate_rcvbuf 0): cases 1/233, 2/219, 2/321, 2/394, 3/11 and 3/435 of ./dev diff were such.
It is torn too when a process is killed in a receive that sleeps under SO_RCVLOWAT: Linux takes bytes out as it dies.
And it is torn when a process dies after a socket was given to a program that is not under Byway: what the dead one had
not read of a ring makes no reset there (docs/local-transport.md, section 9).

So it is with urgent data on a loose stream: whether its byte gets into the receiver's window decides between the byte,
EAGAIN (announced, not there) and EINVAL (nothing of it yet). The kernel alone shows the byte with tcp_rmem 262144 and
an error with 131072 in cases 1/1101, 2/1705, 3/1133, 15/1958 and 22/1153, and in 22/340 the byte with
tcp_moderate_rcvbuf 1 and an error with 0. And a call that has received all of a loose stream leaves the next one
nothing: that waits, and a signal interrupts it (32/1719: an event with tcp_rmem 131072, EINTR with 262144).

A run is *relayed* when a relay fed one of its programs (docs/local-transport.md, section 9: another connection, whose
resets come a moment later). From the first step that can have made a relay only bytes are compared: none wrong, none
missing before an end without an error. Where programs shared sockets after a fork, not even these: one that reads by a
relay may see what another has read. tests/crash compares such programs with the kernel in its own ways.
"""

from __future__ import annotations

from dataclasses import dataclass

from .case import Case, Step, end_of, other_end
from .run import BLOCKED, DIED, DONE, SPINS, Outcome, Trace, may_wait

FLIGHT_STRICT_BYTES = 32_768  # a receive queue holds this much, in whatever pieces it came
SEND_STRICT_BYTES = 200_000  # a fresh sender takes this much at once
PIECE_BYTES = 16_384  # a send up to this size arrives at once
IN_PIECES = ("sendmmsg", "sendfile", "splice", "stdio", "writev", "sendmsg", "pwritev2", "dprintf")
SMALL_BUFFERS_BYTES = 1  # … when the case has set SO_SNDBUF or SO_RCVBUF
SO_SNDBUF, SO_RCVBUF, SO_RCVLOWAT = 7, 8, 18
RAW = ("c", "h")  # checksum and first bytes: only where `content` cannot be told (out-of-band data)
END_ERRORS = {"EAGAIN", "ECONNRESET", "EPIPE", "ENOTCONN"}  # what a torn connection may show, or no error
CLOSES = ("close", "close_range")
SHOWN_AGAIN = (0x1, 0x4, 0x5, 0x41, 0x44, 0x45)  # bytes to read, and what an edge tells beside them
END_CALLS = (*CLOSES, "shutdown", "kill", "exit")
SO_ERROR, SO_LINGER = 4, 13
SHUT_RD, SHUT_RDWR = 0, 2
URGENT_ERRORS = {"EAGAIN", "EINVAL"}
MSG_OOB, MSG_PEEK = 1, 2
WAITS = ("poll", "select", "epoll_wait", "recv")
AMOUNTS = ("r", "n", "e", "value", "events", "content", "missing", "count", "message_flags", *RAW)


@dataclass(frozen=True)
class Difference:
    index: int
    step: Step
    kernel: str
    byway: str

    def __str__(self) -> str:
        return f"step {self.index} {self.step}\n      kernel: {self.kernel}\n      byway:  {self.byway}"


class Flights:
    """How much is under way on each stream in one run, as the walk goes on."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def count(self, step: Step, outcome: Outcome) -> None:
        sends, receives = step.sends(), step.receives()
        done = outcome.number("n", max(outcome.number("r"), 0))
        if sends:
            self.bytes[sends] = self.bytes.get(sends, 0) + done
        if receives and not step.number("flags") & MSG_PEEK:
            self.bytes[receives] = self.bytes.get(receives, 0) - done


class Walk:
    def __init__(self, case: Case, kernel: Trace, byway: Trace) -> None:
        self.case = case
        self.kernel = kernel
        self.byway = byway
        self.flights = (Flights(), Flights())
        self.loose: set[str] = set()
        self.torn: set[str] = set()  # connections
        self.cut: set[str] = set()  # connections on which a reset was told under Byway, or the receiver shut down
        self.low_water: set[str] = set()  # ends with SO_RCVLOWAT
        self.lingering: set[str] = set()  # ends whose close waits for the other's acknowledgement
        self.interrupted: set[str] = set()  # a send did not end: nobody knows how much it sent
        self.given = False  # a program that is not under Byway may have a socket
        self.died = False  # a process has ended
        self.signalled: set[str] = set()  # actors that waited in vain on one side, until a signal came
        self.urgent: set[str] = set()  # loose streams on which one side has seen urgent data before the other
        self.apart = False  # after a legitimate blocked/done divergence nothing but content can be compared
        self.relayed_from = first_relay(case) if byway.carried.relays else len(case.steps)
        self.forked = any(step.call == "fork" for step in case.steps)
        self.small = any(
            step.call == "setsockopt" and step.number("level", 1) == 1 and step.number("name") in (SO_SNDBUF, SO_RCVBUF)
            for step in case.steps
        )

    def differences(self) -> list[Difference]:
        found = []
        for index, step in enumerate(self.case.steps):
            ours, theirs = self.byway.outcomes[index], self.kernel.outcomes[index]
            self.loosen(step)
            self.loosen_wakeup(step, ours, theirs)
            self.note_low_water(step, {theirs.kind, ours.kind})
            self.tear(step, {theirs.kind, ours.kind})
            if theirs.finished_at is not None and theirs.finished_at == ours.finished_at != index:
                self.tear(self.case.steps[theirs.finished_at], set())  # the end of the connection ended this call
            self.note_linger(step)
            self.note_cut(step, ours)
            same = self.same if index < self.relayed_from else self.relayed_same
            if not same(step, theirs, ours) and not self.closed_under(index, step, ours):
                found.append(Difference(index, step, show(theirs, index), show(ours, index)))
            if step.sends() and step.number("len") > PIECE_BYTES and {theirs.kind, ours.kind} & {BLOCKED, DIED}:
                self.interrupted.add(step.sends() or "")
            for flights, outcome in zip(self.flights, (theirs, ours), strict=True):
                flights.count(step, outcome)
            self.tighten()
        return found

    def loosen_wakeup(self, step: Step, ours: Outcome, theirs: Outcome) -> None:
        """A sleeper that is woken by the first piece of several may or may not see the second."""
        stream, index = step.receives(), theirs.finished_at
        if stream and index is not None and index == ours.finished_at:
            by = self.case.steps[index]
            if by.sends() == stream and (by.text("api") in IN_PIECES or by.number("len") > PIECE_BYTES):
                self.loose.add(stream)

    def loosen(self, step: Step) -> None:
        stream = step.sends()
        if not stream:
            return
        limit = SMALL_BUFFERS_BYTES if self.small else FLIGHT_STRICT_BYTES
        under_way = max(flights.bytes.get(stream, 0) for flights in self.flights)
        if under_way + step.number("len") > limit:
            self.loose.add(stream)

    def tear(self, step: Step, kinds: set[str]) -> None:
        gives = self.gives(step)
        if step.call not in END_CALLS and not gives and DIED not in kinds:
            return
        self.given |= gives
        end = end_of(step.text("fd")) if step.call in (*CLOSES, "shutdown") else None
        if not gives:
            self.torn |= {stream[:-1] for stream in self.loose if end is None or stream[:-1] == end[:-1]}
        self.died |= step.call in ("kill", "exit") or DIED in kinds
        if self.given and self.died:
            self.torn |= {stream[:-1] for flights in self.flights for stream in flights.bytes}

    def note_low_water(self, step: Step, kinds: set[str]) -> None:
        end = end_of(step.text("fd")) or ""
        if step.call == "setsockopt" and (step.number("level"), step.number("name")) == (1, SO_RCVLOWAT):
            self.low_water.add(end)
        if step.call == "recv" and DIED in kinds and end in self.low_water:
            self.torn.add(end[:-1])

    def closed_under(self, index: int, step: Step, ours: Outcome) -> bool:
        """Another thread closes a descriptor that a call waits for, which select(2) leaves open."""
        if step.call not in ("poll", "select") or ours.finished_at is None:
            return False
        slots = {slot for slot, _ in step.items()}
        meanwhile = self.case.steps[index + 1 : ours.finished_at + 1]
        return any(later.call in CLOSES and later.text("fd") in slots for later in meanwhile)

    def gives(self, step: Step) -> bool:
        """An image under Byway keeps what its process alone held."""
        return step.call == "send_fd" or (step.call == "exec" and (self.forked or step.text("env") != "keep"))

    def note_linger(self, step: Step) -> None:
        if step.call == "setsockopt" and (step.number("level"), step.number("name")) == (1, SO_LINGER):
            change = self.lingering.add if step.number("on") and step.number("value") else self.lingering.discard
            change(end_of(step.text("fd")) or "")

    def note_cut(self, step: Step, ours: Outcome) -> None:
        asked = step.call == "getsockopt" and step.number("name") == SO_ERROR and ours.number("value")
        shut = step.call == "shutdown" and step.number("how") in (SHUT_RD, SHUT_RDWR)
        end = end_of(step.text("fd"))
        if end and (asked or shut or ours.fields.get("e") in ("ECONNRESET", "EPIPE")):
            self.cut.add(end[:-1])

    def tighten(self) -> None:
        under_way = {s for s in self.loose if any(f.bytes.get(s, 0) != 0 for f in self.flights)}
        self.loose = under_way | self.interrupted
        self.urgent &= self.loose

    def concerns_loose(self, step: Step) -> bool:
        if step.call in ("poll", "select", "epoll_wait"):
            return bool(self.loose)
        end = end_of(step.text("fd"))
        return bool(end and (end in self.loose or other_end(end) in self.loose))

    def concerns_torn(self, step: Step) -> bool:
        if step.call in ("poll", "select", "epoll_wait"):
            return bool(self.torn)
        end = end_of(step.text("fd"))
        return bool(end and end[:-1] in self.torn)

    def torn_same(self, step: Step, theirs: Outcome, ours: Outcome) -> bool:
        """Anything that an end can look like; but bytes that FIN follows are not missing."""
        errors = {o.fields["e"] for o in (theirs, ours) if "e" in o.fields}
        may = END_ERRORS | ({"EFAULT"} if step.text("pointer") == "bad" else set())
        cut = (end_of(step.text("fd")) or "")[:-1] in self.cut
        if errors - may and theirs.fields.get("e") != ours.fields.get("e"):
            return False
        if "e" not in ours.fields and not cut and ours.number("missing") > theirs.number("missing"):
            return False
        if theirs.kind != ours.kind or theirs.finished_at != ours.finished_at:
            self.apart = {theirs.kind, ours.kind} <= {DONE, BLOCKED, DIED}
            return self.apart
        open_too = ("signals", "state", "took", "control")
        return rest_of(theirs, *open_too) == rest_of(ours, *open_too)

    def shows_again(self, step: Step, theirs: Outcome, ours: Outcome) -> bool:
        """Bytes that another process of the family puts into the kernel are an edge there (local-transport.md, 9)."""
        if step.call != "epoll_wait" or not (self.given and self.forked) or theirs.kind != ours.kind:
            return False
        shown, expected = (set(o.fields.get("events", "").split(",")) - {""} for o in (ours, theirs))
        return shown > expected and all(int(e.split(":")[1], 16) in SHOWN_AGAIN for e in shown - expected)

    def relayed_same(self, step: Step, theirs: Outcome, ours: Outcome) -> bool:
        if SPINS in (theirs.kind, ours.kind):
            return False
        cut = (end_of(step.text("fd")) or "")[:-1] in self.cut
        if self.forked or cut or "e" in ours.fields:
            return self.forked or ours.fields.get("content", "right") == "right"
        return ours.fields.get("content", "right") == "right" and ours.number("missing") <= theirs.number("missing")

    def lingers(self, step: Step, theirs: Outcome, ours: Outcome) -> bool:
        """SO_LINGER waits until FIN is acknowledged, which the other kernel puts off by its timer of delayed
        acknowledgements (4 to 8 ms on a connection that has carried nothing, else 43 to 48 ms): a close that succeeds
        on both sides may end in another step."""
        if step.call not in CLOSES or end_of(step.text("fd")) not in self.lingering or theirs.fields != ours.fields:
            return False
        self.apart = {theirs.kind, ours.kind} == {DONE}
        return self.apart

    def send_is_open(self, step: Step) -> bool:
        stream = step.sends()
        under_way = max(flights.bytes.get(stream or "", 0) for flights in self.flights)
        limit = SMALL_BUFFERS_BYTES if self.small else SEND_STRICT_BYTES
        return under_way + step.number("len") > limit

    def same(self, step: Step, theirs: Outcome, ours: Outcome) -> bool:
        if ours.fields.get("content", "right") not in ("right", theirs.fields.get("content")):
            return False  # wrong as on the kernel: somebody who died had taken bytes out
        if self.apart or strictly_same(theirs, ours):
            return True
        if self.lingers(step, theirs, ours) or self.shows_again(step, theirs, ours):
            return True
        if self.signal_is_late(step, theirs, ours):
            return True
        if (theirs.kind, theirs.finished_at) == (ours.kind, ours.finished_at) and (
            self.urgent_same(step, theirs, ours) or self.waited_in_vain(step, theirs, ours)
        ):
            return True
        if self.concerns_torn(step):
            return self.torn_same(step, theirs, ours)
        if not self.concerns_loose(step):
            return False
        if step.sends() and not self.send_is_open(step):
            return False
        if theirs.kind != ours.kind or theirs.finished_at != ours.finished_at:
            self.apart = {theirs.kind, ours.kind} <= {DONE, BLOCKED}
            return self.apart
        return loosely_same(step, theirs, ours)

    def urgent_same(self, step: Step, theirs: Outcome, ours: Outcome) -> bool:
        """Who has no urgent byte has more under way than a receive queue is sure to hold, or has had the byte."""
        stream = step.receives()
        if stream not in self.loose or not step.number("flags") & MSG_OOB:
            return False
        limit = SMALL_BUFFERS_BYTES if self.small else FLIGHT_STRICT_BYTES
        for flights, outcome in zip(self.flights, (theirs, ours), strict=True):
            error = outcome.fields.get("e")
            is_open = flights.bytes.get(stream, 0) > limit or stream in self.urgent
            if error and (error not in URGENT_ERRORS or not is_open):
                return False
        self.urgent.add(stream)
        return rest_of(theirs) == rest_of(ours)

    def waited_in_vain(self, step: Step, theirs: Outcome, ours: Outcome) -> bool:
        """One side had nothing more to come, waited, and was interrupted."""
        interrupted = [outcome.fields.get("e") == "EINTR" for outcome in (theirs, ours)]
        if step.call not in WAITS or interrupted[0] == interrupted[1]:
            return False
        flights = self.flights[interrupted.index(True)]
        streams = {other_end(end) for slot, _ in step.items() if (end := end_of(slot))} | {step.receives()}
        awaited = self.loose if step.call == "epoll_wait" else self.loose & streams
        if not awaited or any(flights.bytes.get(stream, 0) > 0 for stream in awaited):
            return False
        same = rest_of(theirs, "took", "signals", "control") == rest_of(ours, "took", "signals", "control")
        if same:  # the other has the signal still to come, where it was blocked
            self.signalled.add(step.actor)
        return same

    def signal_is_late(self, step: Step, theirs: Outcome, ours: Outcome) -> bool:
        if step.actor not in self.signalled or theirs.fields.get("signals") == ours.fields.get("signals"):
            return False
        same = (theirs.kind, theirs.finished_at) == (ours.kind, ours.finished_at)
        same = same and without_signals(theirs) == without_signals(ours)
        if same:
            self.signalled.discard(step.actor)
        return same


def without_signals(outcome: Outcome) -> dict[str, str]:
    return {key: value for key, value in outcome.fields.items() if key != "signals"}


def first_relay(case: Case) -> int:
    """The first step that takes a socket from Byway for good, and may make a relay."""
    return next((index for index, step in enumerate(case.steps) if may_wait(step)), 0)


def strictly_same(theirs: Outcome, ours: Outcome) -> bool:
    return (theirs.kind, theirs.finished_at, theirs.fields) == (ours.kind, ours.finished_at, ours.fields)


def loosely_same(step: Step, theirs: Outcome, ours: Outcome) -> bool:
    """Amounts may differ; errors only where one of the two could not go on just then."""
    errors = {outcome.fields["e"] for outcome in (theirs, ours) if "e" in outcome.fields}
    if step.text("pointer") == "bad" and errors == {"EAGAIN", "EFAULT"}:  # nothing was there, or something
        return True
    if len(errors) == 2 or (errors and errors != {"EAGAIN"} and ("e" in theirs.fields) != ("e" in ours.fields)):
        return False
    if ("e" in theirs.fields) != ("e" in ours.fields):  # who finds nothing waits, and has no control data
        return rest_of(theirs, "took", "control") == rest_of(ours, "took", "control")
    return rest_of(theirs, "took") == rest_of(ours, "took")


def rest_of(outcome: Outcome, *more: str) -> dict[str, str]:
    """What must be the same although amounts are open."""
    return {key: value for key, value in outcome.fields.items() if key not in (*AMOUNTS, *more)}


def show(outcome: Outcome, index: int) -> str:
    when = "" if outcome.finished_at in (index, None) else f" (ended by step {outcome.finished_at})"
    return f"{outcome}{when}"


def differences(case: Case, kernel: Trace, byway: Trace) -> list[Difference]:
    return Walk(case, kernel, byway).differences()
