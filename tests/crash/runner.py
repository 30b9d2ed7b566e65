"""Runs one case of scenarios.py in one world, and says what its two programs observed.

An outcome is what a program can see (its lines, its status) and whether the bytes were all there; it has no sizes and
times, so that outcomes of the kernel and of Byway can be compared.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import re
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.crash.scenarios import MEGABYTE, SCENARIOS, Case, Shape, draw_shape
from tests.programs import harness
from tests.programs.harness import Program, Programs, World

PIPE_STEP = re.compile(r"^(wait|tell):([a-z]\w*)$")
IGNORED = ("port", "cookie", "connected")


@dataclass(frozen=True)
class Outcome:
    """What both ends of one case observed."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    broken: str = ""
    """Not an outcome at all: a hang, a wrong byte, something left; the reason."""

    def __str__(self) -> str:
        text = f"a: {', '.join(self.a)} | b: {', '.join(self.b)}"
        return f"{text} | BROKEN: {self.broken}" if self.broken else text


@dataclass(frozen=True)
class Progress:
    attempted: int
    accepted: int
    received: int


def read_progress(path: Path) -> Progress:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < 24:
            return Progress(0, 0, 0)
        with mmap.mmap(file.fileno(), 24, prot=mmap.PROT_READ) as memory:
            return Progress(*struct.unpack("<QQQ", memory[:24]))


def setup_steps(shape: Shape, is_sender: bool, where: str, progress: Path) -> list[str]:
    connects = shape.sender_connects == is_sender
    mine, theirs = (shape.seed * 2 + 1, shape.seed * 2 + 2) if is_sender else (shape.seed * 2 + 2, shape.seed * 2 + 1)
    pause_us = shape.pauses_us[0 if is_sender else 1]
    return [
        f"progress:{progress}",
        f"streams:{mine}:{theirs}",
        f"chunk:{shape.chunk_bytes if is_sender else shape.receive_chunk_bytes}",
        f"send-mode:{shape.send_mode}",
        f"recv-mode:{shape.receive_mode}",
        *([f"connect:{shape.host}:{where}"] if connects else [f"listen:{shape.host}", "accept"]),
        f"{'ping' if is_sender else 'pong'}:{shape.warm_turns}",
        *([f"pause:{pause_us}:{mine}"] if pause_us else []),
        "say:connected",
    ]


class Pipes:
    """One pipe for each named event of a case."""

    def __init__(self, case: Case) -> None:
        steps = [*case.a, *case.b]
        names = {match[2] for step in steps if (match := PIPE_STEP.match(step))}
        self.ends = {name: os.pipe() for name in sorted(names)}

    def descriptors(self) -> list[int]:
        return [end for ends in self.ends.values() for end in ends]

    def resolve(self, steps: list[str]) -> list[str]:
        def one(step: str) -> str:
            match = PIPE_STEP.match(step)
            return f"{match[1]}:{self.ends[match[2]][match[1] == 'tell']}" if match else step

        return [one(step) for step in steps]

    def tell(self, name: str) -> None:
        os.write(self.ends[name][1], b"!")

    def close(self) -> None:
        for descriptor in self.descriptors():
            os.close(descriptor)


@dataclass
class Run:
    """Two agents on their way."""

    a: Program
    b: Program
    progress_a: Path
    progress_b: Path
    deadline: float

    def left_s(self) -> float:
        return max(self.deadline - time.monotonic(), 0.01)

    def agent(self, name: str) -> Program:
        return self.a if name == "a" else self.b


def start(
    group: Programs,
    case: Case,
    shape: Shape,
    worlds: tuple[World, World],
    pipes: Pipes,
    timeout_s: float,
    environments: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> Run:
    agent = harness.compile_native(harness.NATIVE / "agent.c")
    paths = [group.directory / "progress-a", group.directory / "progress-b"]
    for path in paths:
        path.write_bytes(bytes(4096))
    deadline = time.monotonic() + timeout_s
    case_steps = (pipes.resolve(case.a), pipes.resolve(case.b))
    started: dict[int, Program] = {}
    where = "0"
    for index in (1, 0) if shape.sender_connects else (0, 1):
        steps = [*setup_steps(shape, index == 0, where, paths[index]), *case_steps[index]]
        world = worlds[index].with_options(**shape.options)
        started[index] = group.start(
            [agent, *steps], world, pass_fds=pipes.descriptors(), environment=environments[index]
        )
        if where == "0":
            where = started[index].wait_output("port ").split()[1]
    return Run(started[0], started[1], paths[0], paths[1], deadline)


def conduct(run: Run, case: Case, pipes: Pipes) -> None:
    for line in case.conduct:
        verb, *words = line.split()
        if verb == "exit":
            run.agent(words[0]).wait(run.left_s())
        elif verb == "tell":
            pipes.tell(words[0])
        elif verb == "said":
            run.agent(words[0]).wait_output(" ".join(words[1:]), run.left_s())
        elif verb == "kill":
            run.a.wait_output("connected", run.left_s())
            run.b.wait_output("connected", run.left_s())
            time.sleep(float(words[1]) / 1000)
            with contextlib.suppress(ProcessLookupError):
                run.agent(words[0]).process.kill()
        else:
            raise ValueError(line)


def amount(sender: Progress, receiver: Progress) -> str:
    if receiver.received < sender.accepted:
        return "part"
    return "whole" if receiver.received <= sender.attempted else "more than was sent"


def observed(program: Program, sender: Progress, receiver: Progress) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in program.output().splitlines() if not line.startswith(IGNORED))
    status = program.process.returncode
    got = () if status == -9 else (f"got {amount(sender, receiver)}",)
    return (*lines, *got, f"status {status}")


def wrong(lines: tuple[str, ...]) -> str:
    bad = [
        line
        for line in lines
        if line.startswith(("mismatch", "agent", "got more")) or "status -11" in line or "status -6" in line
    ]
    return "; ".join(bad)


def run_case(
    case: Case,
    shape: Shape,
    worlds: tuple[World, World],
    directory: Path,
    timeout_s: float,
    environments: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> Outcome:
    """Both agents from start to end. Anything that no world may do is in `broken`."""
    directory.mkdir(parents=True, exist_ok=True)
    pipes = Pipes(case)
    group = Programs(directory)
    run: Run | None = None
    broken = ""
    try:
        run = start(group, case, shape, worlds, pipes, timeout_s, environments)
        conduct(run, case, pipes)
        run.a.wait(run.left_s())
        run.b.wait(run.left_s())
        group.assert_nothing_left()
    except (AssertionError, OSError) as error:
        broken = " ".join(str(error).split("\n")[:12])
        if run:
            broken += hang_report(run)
    finally:
        group.stop_all()
        pipes.close()
    if run is None:
        return Outcome((), (), broken or "did not start")
    progress_a, progress_b = read_progress(run.progress_a), read_progress(run.progress_b)
    a = observed(run.a, progress_b, progress_a)
    b = observed(run.b, progress_a, progress_b)
    return Outcome(a, b, "; ".join(filter(None, (broken, wrong(a), wrong(b)))))


def hang_report(run: Run) -> str:
    progress = f" a {read_progress(run.progress_a)} b {read_progress(run.progress_b)}"
    return progress + "".join(
        f" [{name}: {program.output().strip()!r} {harness.stuck(program.pid).strip()}]"
        for name, program in (("a", run.a), ("b", run.b))
        if program.process.poll() is None
    )


# -- comparing --------------------------------------------------------------------------------------------------------


KERNEL_BYTES = 40 * MEGABYTE
"""What kernel rounds send where the case sends more: more than the kernel buffers at both ends (36 MB at most)."""
SIZE_TRIES = 5
FULL_SIZE_EVERY = 10
RACY_ROUNDS = 4
"""So many times more rounds where Linux itself gives several outcomes, and some are rare."""


@dataclass
class Oracle:
    """What the kernel gives for the cases of one scenario, learnt as needed.

    What a program sees of an end does not depend on how many bytes went before, as long as they are more than the
    buffers hold. So kernel rounds are short at first, and one shape in ten is run in full size too, and must then give
    the same. Nothing is called a failure before the kernel was asked in full size.
    """

    scenario: str
    directory: Path
    timeout_s: float
    rounds_most: int = 25
    seen: set[Outcome] = field(default_factory=set)
    rounds: int = 0

    def __post_init__(self) -> None:
        self.by_shape: dict[int, set[Outcome]] = {}

    def round(self, shape: Shape) -> Outcome:
        case = SCENARIOS[self.scenario](shape)
        outcome = run_case(case, shape, (harness.KERNEL, harness.KERNEL), self.directory, self.timeout_s)
        assert not outcome.broken, f"the kernel itself: {outcome}"
        self.rounds += 1
        self.seen.add(outcome)
        self.by_shape.setdefault(shape.seed, set()).add(outcome)
        return outcome

    def allows(self, shape: Shape, outcome: Outcome) -> bool:
        """Whether kernel rounds of this shape give this outcome; of any shape, at any speed, where Linux races."""
        case = SCENARIOS[self.scenario](shape)
        if outcome.broken or case.any_outcome:
            return not outcome.broken
        known = self.seen if case.racy else self.by_shape.setdefault(shape.seed, set())
        variants = self.racy_variants(shape) if case.racy else self.variants(shape)
        for again in variants:
            if outcome in known:
                return True
            self.round(again)
        return outcome in known

    def variants(self, shape: Shape) -> Iterator[Shape]:
        """What the kernel is tried with, one after the other."""
        short = replace(shape, total_bytes=min(shape.total_bytes, KERNEL_BYTES))
        if shape.seed % FULL_SIZE_EVERY == 0:
            self.compare_sizes(short, shape)
        yield short
        for _ in range(self.rounds_most - 1):
            yield shape

    def racy_variants(self, shape: Shape) -> Iterator[Shape]:
        """Other speeds: what depends on a microsecond, Linux gives to some program at some time.

        The same shape, in short and in full size, and others; and a scheduler that stops one or both of the programs
        between two calls.
        """
        draw = random.Random(shape.seed)
        for number in range(RACY_ROUNDS * self.rounds_most):
            other = draw_shape(draw.randrange(1 << 31), harness.local_addresses(), 1, KERNEL_BYTES)
            short = replace(shape, total_bytes=min(shape.total_bytes, KERNEL_BYTES))
            again = (short, other, shape if number < self.rounds_most else short)[number % 3]
            pauses_us = draw.choice([(0, 0), (300, 0), (0, 300), (3000, 0), (0, 3000), (300, 300)])
            yield replace(again, kill_ms=draw.uniform(0, 60), pauses_us=pauses_us)

    def compare_sizes(self, short: Shape, full: Shape) -> None:
        """On a busy machine Linux gives one program now this outcome, now that: one that both sizes show is enough."""
        of_short, of_full = set[Outcome](), set[Outcome]()
        for _ in range(SIZE_TRIES):
            of_short.add(self.round(short))
            of_full.add(self.round(full))
            if of_short & of_full:
                return
        raise AssertionError(f"{self.scenario}: the kernel's outcome depends on the size: {of_short} and {of_full}")


def repeat_command(name: str, shape: Shape) -> str:
    size = shape.total_bytes
    return f"python -m tests.crash --rounds 1 --scenario {name} --shape {shape.seed} --bytes {size} {size}"


def difference(oracle: Oracle, shape: Shape, outcome: Outcome) -> str:
    known = "\n".join(f"  kernel {one}" for one in sorted(map(str, oracle.by_shape.get(shape.seed, ()))))
    repeat = repeat_command(oracle.scenario, shape)
    return f"{oracle.scenario}: {shape}\n  byway  {outcome}\n{known}\n  again: {repeat}"
