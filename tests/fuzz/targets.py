"""The fuzz targets: how each is built, what its first inputs are, and how it is run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.variant import ROOT

NATIVE = Path(__file__).with_name("native")
CSRC = ROOT / "csrc"
BUILD = ROOT / "build" / "fuzz"
FRAME = ("frame",)
ENGINE = ("frame", "stack", "ip", "udp", "tcp", "engine")
BASE = ("lock.c", "critical.c", "process.c")
SANITIZERS = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
FLAGS = ["-std=gnu11", "-O2", "-g", "-D_GNU_SOURCE=", "-DBYWAY_ABI_HASH=1ULL", "-DBYWAY_STACK_HASH=1ULL"]
BUILD_TIMEOUT_S = 300
NOT_COMPARED = "-fno-sanitize-coverage=trace-cmp"
"""What is compared with what is not watched: that costs half of the time, and only magic numbers need it."""
LOST_BYTES = 77  # of a cell; no beginning of stack.c has such a one
FRAME_OF_STACK = re.compile(r"^ +#\d+ .* in \S+ \S*/(csrc|tests/fuzz)/\S+$")
WRAPPED = re.compile(r"__wrap_(\w+)")


@dataclass(frozen=True)
class Target:
    """One fuzzer."""

    name: str
    about: str
    parts: tuple[str, ...] = ()  # of tests/fuzz/native, beside its own
    folders: tuple[str, ...] = ()  # of csrc
    main: str = ""  # its source, where that is not called as it is
    flags: tuple[str, ...] = ()
    is_wrapped: bool = False  # guard.c watches over cells and endpoints
    length_max: int = 200
    must_fail: bool = False


STACK_PARTS = ("calls.c", "peer.c", "world.c", "output.c", "guard.c", "sums.c")
TARGETS = {
    target.name: target
    for target in (
        Target("packet", "any packet, read as IP, then as what it carries", ("sums.c",), FRAME),
        Target("options", "TCP options, read, written and read again", folders=FRAME, length_max=48),
        Target(
            "stack",
            "a stack with sockets: packets, calls and time in any order",
            STACK_PARTS,
            ENGINE,
            flags=(NOT_COMPARED,),
            is_wrapped=True,
            length_max=64,
        ),
        Target("canary", "a planted fault: it must be found", length_max=16, must_fail=True),
        Target(
            "loss",
            "the stack, whose guard loses some cells: it must be found",
            STACK_PARTS,
            ENGINE,
            main="stack.c",
            flags=(NOT_COMPARED, f"-DGUARD_LOST_BYTES={LOST_BYTES}"),
            is_wrapped=True,
            length_max=64,
            must_fail=True,
        ),
    )
}


def missing() -> str | None:
    """What there is not, to build a fuzzer."""
    if shutil.which("clang") is None:
        return "clang is not installed (Debian: clang, libclang-rt-14-dev)"
    probe = "int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n > 1 ? 0 : 0; }"
    command = ["clang", *SANITIZERS, "-x", "c", "-", "-o", os.devnull]
    if subprocess.run(command, input=probe, text=True, capture_output=True).returncode != 0:
        return "clang has no libFuzzer (Debian: libclang-rt-14-dev)"
    return None


def sources(target: Target) -> list[Path]:
    engine = [path for folder in target.folders for path in sorted((CSRC / folder).glob("*.c"))]
    base = [CSRC / "base" / name for name in BASE] if target.folders == ENGINE else []
    return [NATIVE / (target.main or f"{target.name}.c"), *(NATIVE / part for part in target.parts), *engine, *base]


def _digest(target: Target) -> str:
    digest = hashlib.sha256(repr((FLAGS, SANITIZERS, target)).encode())
    files = [path for path in (*CSRC.rglob("*.*"), *NATIVE.glob("*.*")) if path.suffix in {".c", ".h", ".def"}]
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build(target: Target) -> Path:
    """The fuzzer, built where anything has changed."""
    program = BUILD / f"{target.name}-{_digest(target)}"
    if program.exists():
        return program
    BUILD.mkdir(parents=True, exist_ok=True)
    for old in BUILD.glob(f"{target.name}-*"):
        old.unlink()
    names = set(WRAPPED.findall((NATIVE / "guard.c").read_text())) if target.is_wrapped else set()
    wrapped = [f"-Wl,--wrap={name}" for name in sorted(names)]
    fresh = program.with_name(f".{program.name}.{os.getpid()}")
    command = [
        "clang",
        *FLAGS,
        *SANITIZERS,
        *target.flags,
        f"-I{CSRC}",
        f"-I{NATIVE}",
        *map(str, sources(target)),
        *wrapped,
    ]
    subprocess.run([*command, "-o", str(fresh)], check=True, timeout=BUILD_TIMEOUT_S)
    fresh.replace(program)
    return program


def corpus(target: Target) -> Path:
    """Where its inputs are kept from run to run; the first ones are made here."""
    folder = BUILD / "corpus" / target.name
    if not folder.exists():
        folder.mkdir(parents=True)
        for number, data in enumerate(first_inputs(target.name)):
            (folder / f"first-{number}").write_bytes(data)
    return folder


def first_inputs(name: str) -> Iterator[bytes]:
    """Inputs from which others are made. For the whole stack the beginnings that stack.c has are enough."""
    if name == "options":
        yield bytes.fromhex("020405b40402080a000000010000000201030307")
        yield bytes.fromhex("0101050a0000000100000002")
    elif name == "packet":
        tcp = struct.pack(">HHIIBBHHH", 1000, 80, 1, 2, 5 << 4, 2, 1000, 0, 0)
        udp = struct.pack(">HHHH", 1000, 53, 8, 0)
        for protocol, payload in ((6, tcp), (17, udp), (1, bytes([3, 4, 0, 0, 0, 0, 2, 0]) + bytes(40))):
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
            yield b"\1" + head + b"\x0a\0\0\1\x0a\0\0\2" + payload
            yield b"\1" + struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + bytes(15) + b"\1" * 17 + payload


@dataclass(frozen=True)
class Ran:
    """What one run of a fuzzer gave."""

    inputs: int
    per_second: int
    features: int
    finding: Path | None
    output: str

    def summary(self) -> str:
        """The lines that say what was found, and where."""
        telling = ("BROKEN", "ERROR", "SUMMARY", "runtime error")
        lines = self.output.splitlines()
        return "\n".join(line for line in lines if any(word in line for word in telling) or FRAME_OF_STACK.match(line))


def run(target: Target, inputs: int, *, seed: int = 1, seconds: int = 0, keep: bool = True) -> Ran:
    """Up to `inputs` inputs, or for so many seconds."""
    findings = BUILD / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    prefix = findings / f"{target.name}-"
    command = [str(build(target)), f"-runs={inputs}", f"-seed={seed}", f"-max_len={target.length_max}"]
    command += [
        "-print_final_stats=1",
        f"-artifact_prefix={prefix}",
        *([f"-max_total_time={seconds}"] if seconds else []),
    ]
    if keep:
        command.append(str(corpus(target)))
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    text = done.stderr
    found = re.search(r"Test unit written to (\S+)", text)
    return Ran(
        _stat(text, "number_of_executed_units"),
        _stat(text, "average_exec_per_sec"),
        max((int(number) for number in re.findall(r" ft: (\d+)", text)), default=0),
        Path(found[1]) if found else None,
        text,
    )


def _stat(text: str, name: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", text)
    return int(found[1]) if found else 0
