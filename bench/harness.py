"""Runs figures: rounds, pinning, ports, starting and ending programs, and the check that rings carried the bytes.

Every server is started afresh for each round and variant, in a directory of its own, on a free port of 127.0.0.1, and
is ended by its process id. Variants differ in their environment alone.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from bench.model import BARE, BenchError, Figure, FigureResult, Round, Sample, Settings, Variant, compare_all
from bench.ports import free_port
from byway import native
from byway.bench.processes import end_group
from byway.errors import UserError
from byway.launch import environment as launch
from byway.shm import members

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "bench" / "native"
CLIENTS = ROOT / "bench" / "clients"
SERVERS = ROOT / "tests" / "programs" / "servers"  # the same as the tests have
PRELOAD = native.path(native.PRELOAD_LIBRARY)
ENGINE = native.path(native.ENGINE_LIBRARY)

START_TIMEOUT_S = 10.0
LOAD_TIMEOUT_S = 10.0  # beyond ten times what a load was asked to take
LIMIT_SECONDS = 0.05  # of the bare limit, before and after each round
FAILED_ROUNDS_MAX = 3  # then a figure is given up: a load that hangs would keep us for an hour
RING_TIMEOUT_S = 1.0  # until a server has noticed that its clients have gone
TCP_LISTEN = "0A"  # a state in /proc/net/tcp


# -- processors -------------------------------------------------------------------------------------------------------


def processors() -> tuple[int, int]:
    """The processors for the server and for the load: two different ones where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[1 % len(usable)]


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """What is started inside inherits the pinning, from its first instruction. None: no pinning."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if cpu is None else {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def machine_seconds() -> float:
    """Processor time of the whole machine so far: all but idle and waiting for a disk; stolen time counts."""
    fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Processor time so far of this program and of those that it started and that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Others:
    """Watches how many processors other programs keep busy, from its making on."""

    def __init__(self) -> None:
        self.time, self.machine, self.own = time.monotonic(), machine_seconds(), own_seconds()

    def busy_processors(self) -> float:
        """The average so far."""
        others = machine_seconds() - self.machine - (own_seconds() - self.own)
        return max(0.0, others / max(time.monotonic() - self.time, 0.01))


def busy_processors(seconds: float = 0.5) -> float:
    """How many processors other programs keep busy now."""
    others = Others()
    time.sleep(seconds)
    return others.busy_processors()


# -- environments -----------------------------------------------------------------------------------------------------


def environment(variant: Variant) -> dict[str, str]:
    """The environment of both programs: the user's, clean of Byway, and with what `byway run` adds."""
    clean = launch.on_kernel(os.environ)
    return launch.under_byway(clean, variant.profile, [], [PRELOAD]) if variant.byway else clean


def byway_missing() -> str | None:
    """Why nothing can be run under Byway, if so."""
    return None if Path(PRELOAD).exists() else f"Byway's library is not built: {native.HOW_TO_BUILD}"


def program_missing(*names: str) -> str | None:
    """Why programs of these names cannot be run, if so."""
    absent = [name for name in names if not shutil.which(name)]
    return f"not installed: {', '.join(absent)}" if absent else None


# -- programs that are compiled here ----------------------------------------------------------------------------------


def compiler() -> list[str]:
    """A C compiler: the system's, or the one in the `ziglang` wheel."""
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise BenchError("no C compiler was found: install gcc or clang, or `pip install ziglang`")


def compiler_missing() -> str | None:
    """Why nothing can be compiled, if so."""
    try:
        compiler()
    except BenchError as error:
        return str(error)
    return None


def included(source: Path) -> Iterator[str]:
    """What a program includes by name in quotes, and what that does."""
    for name in re.findall(r'^#include "(\S+)"', source.read_text(), re.MULTILINE):
        yield name
        if (source.parent / name).exists():
            yield from included(source.parent / name)


def engine_flags(source: Path) -> list[str]:
    """What a program needs that includes the engine's headers, which lie in folders: the engine's library."""
    uses_it = any("/" in name for name in included(source))
    return [f"-I{ROOT / 'csrc'}", ENGINE, f"-Wl,-rpath,{native.FOLDER}"] if uses_it else []


def compiled(name: str, build: Path) -> str:
    """The path of bench/native/NAME.c, compiled; kept while it is newer than all that it is made of."""
    source, program = NATIVE / f"{name}.c", build / name
    engine = engine_flags(source)
    newest = max(path.stat().st_mtime_ns for path in (source, *NATIVE.glob("*.h"), *([Path(ENGINE)] if engine else [])))
    if not program.exists() or program.stat().st_mtime_ns < newest:
        build.mkdir(parents=True, exist_ok=True)
        command = [*compiler(), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), *engine]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{source.name} does not compile: {tail_of(done.stderr)}")
    return str(program)


# -- ports and programs -----------------------------------------------------------------------------------------------


def listening_ports(table: str) -> set[int]:
    """The ports with a listening socket, from the text of /proc/net/tcp."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if len(row) > 3 and row[3] == TCP_LISTEN}


def tail_of(text: str, characters: int = 300) -> str:
    """The end of what a program said, on one line."""
    line = " / ".join(part.strip() for part in text.strip().splitlines() if part.strip())
    return line if len(line) <= characters else "…" + line[-characters:]


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def wait_until_listening(self) -> None:
        """Returns once the port is open. Makes no connection: the first one is the load's."""
        deadline = time.monotonic() + START_TIMEOUT_S
        tables = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
        while not any(self.port in listening_ports(table.read_text()) for table in tables):
            if self.process.poll() is not None:
                raise BenchError(f"the server ended with status {self.process.returncode}: {self.said()}")
            if time.monotonic() > deadline:
                raise BenchError(f"the server does not listen after {START_TIMEOUT_S:.0f} s: {self.said()}")
            time.sleep(0.005)

    def said(self) -> str:
        """The end of the server's output."""
        return tail_of(self.log.read_text(errors="replace")) or "it said nothing"


ServerCommand = Callable[[Path, int], Sequence[str]]  # (its own empty directory, port) → arguments


@contextmanager
def serving(variant: Variant, settings: Settings, command: ServerCommand) -> Iterator[Server]:
    """A server that listens; ended and cleaned up afterwards."""
    with tempfile.TemporaryDirectory(prefix="byway-bench-") as name:
        directory, port = Path(name), free_port()
        log = directory / "output"
        arguments = list(command(directory, port))
        with log.open("w") as output, pinned(settings.server_cpu):
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=environment(variant),
                text=True,
                start_new_session=True,
            )
        server = Server(process, port, log)
        try:
            server.wait_until_listening()
            yield server
        finally:
            end_group(process)


def run_load(variant: Variant, cpu: int | None, arguments: Sequence[str], seconds: float) -> str:
    """Runs a load to its end and returns what it printed."""
    with pinned(cpu):
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(variant.of_load),
            text=True,
            start_new_session=True,
        )
    try:
        output, errors = process.communicate(timeout=LOAD_TIMEOUT_S + 10 * seconds)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{Path(arguments[0]).name} did not end in time") from None
    finally:
        end_group(process)
    if process.returncode:
        raise BenchError(
            f"{Path(arguments[0]).name} ended with status {process.returncode}: {tail_of(errors or output)}"
        )
    return output


LoadCommand = Callable[[int, float], Sequence[str]]  # (port, seconds) → arguments


def serve_and_load(
    variant: Variant,
    settings: Settings,
    server: ServerCommand,
    load: LoadCommand,
    parse: Callable[[str], Sample],
) -> Sample:
    """One server and one load, each on its own processor, and what the load reported."""
    with serving(variant, settings, server) as running:
        output = run_load(variant, settings.load_cpu, load(running.port, settings.seconds), settings.seconds)
        try:
            sample = parse(output)
        except (ValueError, KeyError, IndexError, AttributeError):
            raise BenchError(f"the load's report was not understood: {tail_of(output)}") from None
        return with_ring_bytes(sample, variant, running) if variant.byway else sample


def bare_pingpong(settings: Settings, seconds: float) -> str:
    """What the bare limit's program prints."""
    program = compiled("bare_pingpong", settings.build)
    arguments = [program, str(seconds), str(settings.server_cpu), str(settings.load_cpu)]
    return run_load(BARE, settings.load_cpu, arguments, seconds)


def bare_limit_us(settings: Settings) -> float | None:
    """The p50 of the bare limit at this moment; None where it cannot be measured."""
    if settings.server_cpu == settings.load_cpu or compiler_missing():
        return None
    return float(json.loads(bare_pingpong(settings, LIMIT_SECONDS))["p50_ns"]) / 1e3


# -- did the rings carry it? ------------------------------------------------------------------------------------------


def bytes_by_ring(pid: int) -> int:
    """The bytes that a program under Byway has sent and received by rings, as `byway ps` shows them."""
    reports = members.report_members(members.find(pid))
    if not reports:
        raise BenchError("the server is not under Byway: the library was not loaded")
    if reports[0].note:
        raise BenchError(f"the server's ring bytes cannot be read: {reports[0].note}")
    return reports[0].ring_bytes


def with_ring_bytes(sample: Sample, variant: Variant, server: Server) -> Sample:
    """The sample with the server's ring bytes, once it has noticed that the load's connections are closed."""
    deadline = time.monotonic() + RING_TIMEOUT_S
    carried = before = -1
    while time.monotonic() < deadline and (carried != before or carried < sample.payload_bytes):
        before, carried = carried, bytes_by_ring(server.process.pid)
        time.sleep(0.02)
    return replace(sample, ring_bytes=carried)


def check_rings(figure: Figure, sample: Sample) -> None:
    """Byway's figure is Byway's only if the rings carried the bytes."""
    if sample.ring_bytes is None or figure.ring_share_min <= 0:
        return
    wanted = figure.ring_share_min * sample.payload_bytes
    if sample.ring_bytes < max(wanted, 1):
        share = 100 * sample.ring_bytes / max(sample.payload_bytes, 1)
        raise BenchError(f"only {share:.1f} % of the bytes went by the ring, so this is not Byway's figure")


# -- rounds -----------------------------------------------------------------------------------------------------------


def order_of_round(variants: Sequence[Variant], index: int) -> list[Variant]:
    """Every variant comes first equally often, and two variants simply alternate."""
    shift = index % len(variants)
    return [*variants[shift:], *variants[:shift]]


def run_round(figure: Figure, settings: Settings, index: int) -> Round:
    """Measures every variant once, one right after the other."""
    order = order_of_round(figure.variants, index)
    samples: dict[str, Sample] = {}
    failures: dict[str, str] = {}
    limits = [bare_limit_us(settings)]
    for variant in order:
        try:
            if variant.byway and (missing := byway_missing()):
                raise BenchError(missing)
            sample = figure.measure(variant, settings)
            check_rings(figure, sample)
            samples[variant.name] = sample
        except (BenchError, UserError, OSError) as error:
            failures[variant.name] = str(error)
    limits.append(bare_limit_us(settings))
    return Round([variant.name for variant in order], samples, failures, [limit for limit in limits if limit])


def given_up(rounds: Sequence[Round]) -> bool:
    """Whether so much went wrong that the rest is not worth the time. The kernel alone is, where nothing is built."""
    return sum(bool(one.failures) for one in rounds) >= FAILED_ROUNDS_MAX and not byway_missing()


def run_figure(figure: Figure, settings: Settings, progress: Callable[[int, int], None]) -> FigureResult:
    """All rounds of a figure. `progress` is told (rounds done, rounds in all)."""
    skipped, others = figure.missing(), Others()
    rounds: list[Round] = []
    total = settings.rounds * figure.rounds_factor
    inner = replace(settings, seconds=settings.seconds * figure.seconds_factor)
    for index in range(0 if skipped else total):
        progress(index, total)
        rounds.append(run_round(figure, inner, index))
        if given_up(rounds):
            break
    progress(total, total)
    return FigureResult(
        name=figure.name,
        title=figure.title,
        unit=figure.unit,
        options=figure.options,
        skipped=skipped,
        busy_processors=others.busy_processors(),
        rounds=rounds,
        ratios=compare_all(figure.comparisons, rounds),
    )


def end_on_signals() -> None:
    """Makes a request to end (SIGTERM) unwind the stack, so that every server started here is ended too."""

    def unwind(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, unwind)


def machine() -> dict[str, str]:
    """The facts about this machine that a figure depends on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^(?:model name|Processor)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    uname = os.uname()
    return {
        "cpu": model.group(1).strip() if model else uname.machine,
        "processors": str(len(os.sched_getaffinity(0))),
        "kernel": uname.release,
        "python": sys.version.split()[0],
    }
