"""ssh and an rsync daemon: 128 MB to the server. They share a connection between processes, so the kernel carries most
of it; it must not be slower for that."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.harness import SERVERS, program_missing, run_load, serving
from bench.model import Comparison, Figure, Sample, Settings, Variant, rate_ratio

MEGABYTES = 128


def make_file(directory: Path) -> None:
    """Bytes that no compression makes fewer."""
    with (directory / "file").open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(os.urandom(1 << 20))


def sshd(directory: Path, port: int) -> list[str]:
    """With keys of its own."""
    make_file(directory)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd as root wants it; an init script makes it
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    configuration = directory / "sshd_config"
    configuration.write_text((SERVERS / "sshd_config").read_text().format(directory=directory, port=port))
    return [shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd", "-D", "-e", "-f", str(configuration)]


def ssh(directory: Path, port: int) -> list[str]:
    options = [f"Port={port}", f"IdentityFile={directory}/user", "StrictHostKeyChecking=no", "BatchMode=yes"]
    options += ["UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    words = ["ssh", *(word for option in options for word in ("-o", option))]
    command = shlex.join([*words, f"{getpass.getuser()}@127.0.0.1", "cat >/dev/null"])
    return ["sh", "-c", f"exec {command} <{directory}/file"]


def rsyncd(directory: Path, port: int) -> list[str]:
    make_file(directory)
    user = "  uid = root\n  gid = root\n" if os.geteuid() == 0 else ""
    configuration = directory / "rsyncd.conf"
    configuration.write_text((SERVERS / "rsyncd.conf").read_text().format(directory=directory, port=port) + user)
    return ["rsync", "--daemon", "--no-detach", "--config", str(configuration)]


def rsync(directory: Path, port: int) -> list[str]:
    return ["rsync", "--whole-file", str(directory / "file"), f"rsync://127.0.0.1:{port}/files/copy"]


ServerCommand = Callable[[Path, int], list[str]]


def measure(server: ServerCommand, client: ServerCommand, variant: Variant, settings: Settings) -> Sample:
    """The client's whole time, from its start to its end."""
    with serving(variant, settings, server) as running:
        command = client(running.log.parent, running.port)
        begin = time.perf_counter()
        run_load(variant, settings.load_cpu, command, settings.seconds)
        return Sample(rate_per_s=MEGABYTES / (time.perf_counter() - begin), payload_bytes=MEGABYTES << 20)


def figure(name: str, title: str, server: ServerCommand, client: ServerCommand, programs: Sequence[str]) -> Figure:
    """One line of the table."""
    return Figure(
        name=name,
        title=title,
        unit="MB/s",
        comparisons=(Comparison("MB/s", "kernel", rate_ratio, 0.97),),
        measure=partial(measure, server, client),
        missing=partial(program_missing, *programs),
        ring_share_min=0,
    )


FIGURES: Sequence[Figure] = (
    figure("ssh", f"ssh, {MEGABYTES} MB", sshd, ssh, ("ssh", "ssh-keygen")),
    figure("rsync", f"rsync daemon, {MEGABYTES} MB", rsyncd, rsync, ("rsync",)),
)
