"""What the tests of this folder share: a peer to talk to, and helpers whose output is compared with the kernel's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import hatch_build
from tests.programs import harness
from tests.programs.harness import KERNEL, Program, Programs, World

NATIVE = harness.ROOT / "tests" / "badinput" / "native"

Worlds = tuple[World, World]

VARIANTS: dict[str, dict[str, str]] = {
    "default": {},
    "first-byte": {"attach_after": "0", "attach_wait_us": "100000"},
    "no-spin": {"spin_us": "0"},
    "one-bell": {"bells": "1", "spin_us": "0"},
    "small-ring": {"ring_bytes": "4096"},
}
"""Options under which results must not differ."""


def helper(name: str, *flags: str) -> Path:
    return harness.compile_native(NATIVE / f"{name}.c", *flags)


def start_peer(group: Programs, world: World, *how: str) -> tuple[Program, int]:
    """tests/native/peer.c: does what its clients ask."""
    peer = group.start([harness.compile_native(harness.NATIVE / "peer.c"), "127.0.0.1", *how], world)
    return peer, int(peer.wait_output("port ").split()[1])


def lines_of(
    group: Programs,
    worlds: Worlds,
    name: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    before_exec: Callable[[], None] | None = None,
    prefix: Sequence[str | Path] = (),
    server: Sequence[str] = (),
) -> list[str]:
    """The output of a helper that talks to a peer, by lines."""
    peer, port = start_peer(group, worlds[0], *server)
    argv = [*prefix, helper(name), "127.0.0.1", str(port), *arguments]
    output = group.run(argv, worlds[1], environment=environment, before_exec=before_exec, timeout_s=40.0)
    peer.stop()
    return output.splitlines()


def kernel_lines(
    group: Programs, name: str, *arguments: str, before_exec: Callable[[], None] | None = None
) -> list[str]:
    return lines_of(group, (KERNEL, KERNEL), name, *arguments, before_exec=before_exec)


def build_variant(name: str, *defines: str) -> Path:
    """The library built another way, for tests: as hatch_build.py does, all in one command."""
    target = harness.BUILD / f"libbyway_{name}.so"
    sources = [source for source in hatch_build.library_sources() if hatch_build.is_of_preload(source)]
    newest = max(path.stat().st_mtime for path in (harness.ROOT / "csrc").glob("*/*"))
    if target.exists() and target.stat().st_mtime > newest:
        return target
    harness.BUILD.mkdir(parents=True, exist_ok=True)
    building = target.with_suffix(f".{os.getpid()}")
    release = hatch_build.VARIANTS["release"]
    compiler = hatch_build.find_compiler(release)
    flags = [*hatch_build.compile_flags(release, compiler, False), *defines, *hatch_build.LINK_FLAGS]
    command = [*compiler.command, *flags, *map(str, sources), "-o", str(building), *hatch_build.LINK_LIBRARIES]
    subprocess.run(command, check=True, timeout=300)
    building.rename(target)
    return target
