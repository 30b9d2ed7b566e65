"""Starts a server and a load, waits until the server listens, and knows what both took of the processors."""

import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byway.errors import UserError
from byway.kernel import proc, tcp
from byway.shm import members

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STEP_S = 0.01
LOOK_AFTER_S = 0.5  # then the sockets are looked at, for why one is not accelerated
END_TIMEOUT_S = 10.0
OUTPUT_LINES = 6  # of a program that failed


@dataclass(frozen=True)
class Sample:
    """What one round of one variant gave."""

    seconds: float  # of the load
    processor_seconds: float  # of the server, while the load ran, and of the load
    ring_bytes: int  # by the server's rings; 0 on the kernel
    output: str  # of the load
    reasons: list[str]  # why connections of the server were not accelerated


class Program:
    """A program in a process group of its own, its output in a file."""

    def __init__(self, words: Sequence[str], variables: Mapping[str, str], cpus: set[int] | None) -> None:
        self.words = list(words)
        descriptor, name = tempfile.mkstemp(prefix="byway-bench-")
        self.output_path = Path(name)
        before = os.sched_getaffinity(0)
        try:
            if cpus:
                os.sched_setaffinity(0, cpus)  # what is started inherits it, from its first instruction
            self.process = subprocess.Popen(
                self.words,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self.output_path.unlink()
            raise UserError(f"{words[0]} cannot be run: {error.strerror}") from None
        finally:
            os.close(descriptor)
            os.sched_setaffinity(0, before)

    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def said(self) -> str:
        lines = self.output().strip().splitlines()
        return "\n  ".join(["", *lines[-OUTPUT_LINES:]]) if lines else " nothing"

    def ends_within(self, timeout_s: float) -> bool:
        """Wakes when it ends, and takes no processor time until then."""
        if self.process.poll() is not None:
            return True
        watch = os.pidfd_open(self.process.pid)
        try:
            select.select([watch], [], [], timeout_s)
        finally:
            os.close(watch)
        return self.process.poll() is not None

    def end(self) -> None:
        end_group(self.process)
        self.output_path.unlink()


def end_group(process: subprocess.Popen[Any]) -> None:
    """Ends a program that leads a process group, and all in it. By SIGTERM, and by SIGKILL where that does not help."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + END_TIMEOUT_S
        while time.monotonic() < deadline and (process.poll() is None or group_lives(process.pid)):
            time.sleep(STEP_S)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# -- the tree of a program ---------------------------------------------------------------------------------------------


def tree(root: int) -> list[int]:
    """A process and its descendants that live."""
    found = [root]
    for pid in found:  # grows while it is walked
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def processor_seconds(pids: Sequence[int]) -> float:
    """What these processes have used so far, and those of their children that have ended."""
    ticks = 0
    for pid in pids:
        fields = proc.read(pid, "stat").rpartition(b")")[2].split()
        if fields:
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


def children_seconds() -> float:
    """What programs started here have used that have ended and been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def listening(pids: Sequence[int]) -> set[int]:
    """The inodes of the TCP sockets at which these processes listen."""
    sockets = {inode for inode, found in tcp.table(os.getpid()).items() if found.state == "LISTEN"}
    held = {int(file.target[8:-1]) for pid in pids for file in proc.open_files(pid, "socket:")}
    return sockets & held


def wait_until_listening(server: Program, timeout_s: float) -> None:
    """Makes no connection: the first one is the load's."""
    deadline = time.monotonic() + timeout_s
    before: set[int] = set()
    while True:
        status = server.process.poll()
        if status == 0:
            raise UserError(f"{server.words[0]} ended at once: it may have gone into the background; keep it in front")
        if status is not None:
            raise UserError(f"{server.words[0]} ended with status {status} and said:{server.said()}")
        now = listening(tree(server.process.pid))
        if now and now == before:
            return
        if time.monotonic() > deadline:
            raise UserError(
                f"{server.words[0]} does not listen at a TCP port after {timeout_s:g} s (--start-timeout); "
                f"it said:{server.said()}"
            )
        before = now
        time.sleep(5 * STEP_S)


@contextmanager
def serving(
    words: Sequence[str], variables: Mapping[str, str], cpus: set[int] | None, timeout_s: float
) -> Iterator[Program]:
    server = Program(words, variables, cpus)
    try:
        wait_until_listening(server, timeout_s)
        yield server
    finally:
        server.end()


# -- one round of one variant ------------------------------------------------------------------------------------------


def ring_bytes(pids: Sequence[int]) -> int:
    """Each family once: its counters are those of a process and of those that it forked."""
    found = members.families(member for member in members.find() if member.pid in set(pids))
    total = 0
    for family in found:
        counters = family.arena.counters()
        total += counters.get("ring_sent_bytes", 0) + counters.get("ring_received_bytes", 0)
        for socket in family.arena.sockets():
            total += sum(family.ring_bytes(socket, family.channel(socket, family.holders(socket))))
    return total


def reasons(pids: Sequence[int]) -> list[str]:
    wanted = set(pids)
    reports = members.report_sockets(member for member in members.find() if member.pid in wanted)
    return sorted({report.reason for report in reports if report.reason and report.state != "LISTEN"})


def run_load(
    server: Program,
    words: Sequence[str],
    variables: Mapping[str, str],
    cpus: set[int] | None,
    timeout_s: float,
    is_byway: bool,
) -> Sample:
    pids = tree(server.process.pid)
    used, own, begin = processor_seconds(pids), children_seconds(), time.monotonic()
    load = Program(words, variables, cpus)
    why: list[str] = []
    try:
        while load.process.poll() is None:
            if time.monotonic() - begin > timeout_s:
                raise UserError(
                    f"{words[0]} does not end within {timeout_s:g} s (--load-timeout); it said:{load.said()}"
                )
            if not load.ends_within(LOOK_AFTER_S) and is_byway and not why:
                why = reasons(tree(server.process.pid))
        seconds = time.monotonic() - begin
        own = children_seconds() - own
        if load.process.returncode:
            raise UserError(f"{words[0]} ended with status {load.process.returncode} and said:{load.said()}")
        pids = tree(server.process.pid)
        used = processor_seconds(pids) - used
        return Sample(seconds, used + own, ring_bytes(pids) if is_byway else 0, load.output(), why)
    finally:
        load.end()
