"""What Byway can do for programs: for those that are asked about, and for those that listen on this machine."""

import os
from collections.abc import Iterable

from byway.doctor.finding import BAD, GOOD, LESS, Finding
from byway.errors import UserError
from byway.kernel import proc, tcp
from byway.launch import environment, program
from byway.shm import members

ADVICE = {  # by the name of the file: what a program does that keeps Byway out of its children, and what helps
    "nginx": (
        "it empties its environment before it replaces its own binary (USR2)",
        "write `env LD_PRELOAD;` into nginx.conf, and `env BYWAY_…;` for each option",
    ),
    "sshd": (
        "it shares a connection between processes that it forks, so the kernel carries it",
        "nothing: sessions work as without Byway",
    ),
    "rsync": ("it forks while it transfers, so the kernel carries most of it", "nothing: it works as without Byway"),
    "sudo": ("it starts programs with an environment of its own", "put `byway run --` behind sudo, not before it"),
    "docker": ("it only asks a daemon to start a container", "install and run Byway inside the container"),
    "systemctl": ("it only asks systemd to start a service", "put `byway run --` into ExecStart= of the service"),
    "service": ("services are started afresh", "put `byway run --` before the program in the service's own script"),
}


def examine(names: Iterable[str]) -> list[Finding]:
    return [examine_one(name) for name in names]


def examine_one(name: str) -> Finding:
    """As `byway run` will find it."""
    try:
        ours = program.library_target(environment.libraries(os.environ.get(environment.LIBRARY_VARIABLE))[-1])
        found = program.examine(program.find(name, os.environ.get("PATH", os.defpath)), ours)
    except UserError as error:
        return Finding(name, BAD, str(error))
    if found.obstacle is not None:
        return Finding(name, BAD, f"it {found.obstacle}", "it runs on the kernel, unharmed")
    if advice := ADVICE.get(os.path.basename(found.path)):
        return Finding(name, LESS, f"{found.path} can be accelerated; {advice[0]}", advice[1])
    return Finding(name, GOOD, f"{found.path} can be accelerated")


def listening() -> list[Finding]:
    """The programs that we may see with a listening TCP socket, each once."""
    sockets = {found.inode: found for found in tcp.table(os.getpid()).values() if found.state == "LISTEN"}
    found: dict[str, Finding] = {}
    for pid in sorted(proc.processes()):
        addresses = sorted(
            sockets[inode].local
            for file in proc.open_files(pid, "socket:")
            if (inode := int(file.target[8:-1])) in sockets
        )
        if addresses:
            found.setdefault(addresses[0], listener(pid, addresses))
    return list(found.values())


def listener(pid: int, addresses: list[str]) -> Finding:
    subject = f"{proc.name(pid)} ({pid})"
    where = f"listens at {', '.join(dict.fromkeys(addresses))}"
    if members.is_under_byway(pid):
        return Finding(subject, GOOD, f"{where}, under Byway")
    return Finding(subject, BAD, f"{where}, not under Byway", "start it with `byway run --`, and its clients too")
