"""Runs one case once and records what the programs saw.

In lock step: a step is sent to its actor and its answer awaited, or the actor is seen to sleep in its call (*blocked*);
then its later steps are *busy*, until some other step ends the call. So a recorded outcome is a fact about the
sequence, not about the speed of the machine. A run may be given an earlier run as `expected`: it then waits long for
what came there (what does not come is a lost wake-up), and only as long as needed for what did not.
"""

from __future__ import annotations

import errno
import os
import signal
import time
import zlib
from dataclasses import dataclass, field, replace
from select import POLLIN
from socket import MSG_OOB, MSG_PEEK

from .agents import BLOB_BYTES, GONE, SLEEPING, Actor, Stage, blob
from .case import Case, Step, end_of
from .counters import Carried, carried_by

ANSWER_WAIT_S = 4.0  # for what must come
HUNG_WAIT_S = 0.1  # … when something has not come already
NUDGE_AFTER_S = 0.03
TIMED_WAIT_S = 0.25  # for calls that end by themselves (timeouts of at most 30 ms)
BLOCKED_LOOK_MS = 1.0  # between two looks at a sleeping actor
WAITED_US = 5_000  # a timed call that took longer has waited
META = ("new", "timed", "port_of", "child")
TCP_FIN_WAIT1, TCP_FIN_WAIT2 = 4, 5
SIGALRM = int(signal.SIGALRM)

DONE, BLOCKED, BUSY, DIED, GONE_BEFORE, SPINS = "done", "blocked", "busy", "died", "gone", "spins"


def may_wait(step: Step) -> bool:
    """Calls that take a socket from Byway for good wait for the other end's unread bytes (local-transport.md, 7)."""
    by_libc = step.call in ("send", "recv") and step.text("api") in ("stdio", "dprintf", "splice")
    out_of_band = step.call in ("send", "recv") and bool(step.number("flags") & MSG_OOB)
    return by_libc or out_of_band or step.call in ("exec", "send_fd", "setsockopt")


def without_alarm(fields: dict[str, str]) -> None:
    others = [s for s in fields.pop("signals", "").split(",") if s and not s.startswith(f"{SIGALRM}*")]
    if others:
        fields["signals"] = ",".join(others)


@dataclass
class Outcome:
    """What one step showed. `finished_at` is the step after which it ended: its own, a later one, or None."""

    kind: str
    fields: dict[str, str] = field(default_factory=dict)
    finished_at: int | None = None

    def number(self, key: str, otherwise: int = 0) -> int:
        value = self.fields.get(key, "")
        return int(value) if value.lstrip("-").isdigit() else otherwise

    def __str__(self) -> str:
        shown = " ".join(f"{key}={value}" for key, value in self.fields.items())
        return f"{self.kind} {shown}".strip()


@dataclass
class Trace:
    outcomes: list[Outcome]
    carried: Carried
    stderr: str = ""
    hung: bool = False  # what came in the expected run has not come in seconds


@dataclass
class Stream:
    """One direction's bytes: position p is blob[(base + p) % BLOB_BYTES]."""

    base: int
    sent: int = 0
    received: int = 0
    out_of_band: bool = False
    sending: bool = False
    receiving: bool = False

    def expected_crc(self, count: int) -> str:
        return f"{zlib.crc32(self.slice(self.received, count)):08x}"

    def slice(self, position: int, count: int) -> bytes:
        data = blob()
        start = (self.base + position) % BLOB_BYTES
        piece = data[start : start + count]
        while len(piece) < count:
            piece += data[: count - len(piece)]
        return piece

    def where(self, head: bytes) -> str:
        """Where in the stream bytes that should not be here come from."""
        found = (blob() + blob()[:64]).find(head)
        return f"position {(found - self.base) % BLOB_BYTES}" if found >= 0 and len(head) >= 4 else "nowhere"


class Run:
    def __init__(self, case: Case, environment: dict[str, str], expected: Trace | None, settle_s: float) -> None:
        self.case = case
        self.settle_s = settle_s
        self.patience_s = ANSWER_WAIT_S
        self.hung = False
        self.expected = expected
        self.stage = Stage(case.topology, environment)
        self.outcomes: list[Outcome] = []
        self.pending: dict[str, int] = {}  # actor → the step that it is in
        self.streams: dict[str, Stream] = {}
        self.ports: dict[str, int] = {}  # listener's slot → port
        self.port_names: dict[int, str] = {}
        self.forked: dict[str, str] = {}  # pid → actor

    def play(self) -> Trace:
        try:
            for index, step in enumerate(self.case.steps):
                self.outcomes.append(Outcome(GONE_BEFORE))
                self.do(index, step)
                if self.settle_s:
                    time.sleep(self.settle_s)
                for name in list(self.pending):
                    if self.pending[name] != index:
                        self.look_at(name, index)
            return Trace(self.outcomes, self.carried(), self.stage.stderr(), self.hung)
        finally:
            self.stage.end()

    def carried(self) -> Carried:
        if "LD_PRELOAD" not in self.stage.environment:
            return Carried()
        carried = carried_by([program.pid for program in self.stage.programs])
        if carried.relays or not any(may_wait(step) for step in self.case.steps):
            return carried
        return replace(carried, relays=len(self.stage.relays()))  # of programs that are no longer there

    # -- one step ------------------------------------------------------------------------------------------------------

    def do(self, index: int, step: Step) -> None:
        outcome = self.outcomes[index]
        actor = self.stage.actors.get(step.actor)
        if actor is None or not actor.alive:
            return
        if step.call in ("signal", "kill"):
            self.do_signal(actor, step, outcome)
            outcome.finished_at = index
        elif step.actor in self.pending or self.stream_is_busy(step):
            outcome.kind = BUSY
        elif step.call == "fork":
            self.do_fork(actor, step, outcome)
            outcome.finished_at = index
        else:
            self.begin(actor, step)
            self.await_answer(actor, index, index)

    def do_signal(self, actor: Actor, step: Step, outcome: Outcome) -> None:
        outcome.kind = DONE
        if step.call == "kill":
            self.stage.kill(actor)
            for other in actor.program.actors:
                if other.name in self.pending:
                    self.end_pending(other, self.outcomes[self.pending[other.name]], len(self.outcomes) - 1)
        else:
            os.kill(actor.program.pid, step.number("signal", signal.SIGUSR1))
            self.await_handling(actor.program.actors[0], outcome)

    def await_handling(self, main: Actor, outcome: Outcome) -> None:
        """An idle program has taken its signal when it answers; it may also have died of it."""
        if main.name in self.pending or not main.alive:
            return
        main.ask("nothing")
        if not main.answer(1000 * ANSWER_WAIT_S):
            self.stage.await_death(main)
            self.end_pending(main, outcome, len(self.outcomes) - 1)
            for other in main.program.actors:
                other.alive = False

    def do_fork(self, actor: Actor, step: Step, outcome: Outcome) -> None:
        name = step.text("new")
        if name in self.stage.actors:
            outcome.kind = BUSY
            return
        answer = self.stage.fork(actor, name)
        outcome.kind = DONE if name in self.stage.actors else DIED
        outcome.fields = {"r": "pid"} if outcome.kind == DONE else {"answer": answer}
        if outcome.kind == DONE:
            self.forked[name] = str(self.stage.actors[name].program.pid)

    def stream_is_busy(self, step: Step) -> bool:
        """Two callers in one direction at the same time: Linux leaves open who is first."""
        sends, receives = step.sends(), step.receives()
        return bool((sends and self.stream(sends).sending) or (receives and self.stream(receives).receiving))

    def stream(self, name: str) -> Stream:
        return self.streams.setdefault(name, Stream(zlib.crc32(name.encode()) % BLOB_BYTES))

    def begin(self, actor: Actor, step: Step) -> None:
        words = [step.call]
        slots = actor.program.slots
        for key, value in step.arguments.items():
            if key in META:
                continue
            if key in ("fd", "epfd", "passed") and isinstance(value, str):
                words.append(f"{key}={slots.get(value, -1)}")
            elif isinstance(value, list):
                words.append(f"{key}=" + ",".join(f"{slots.get(str(slot), -1)}:{events}" for slot, events in value))
            else:
                words.append(f"{key}={value}")
        if step.call == "connect":
            words.append(f"port={self.ports.get(step.text('port_of'), 1)}")
        if step.call == "wait":
            words.append(f"pid={self.forked.get(step.text('child'), '-1')}")
        sends, receives = step.sends(), step.receives()
        if sends:
            stream = self.stream(sends)
            stream.sending = True
            words.append(f"position={stream.base + stream.sent}")
        if receives:
            self.stream(receives).receiving = True
        if receives and step.call == "drain":
            words.append(f"want={self.still_to_come(receives)}")
        actor.ask(" ".join(words))

    def still_to_come(self, name: str) -> int:
        stream = self.stream(name)
        if stream.out_of_band:
            return 0
        in_call = 0
        for index in self.pending.values():
            step = self.case.steps[index]
            if step.sends() == name:
                in_call += step.number("len")
        return stream.sent + in_call - stream.received

    # -- waiting -------------------------------------------------------------------------------------------------------

    def await_answer(self, actor: Actor, index: int, now: int) -> None:
        """Waits for the answer to step `index`; leaves it pending when the actor sleeps."""
        step, outcome = self.case.steps[index], self.outcomes[index]
        expected = self.expected.outcomes[index].finished_at if self.expected else None
        must_come = self.expected is not None and expected is not None and expected <= now
        patience = self.patience_s if must_come else TIMED_WAIT_S if step.number("timed") and now == index else 0.0
        began = time.monotonic()
        answer = actor.answer(3.0 if now == index else 0)
        sleeps, nudged = 0, False
        while answer is None:
            waited = time.monotonic() - began
            state = actor.state()
            if state in GONE:
                answer = actor.answer(0) or ""
                actor.alive = False
                break
            sleeps = sleeps + 1 if state == SLEEPING else 0
            answer = actor.answer(0 if sleeps == 1 else BLOCKED_LOOK_MS)
            if answer is not None:
                break
            if sleeps >= 2 and must_come and not nudged and waited > NUDGE_AFTER_S and may_wait(step):
                nudged = True
                self.nudge(actor)
            elif sleeps >= 2 and waited >= patience:
                outcome.kind = BLOCKED
                self.pending[actor.name] = index
                if must_come:  # one such wait is enough in a run
                    self.patience_s, self.hung = HUNG_WAIT_S, True
                return
            elif waited > 2 * ANSWER_WAIT_S:
                outcome.kind = SPINS  # neither answers nor sleeps
                actor.alive, self.hung = False, True
                return
        self.pending.pop(actor.name, None)
        if answer:
            self.finish(actor, step, outcome, answer)
            if now != index:  # a timer may have fired meanwhile or not: the kernel alone shows both (case 17/200)
                without_alarm(outcome.fields)
            outcome.finished_at = now
        else:
            self.stage.await_death(actor)
            self.end_pending(actor, outcome, now)

    def nudge(self, waiting: Actor) -> None:
        """Lets the idle programs look at their sockets once: by the design, a call that takes a socket from Byway waits
        until the other end has called, or was woken from a call. Programs do; agents in lock step would not."""
        for actor in self.stage.actors.values():
            slots = [(slot, number) for slot, number in actor.program.slots.items() if end_of(slot)]
            if actor is waiting or not actor.alive or actor.name in self.pending or not slots:
                continue
            items = ",".join(f"{number}:{POLLIN}" for _, number in slots)
            actor.ask(f"poll items={items} timeout_ms=0")
            actor.answer(1000 * ANSWER_WAIT_S)

    def look_at(self, name: str, now: int) -> None:
        actor = self.stage.actors[name]
        if actor.alive:
            self.await_answer(actor, self.pending[name], now)

    def end_pending(self, actor: Actor, outcome: Outcome, now: int) -> None:
        """The actor's process ended in this step."""
        index = self.pending.pop(actor.name, None)
        outcome.kind = DIED
        outcome.finished_at = now
        actor.alive = False
        step = self.case.steps[now if index is None else index]
        self.release(step)
        outcome.fields = {"status": self.status_of(actor)}

    def status_of(self, actor: Actor) -> str:
        if not actor.program.ours or actor.program.reaped:
            return "?"
        _, status = os.waitpid(actor.program.pid, 0)
        actor.program.reaped = True
        code = os.waitstatus_to_exitcode(status)
        return signal.Signals(-code).name if code < 0 else str(code)

    def release(self, step: Step) -> None:
        sends, receives = step.sends(), step.receives()
        if sends:
            self.stream(sends).sending = False
        if receives:
            self.stream(receives).receiving = False

    # -- what an answer means ------------------------------------------------------------------------------------------

    def finish(self, actor: Actor, step: Step, outcome: Outcome, answer: str) -> None:
        outcome.kind = DONE
        outcome.fields = fields = dict(word.split("=", 1) for word in answer.split() if "=" in word)
        result = outcome.number("r", -1)
        self.release(step)
        self.canonical(actor, step, outcome)
        if step.call == "send":
            self.sent(step, outcome.number("n", max(result, 0)))
        elif step.call in ("recv", "drain"):
            self.received(step, outcome)
        elif step.call == "close" and result == 0:
            actor.program.slots.pop(step.text("fd"), None)
        elif step.call == "wait" and result > 0:
            self.stage.actors[step.text("child")].program.reaped = True
        elif step.call == "exec":
            self.exec_done(actor, outcome, answer)
        if step.call == "name" and "port" in fields and step.text("api") != "peer" and step.text("fd").startswith("L"):
            self.ports[step.text("fd")] = int(answer.split(" port=")[1].split()[0])
        self.name_new(actor, step, fields)

    def name_new(self, actor: Actor, step: Step, fields: dict[str, str]) -> None:
        names = [name for name in step.text("new").split(",") if name]
        numbers = fields["fds"].split(",") if "fds" in fields else [fields.get("r", "-1")]
        for name, number in zip(names, numbers, strict=False):
            if number.isdigit():
                actor.program.slots[name] = int(number)
            else:
                actor.program.slots.pop(name, None)

    def exec_done(self, actor: Actor, outcome: Outcome, answer: str) -> None:
        """The new image says hello; descriptors that close on exec are gone, the names stay (EBADF)."""
        if answer.startswith("hello"):
            outcome.fields = {"r": "0"}

    def canonical(self, actor: Actor, step: Step, outcome: Outcome) -> None:
        """Takes out what differs between any two runs: ports, process ids, times."""
        fields = outcome.fields
        if "e" in fields:
            fields["e"] = errno.errorcode.get(int(fields["e"]), fields["e"])
        if "port" in fields:
            number = int(fields["port"])
            fields["port"] = self.port_names.setdefault(number, f"p{len(self.port_names)}")
        took = int(fields.pop("us", "0"))
        if not step.number("timed"):  # when a timer fires is open
            without_alarm(fields)
        if step.number("timed"):
            fields["took"] = "a while" if took >= WAITED_US else "no time"
        if "state" in fields and int(fields["state"]) in (TCP_FIN_WAIT1, TCP_FIN_WAIT2):
            fields["state"] = "4-5"  # the peer's acknowledgement may be delayed
        if step.call == "wait" and outcome.number("r") > 0:
            fields["r"] = "pid"
        if step.call == "ioctl" and step.text("api") == "SIOCOUTQ":
            fields.pop("value", None)  # so may this one
        if step.call == "epoll_wait" and "events" in fields:
            fields["events"] = ",".join(sorted(fields["events"].split(",")))

    def sent(self, step: Step, count: int) -> None:
        name = step.sends()
        if not name:
            return
        stream = self.stream(name)
        stream.sent += count
        if step.number("flags") & MSG_OOB:
            stream.out_of_band = True

    def received(self, step: Step, outcome: Outcome) -> None:
        name = step.receives()
        count = outcome.number("n", max(outcome.number("r"), 0))
        if not name:
            return
        stream, flags, fields = self.stream(name), step.number("flags"), outcome.fields
        if flags & MSG_OOB:
            stream.out_of_band = True
            return
        if count > 0 and "c" in fields and not stream.out_of_band:
            right = fields.pop("c") == stream.expected_crc(count)
            head = bytes.fromhex(fields.pop("h", ""))
            wanted = stream.slice(stream.received, min(count, 12))
            fields["content"] = (
                "right"
                if right
                else f"WRONG at {stream.received}: "
                + ("a later byte differs" if head == wanted else f"bytes of {stream.where(head)}")
            )
        if step.call == "drain":
            fields["missing"] = str(max(stream.sent - stream.received - count, 0)) if not stream.out_of_band else "?"
        if not flags & MSG_PEEK:
            stream.received += count


def play(case: Case, environment: dict[str, str], expected: Trace | None = None, settle_s: float = 0.0) -> Trace:
    """One run. `settle_s` after each step: where softirqs are put off, the kernel needs a moment too."""
    return Run(case, environment, expected, settle_s).play()
