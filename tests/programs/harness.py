"""Starts, watches and ends real programs, on the kernel or under Byway, with a bound on every wait.

Used by tests/programs, tests/crash, tests/badinput and tests/stress. Nothing here imports Byway: what a program is
started with is its environment, and what it did is asked of the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.ports import free_port as free_port
from tests import variant

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "tests"
NATIVE = ROOT / "tests" / "native"
CSRC = ROOT / "csrc"
SERVERS = ROOT / "tests" / "programs" / "servers"
LIBRARY = variant.library()
CRASH_LIBRARY = LIBRARY if variant.is_sanitized() else variant.library("test")

WAIT_S = 20.0
"""Bound on every wait that names no other; generous, since the machine may be busy."""

PR_SET_CHILD_SUBREAPER = 36

T = TypeVar("T")


class Hang(AssertionError):
    """Something did not happen within its bound."""


# -- worlds ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """What carries a program's bytes: its environment, beyond the usual one."""

    name: str
    library: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_byway(self) -> bool:
        return self.library is not None

    def with_options(self, **options: object) -> World:
        """The same world with BYWAY_ options set; the kernel has none."""
        if not self.is_byway:
            return self
        added = {f"BYWAY_{key.upper()}": str(value) for key, value in options.items()}
        return World(self.name, self.library, {**self.options, **added})

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD" and not k.startswith("BYWAY_")}
        environment.update(self.options)
        environment.update(extra or {})
        if self.library:
            behind = environment.get("LD_PRELOAD")
            own = variant.preload() if self.library == LIBRARY else str(self.library)
            environment["LD_PRELOAD"] = f"{own}:{behind}" if behind else own
        return environment


KERNEL = World("kernel")


def byway_world(library: Path = LIBRARY) -> World:
    return World("byway", library)


def byway_missing(library: Path = LIBRARY) -> str | None:
    """Why nothing can be run under Byway, or None."""
    return None if library.exists() else f"{library.relative_to(ROOT)} is not built"


# -- compiling helpers ------------------------------------------------------------------------------------------------


def compile_native(source: Path, *flags: str) -> Path:
    """A C helper, compiled once for each content of what it may include."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    digest = hashlib.sha256(" ".join((compiler, *flags)).encode())
    for path in sorted({source, *NATIVE.glob("*.[ch]"), *(ROOT / "bench" / "native").glob("*.h"), *CSRC.rglob("*.*")}):
        digest.update(path.read_bytes())
    suffix = ".so" if "-shared" in flags else ""
    target = BUILD / f"{source.stem}-{digest.hexdigest()[:16]}{suffix}"
    if target.exists():
        return target
    BUILD.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f"{target.name}.{os.getpid()}")
    command = [compiler, "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", f"-I{NATIVE}", f"-I{CSRC}"]
    subprocess.run([*command, str(source), "-o", str(building), "-pthread", *flags, "-ldl"], check=True, timeout=120)
    building.rename(target)
    return target


# -- waiting ----------------------------------------------------------------------------------------------------------


def wait_until(condition: Callable[[], T | None], what: str, timeout_s: float = WAIT_S) -> T:
    """The first true answer of `condition`. For what the kernel shows but does not announce."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Hang(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.002)


def is_listening(port: int) -> bool:
    """Whether a TCP socket listens at `port`; asked of /proc, so that the server sees no extra connection."""
    wanted = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                columns = line.split()
                if columns[1].endswith(wanted) and columns[3] == "0A":
                    return True
    return False


def own_address() -> str | None:
    """An address of this machine that is not a loopback one, if there is one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


def local_addresses() -> list[str]:
    addresses = ["127.0.0.1"]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        addresses.append("::1")
    own = own_address()
    return [*addresses, own] if own else addresses


# -- programs ---------------------------------------------------------------------------------------------------------


@dataclass
class Program:
    """A running program, its output in a file."""

    argv: list[str]
    process: subprocess.Popen[bytes]
    output_path: Path
    world: World

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def wait(self, timeout_s: float = WAIT_S) -> int:
        if not self.ends_within(timeout_s):
            raise Hang(f"{self.describe()} still runs after {timeout_s:g} s\n{stuck(self.pid)}")
        return self.process.wait()

    def ends_within(self, timeout_s: float) -> bool:
        """Wakes when it ends, where subprocess would look now and then."""
        if self.process.poll() is not None:
            return True
        watch = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(watch, select.POLLIN)
            return bool(poll.poll(timeout_s * 1000))
        finally:
            os.close(watch)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = WAIT_S) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait(timeout_s)

    def wait_listening(self, port: int) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, (
                f"{self.describe()} ended with {self.process.returncode}\n{self.output()}"
            )
            return is_listening(port)

        wait_until(ready, f"{self.describe()} listening at port {port}")

    def wait_output(self, text: str, timeout_s: float = WAIT_S) -> str:
        """The first complete line of output that has `text` in it."""

        def line() -> str | None:
            found = [line for line in self.output().splitlines(keepends=True) if text in line and line.endswith("\n")]
            if not found and self.process.poll() is not None and text not in self.output():
                raise AssertionError(f"{self.describe()} ended with {self.process.returncode}\n{self.output()}")
            return found[0].rstrip("\n") if found else None

        return wait_until(line, f"{text!r} from {self.describe()}", timeout_s)

    def describe(self) -> str:
        return f"{' '.join(self.argv)} [{self.world.name}, pid {self.pid}]"


def stuck(pid: int) -> str:
    """Where a process that should have gone on is; each thread."""
    lines = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        with contextlib.suppress(OSError):
            where = (task / "wchan").read_text()
            call = (task / "syscall").read_text().split()[0]
            state = (task / "stat").read_text().rsplit(")", 1)[1].split()[0]
            lines.append(f"  thread {task.name}: state {state}, in {where}, system call {call}")
    return "\n".join(lines)


class Programs:
    """All programs of one test. Leaving it ends them and checks that nothing is left."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[Program] = []
        self.before = children()
        become_subreaper()

    def start(
        self,
        argv: Sequence[str | Path],
        world: World = KERNEL,
        *,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        before_exec: Callable[[], None] | None = None,
        directory: Path | None = None,
    ) -> Program:
        output_path = self.directory / f"output-{len(self.started)}.txt"
        with output_path.open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=world.environment(environment),
                pass_fds=pass_fds,
                preexec_fn=before_exec,
                start_new_session=True,
                cwd=directory or self.directory,
            )
        program = Program([str(part) for part in argv], process, output_path, world)
        self.started.append(program)
        return program

    def run(
        self, argv: Sequence[str | Path], world: World = KERNEL, *, timeout_s: float = WAIT_S, **options: object
    ) -> str:
        """The output of a program that ends by itself, with status 0."""
        program = self.start(argv, world, **options)  # type: ignore[arg-type]
        status = program.wait(timeout_s)
        assert status == 0, f"{program.describe()} ended with {status}\n{program.output()}"
        return program.output()

    def stop_all(self) -> None:
        for program in self.started:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait(WAIT_S)
        for pid in children() - self.before:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def assert_nothing_left(self) -> None:
        """No process of this test lives, and no meeting name is held by nobody."""
        alive = [program.describe() for program in self.started if program.process.poll() is None]
        assert not alive, f"still running: {alive}"
        wait_until(lambda: not self.strays(), f"end of {self.strays()}", 5.0)
        wait_until(lambda: not ownerless_meeting_names(), f"end of {ownerless_meeting_names()}", 5.0)

    def strays(self) -> list[int]:
        """Processes that programs of this test left behind; those that have ended are reaped."""
        left = []
        for pid in children() - self.before:
            with contextlib.suppress(ChildProcessError):
                ended, _ = os.waitpid(pid, os.WNOHANG)
                if not ended:
                    left.append(pid)
        return left


@contextlib.contextmanager
def programs(directory: Path) -> Iterator[Programs]:
    """Programs for one `with`; a failure inside is raised first, and nothing is left in either case."""
    group = Programs(directory)
    try:
        yield group
    except BaseException:
        group.stop_all()
        raise
    for program in group.started:
        if program.process.poll() is None:
            program.stop()
    try:
        group.assert_nothing_left()
    finally:
        group.stop_all()


# -- what is left -----------------------------------------------------------------------------------------------------


def become_subreaper() -> None:
    """Orphans of the programs we start become our children, so that none is overlooked."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (task / "children").read_text().split())
    return found


def meeting_names() -> dict[str, int]:
    """Abstract names of Byway and their sockets' inodes."""
    names = {}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        columns = line.split()
        if len(columns) > 7 and columns[7].startswith("@byway/"):
            names[columns[7]] = int(columns[6])
    return names


def socket_inodes() -> set[int]:
    found = set()
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # processes come and go meanwhile
            for descriptor in os.listdir(f"/proc/{process}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(f"/proc/{process}/fd/{descriptor}")
                    if target.startswith("socket:["):
                        found.add(int(target[8:-1]))
    return found


def ownerless_meeting_names() -> list[str]:
    names = meeting_names()
    if not names:
        return []
    held = socket_inodes()
    still = meeting_names()
    return [name for name, inode in names.items() if inode not in held and still.get(name) == inode]


def descriptors(pid: int) -> dict[int, str]:
    """What a process has open, by descriptor."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            found[int(link.name)] = os.readlink(link)
    return found


# -- talking plainly, from the test's own process, which is on the kernel ----------------------------------------------


def connect(host: str, port: int, timeout_s: float = WAIT_S) -> socket.socket:
    return socket.create_connection((host, port), timeout=timeout_s)


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(count)
        assert part, f"the connection ended {count} bytes early"
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def readable(descriptor: int, timeout_s: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def needs(*names: str) -> list[str]:
    """Names of programs that are not installed."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/usr/local/sbin"
    return [name for name in names if shutil.which(name, path=path) is None]


def program_path(name: str) -> str:
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/usr/local/sbin"
    found = shutil.which(name, path=path)
    assert found, f"{name} is not installed"
    return found
