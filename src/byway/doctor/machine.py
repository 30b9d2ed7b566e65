"""The machine and the limits that this process has been given."""

import os
import platform
import resource
from pathlib import Path

from byway import native
from byway.doctor.finding import BAD, GOOD, LESS, Finding
from byway.errors import UserError
from byway.launch import environment, program, settings
from byway.shm import tables

DESCRIPTORS_ENOUGH = (
    4096  # below this, a busy server's connections and Byway's own descriptors may get in each other's way
)
CONNECTIONS_TYPICAL = 1000


def examine() -> list[Finding]:
    return [library(), options(), libc(), processors(), processor_quota(), descriptors(), memory()]


def library() -> Finding:
    """Byway's own part that is loaded into programs, and the processor that it is for."""
    subject = "library"
    try:
        path = environment.libraries(os.environ.get(environment.LIBRARY_VARIABLE))[-1]
        target = program.library_target(path)
    except UserError as error:
        return Finding(subject, BAD, str(error), native.HOW_TO_BUILD)
    readable = all(os.stat(folder).st_mode & 0o001 for folder in Path(path).parents)
    if not readable:
        text = f"{path}, for {target}; other users' programs cannot load it, since they may not enter its folders"
        return Finding(subject, LESS, text, "to use it as other users too, install Byway where all may read")
    return Finding(subject, GOOD, f"{path}, for {target}")


def options() -> Finding:
    """What the user's environment gives every program under Byway."""
    try:
        given = settings.check_environment(os.environ, tables.options())
    except UserError as error:
        return Finding("options", BAD, str(error), "put the variable right, or `unset` it")
    variables = [
        f"{option.variable}={os.environ[option.variable]}" for option in map(tables.options().get, given) if option
    ]
    if "enabled" in given and os.environ["BYWAY_ENABLED"] == "0":
        return Finding("options", BAD, "BYWAY_ENABLED=0 switches acceleration off", "`unset BYWAY_ENABLED`")
    return Finding("options", GOOD, ", ".join(variables) + ", from the environment" if variables else "the defaults")


def libc() -> Finding:
    name, version = platform.libc_ver()
    if name == "glibc":
        return Finding("libc", GOOD, f"glibc {version}")
    return Finding("libc", BAD, "this Python's libc is not glibc: programs of this system cannot load the library")


def processors() -> Finding:
    usable = len(os.sched_getaffinity(0))
    if usable > 1:
        return Finding("processors", GOOD, f"{usable}: a call that waits may spin, as long as one of them is free")
    text = "1: a call that waits never spins, since it would take the processor from who is to wake it"
    return Finding("processors", LESS, text, "give server and client two processors")


def processor_quota() -> Finding:
    """A quota in a container counts spinning as work."""
    quota = cgroup_value("cpu.max")
    if quota is None or quota.startswith("max"):
        return Finding("processor quota", GOOD, "none")
    granted, period = map(int, quota.split()[:2])
    text = f"{granted / period:.2g} processors by its control group; the time that calls spin is taken from it"
    return Finding("processor quota", LESS, text, "do not use the latency profile here")


def descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"a process may have {soft}; Byway's own take numbers from the top"
    if soft >= DESCRIPTORS_ENOUGH:
        return Finding("descriptors", GOOD, text)
    wanted = min(hard, DESCRIPTORS_ENOUGH) if hard > 0 else DESCRIPTORS_ENOUGH
    return Finding("descriptors", LESS, text, f"`ulimit -n {wanted}` for programs with many connections")


def memory() -> Finding:
    """Rings are memory of both ends' control groups."""
    ring = next(option.default for option in tables.options().values() if option.name == "ring_bytes")
    need_mib = 2 * ring * CONNECTIONS_TYPICAL >> 20
    limit = cgroup_value("memory.max")
    text = f"a connection has two rings of {ring >> 10} KiB; {CONNECTIONS_TYPICAL:,} connections {need_mib} MiB at most"
    if limit is None or limit == "max" or int(limit) >= need_mib << 21:
        return Finding("memory", GOOD, text)
    text += f", and the control group allows {int(limit) >> 20} MiB in all"
    return Finding("memory", LESS, text, "`--option ring_bytes=16384` makes the rings smaller")


def cgroup_value(name: str) -> str | None:
    """The tightest value of a file of our control group (version 2): its own, or an ancestor's."""
    try:
        line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    root = Path("/sys/fs/cgroup")
    folder = root / line[3:].lstrip("/")
    for each in (folder, *folder.parents):
        try:
            value = (each / name).read_text().strip()
        except OSError:
            value = "max"
        if not value.startswith("max"):
            return value
        if each == root:
            break
    return None
