"""ssh, sftp and rsync over loopback: the server gives its connection to children, with and without exec.

sshd and the rsync daemon share a connection between processes, so the kernel may carry it: what is checked is that
nothing is lost and nothing hangs.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests import variant
from tests.programs import harness
from tests.programs.harness import Program, Programs, World

pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(90),
    pytest.mark.skipif(variant.is_sanitized(), reason="sshd's sandbox forbids what a sanitizer calls"),
]
MISSING = harness.needs("ssh", "sshd", "ssh-keygen", "sftp")
NO_SSH = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")
NO_RSYNC = pytest.mark.skipif(bool(harness.needs("rsync")), reason="not installed: rsync")

Worlds = tuple[World, World]
PRIVILEGES_DIRECTORY = Path("/run/sshd")  # sshd as root wants it; an init script makes it


def make_tree(directory: Path) -> Path:
    """Files of many sizes."""
    tree = directory / "tree"
    for number, size in enumerate((0, 1, 1000, 70_000, 5_000_000)):
        (tree / f"d{number}").mkdir(parents=True)
        (tree / f"d{number}" / "file").write_bytes(random.Random(size).randbytes(size))
    return tree


def same(one: Path, other: Path) -> bool:
    files = sorted(path.relative_to(one) for path in one.rglob("file"))
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in files) and len(files) == 5


def start_sshd(group: Programs, world: World) -> tuple[Program, list[str]]:
    """sshd, and the options by which a client reaches it."""
    port, directory = harness.free_port(), group.directory
    if os.geteuid() == 0:
        PRIVILEGES_DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name]
        subprocess.run(command, check=True, timeout=20)
    configuration = directory / "sshd_config"
    configuration.write_text((harness.SERVERS / "sshd_config").read_text().format(port=port, directory=directory))
    server = group.start([harness.program_path("sshd"), "-D", "-e", "-f", configuration], world)
    server.wait_listening(port)
    words = [f"Port={port}", f"IdentityFile={directory}/user", "StrictHostKeyChecking=no", "LogLevel=ERROR"]
    words += ["UserKnownHostsFile=/dev/null", "BatchMode=yes"]
    return server, [part for word in words for part in ("-o", word)]


def destination() -> str:
    return f"{getpass.getuser()}@127.0.0.1"


@NO_SSH
def test_ssh(group: Programs, worlds: Worlds) -> None:
    """A status, both streams at once, and thirty megabytes there and back."""
    server, options = start_sshd(group, worlds[0])
    said = group.start(["ssh", *options, destination(), "echo out; echo err >&2; exit 7"], worlds[1])
    assert said.wait() == 7, said.output()
    assert "out" in said.output() and "err" in said.output()
    data = random.Random(1).randbytes(30_000_000)
    source = group.directory / "source"
    source.write_bytes(data)
    with source.open("rb") as stream:
        back = group.start(["ssh", *options, destination(), "cat"], worlds[1], stdin=stream.fileno())
        assert back.wait() == 0
    assert hashlib.sha256(back.output_path.read_bytes()).digest() == hashlib.sha256(data).digest()
    server.stop(signal.SIGTERM)


@NO_SSH
def test_sftp(group: Programs, worlds: Worlds) -> None:
    server, options = start_sshd(group, worlds[0])
    tree = make_tree(group.directory)
    batch = group.directory / "batch"
    batch.write_text(f"put -r {tree} {group.directory}/there\nget -r {group.directory}/there {group.directory}/back\n")
    group.run(["sftp", *options, "-b", batch, destination()], worlds[1])
    assert same(tree, group.directory / "there") and same(tree, group.directory / "back")
    server.stop(signal.SIGTERM)


@NO_SSH
@NO_RSYNC
def test_rsync_over_ssh(group: Programs, worlds: Worlds) -> None:
    server, options = start_sshd(group, worlds[0])
    tree = make_tree(group.directory)
    shell = " ".join(["ssh", *options])
    target = group.directory / "there"
    for change in (b"", b"changed"):
        (tree / "d4" / "file").open("ab").write(change)
        group.run(["rsync", "-a", "-e", shell, f"{tree}/", f"{destination()}:{target}"], worlds[1])
        assert same(tree, target)
    server.stop(signal.SIGTERM)


@NO_RSYNC
def test_rsync_daemon(group: Programs, worlds: Worlds) -> None:
    port, tree = harness.free_port(), make_tree(group.directory)
    target = group.directory / "there"
    target.mkdir()
    configuration = group.directory / "rsyncd.conf"
    configuration.write_text((harness.SERVERS / "rsyncd.conf").read_text().format(port=port, directory=group.directory))
    if os.geteuid() == 0:
        configuration.open("a").write("  uid = root\n  gid = root\n")
    server = group.start(["rsync", "--daemon", "--no-detach", "--config", configuration], worlds[0])
    server.wait_listening(port)
    url = f"rsync://127.0.0.1:{port}/files"
    group.run(["rsync", "-a", f"{tree}/", f"{url}/there/"], worlds[1])
    group.run(["rsync", "-a", f"{url}/there/", group.directory / "back"], worlds[1])
    assert same(tree, target) and same(tree, group.directory / "back")
    server.stop(signal.SIGTERM)
