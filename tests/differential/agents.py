"""Starts agents and speaks with them: processes, channels, descriptors by name. One `Stage` is one run's cast.

Called by run.py. Nothing here knows what a step means; it carries lines, and knows who sleeps and who is dead.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import os
import random
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHANNEL_FD = 200  # as in agent.c
CHANNELS = 6
BLOB_BYTES = 1_000_003
PR_SET_CHILD_SUBREAPER = 36
RELAY_NAME = "byway-relay"  # csrc/sock/relay_process.c

relays_seen: set[int] = set()  # of this process
SLEEPING = "S"
GONE = ("Z", "X", "")


class AgentError(Exception):
    """The tester itself cannot work (no compiler, an agent that does not start)."""


# -- what is made once -------------------------------------------------------------------------------------------------


def cache_directory() -> Path:
    path = Path(tempfile.gettempdir()) / f"byway-differential-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def compiler() -> list[str]:
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and shutil.which(shlex.split(name)[0]):
            return shlex.split(name)
    return [sys.executable, "-m", "ziglang", "cc"]


@functools.cache
def agent_program() -> Path:
    """agent.c, compiled once for each text of it."""
    source = HERE / "agent.c"
    path = cache_directory() / f"agent-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if path.exists():
        return path
    fresh = path.with_suffix(f".{os.getpid()}")
    command = [*compiler(), "-O1", "-g", "-Wall", "-Wextra", "-o", str(fresh), str(source), "-lpthread"]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode != 0:
        raise AgentError(f"cannot compile {source}:\n{built.stderr}")
    fresh.rename(path)
    return path


@functools.cache
def blob() -> bytes:
    """What streams are made of; no zero bytes, so that text calls can carry them."""
    return bytes(byte or 1 for byte in random.Random(20).randbytes(BLOB_BYTES))


@functools.cache
def blob_file() -> Path:
    path = cache_directory() / f"blob-{hashlib.sha256(blob()).hexdigest()[:16]}"
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(blob())
        fresh.rename(path)
    return path


@functools.cache
def become_reaper() -> None:
    """Orphans of killed agents become ours, so that none is left behind."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(parent: int, name: str) -> list[int]:
    """Processes of this name, ended ones too."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue  # gone meanwhile
        comm, _, rest = text.partition("(")[2].rpartition(")")
        if comm == name and int(rest.split()[1]) == parent:
            found.append(int(entry))
    return found


def reap_relays() -> None:
    """Those that have ended; the others at the next stage's end."""
    for pid in list(relays_seen):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            ended = True
        if ended:
            relays_seen.discard(pid)


def thread_state(pid: int, tid: int) -> str:
    """R running, S sleeping, Z dead, …; "" when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{tid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text[text.rindex(b")") + 2 :][:1].decode()


# -- the cast ----------------------------------------------------------------------------------------------------------


@dataclass
class Program:
    """One process. `slots` are the descriptors that it has, by name."""

    pid: int
    slots: dict[str, int] = field(default_factory=dict)
    actors: list[Actor] = field(default_factory=list)
    ours: bool = True  # our own child, and not an agent's
    reaped: bool = False  # its parent has waited for it: the number may be somebody else's now

    def is_gone(self) -> bool:
        """No thread is left; a zombie main thread may have others that still close."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/task")) <= 1 and thread_state(self.pid, self.pid) in GONE
        except (FileNotFoundError, ProcessLookupError):
            return True


@dataclass
class Actor:
    name: str
    channel: socket.socket
    program: Program
    tid: int = 0
    alive: bool = True

    def ask(self, line: str) -> bool:
        try:
            self.channel.send(line.encode())
        except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
            self.alive = False
        return self.alive

    def answer(self, timeout_ms: float) -> str | None:
        """The answer, "" when the process ended instead, None when there is none yet."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        if not poll.poll(timeout_ms):
            return None
        try:
            data = self.channel.recv(8192)
        except ConnectionResetError:
            data = b""
        if not data:
            self.alive = False
        return data.decode("ascii", "replace")

    def state(self) -> str:
        return thread_state(self.program.pid, self.tid)


class Stage:
    """The agents of one run. `environment` makes the difference between the kernel and Byway."""

    def __init__(self, topology: str, environment: dict[str, str]) -> None:
        become_reaper()
        self.topology = topology
        self.environment = environment
        self.actors: dict[str, Actor] = {}
        self.programs: list[Program] = []
        self.channels: dict[tuple[str, int], socket.socket] = {}
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        threads = topology in ("threads", "one")
        try:
            self.start("c", threads)
            if topology == "family":
                self.fork(self.actors["c0"], "s0")
            elif topology == "one":
                self.actors["s0"] = self.actors.pop("c1")
                self.actors["s0"].name = "s0"
            else:
                self.start("s", threads)
        except BaseException:
            self.end()
            raise

    def place(self, actor: str) -> tuple[str, int]:
        """On which root program and channel an actor lives."""
        side, number = actor[0], int(actor[1:])
        if side == "c" or self.topology in ("two", "threads"):
            return side, number
        if self.topology == "one":
            return "c", {0: 1}.get(number, number + 2)
        return "c", 5 - number if number else 5

    def start(self, side: str, threads: bool) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(CHANNELS)]
        actions: list[tuple[int, int, int]] = [(os.POSIX_SPAWN_DUP2, self.errors.fileno(), 2)]
        high = []
        for number, (_, theirs) in enumerate(pairs):
            high.append(fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 300))
            actions.append((os.POSIX_SPAWN_DUP2, high[-1], CHANNEL_FD + number))
        program = str(agent_program())
        environment = {"PATH": os.environ.get("PATH", ""), "BYWAY_AGENT_PATH": program, **self.environment}
        arguments = [program, "0", str(blob_file()), "threads" if threads else "one"]
        pid = os.posix_spawn(program, arguments, environment, file_actions=actions)
        for descriptor in high:
            os.close(descriptor)
        root = Program(pid)
        self.programs.append(root)
        for number, (mine, theirs) in enumerate(pairs):
            theirs.close()
            self.channels[side, number] = mine
        for number in range(2 if threads else 1):
            self.join(f"{side}{number}", self.channels[side, number], root)

    def join(self, name: str, channel: socket.socket, program: Program) -> None:
        actor = Actor(name, channel, program)
        greeting = actor.answer(10_000)
        if not greeting or not greeting.startswith("hello tid="):
            raise AgentError(f"agent {name} does not start: {greeting!r}; {self.stderr()}")
        actor.tid = int(greeting.split("=")[1])
        program.actors.append(actor)
        self.actors[name] = actor

    def fork(self, parent: Actor, name: str) -> str:
        """Forks `parent`; the child is the new actor `name`. Gives the parent's answer."""
        side, number = self.place(name)
        channel = self.channels[side, number]
        parent.ask(f"fork channel={number}")
        answer = parent.answer(10_000)
        if not answer or " r=-" in answer:
            return answer or ""
        pid = int(answer.split(" r=")[1].split()[0])
        child = Program(pid, dict(parent.program.slots), ours=False)
        self.programs.append(child)
        self.join(name, channel, child)
        return answer

    def kill(self, actor: Actor) -> None:
        """kill -9."""
        os.kill(actor.program.pid, signal.SIGKILL)
        self.await_death(actor)

    def await_death(self, actor: Actor) -> None:
        """A dying process closes its descriptors one by one: it is dead for others when it has closed all."""
        until = time.monotonic() + 10
        while time.monotonic() < until and not actor.program.is_gone():
            time.sleep(0.0002)
        for other in actor.program.actors:
            other.alive = False

    def stderr(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace")[-4000:]

    def relays(self) -> list[int]:
        """Relays since this was asked last, also those that have ended: they are nobody's children but ours."""
        new = [pid for pid in children_of(os.getpid(), RELAY_NAME) if pid not in relays_seen]
        relays_seen.update(new)
        return new

    def end(self) -> None:
        left = [program for program in self.programs if not program.reaped]
        for program in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(program.pid, signal.SIGKILL)
        for program in sorted(left, key=lambda each: not each.ours):  # children become ours when their parents are gone
            with contextlib.suppress(ChildProcessError):
                os.waitpid(program.pid, 0)
        for channel in self.channels.values():
            channel.close()
        self.errors.close()
        reap_relays()
