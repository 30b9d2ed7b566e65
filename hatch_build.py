#!/usr/bin/env python3
"""The whole native build: csrc/ into libbyway_preload.so (what programs load) and libbyway.so (the TCP/IP engine).

Decides which compiler, which flags, and what is out of date. Called by hatchling for a wheel or an editable install, by
`./dev` before every verb, and by hand: `python hatch_build.py --variant release|test|asan|ubsan|tsan [--out DIR]`.
What must hold: an object is compiled again when its source, any header or table, the flags or the compiler changed, and
never otherwise; a library is replaced by rename, since running programs have the old one mapped.
Standard library only: it must run before anything is installed.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "csrc"
NATIVE = ROOT / "src" / "byway" / "_native"
GLIBC_MIN = "2.28"
FOLDERS_NOT_IN_LIBRARY = {"bpf"}  # compiled for another machine
STEER = SOURCES / "bpf" / "steer.bpf.c"
BPF_FLAGS = ["-O2", "-Wall", "-Wextra", "-Wno-unused-const-variable", "-mcpu=v3"]
ENGINE_FOLDERS = {"base", "frame", "stack", "ip", "udp", "tcp", "engine", "vi", "mirror", "standalone"}
FOLDERS_NOT_IN_PRELOAD = {"standalone"}  # what the preload library has its own way for
HIDDEN_IN_PRELOAD = SOURCES / "engine" / "hidden.map"  # names that programs must not meet
SHARED_FACTS = ("layout.h", "*.def")  # of csrc/shm, read by the Python side too
ENGINE_FACTS = (
    "engine/options.def",
    "stack/counters.def",
    "frame/drops.def",
    "mirror/mirror.h",
)  # the same, with the folder in their names

COMPILE_FLAGS = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-fPIC",
    "-fvisibility=hidden",
    "-ftls-model=initial-exec",
    "-fno-strict-aliasing",
    "-D_GNU_SOURCE=",  # a source may say the same
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
]
LINK_FLAGS = ["-shared", "-Wl,-z,now", "-Wl,-z,nodelete"]
LINK_LIBRARIES = ["-lpthread", "-ldl"]


class NativeBuildError(Exception):
    """The build cannot go on; the message is for the user as it is."""


@dataclass(frozen=True)
class Variant:
    """One way of compiling everything."""

    name: str
    flags: tuple[str, ...] = ()
    links_all_symbols: bool = True  # a sanitizer's run time may come from the program instead
    needs_system_compiler: bool = False


# ThreadSanitizer passes over fences and gcc says so; ours order a store before a load, and order no other memory.
NO_FENCE_WARNING = ("-Wno-unknown-warning-option", "-Wno-tsan")

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("release"),
        Variant("test", ("-DBYWAY_CRASH_POINTS=1",)),
        Variant("asan", ("-DBYWAY_CRASH_POINTS=1", "-fsanitize=address", "-fno-omit-frame-pointer"), False, True),
        Variant("ubsan", ("-DBYWAY_CRASH_POINTS=1", "-fsanitize=undefined", "-fno-sanitize-recover=all"), False, True),
        Variant(
            "tsan",
            ("-DBYWAY_CRASH_POINTS=1", "-fsanitize=thread", "-fno-omit-frame-pointer", *NO_FENCE_WARNING),
            False,
            True,
        ),
    )
}


@dataclass(frozen=True)
class Compiler:
    """A C compiler: how it is called, and what tells it from another one."""

    command: tuple[str, ...]
    identity: str
    flags: tuple[str, ...] = ()
    from_wheel: bool = False


def zig_is_installed() -> bool:
    return importlib.util.find_spec("ziglang") is not None


def system_compiler() -> list[str] | None:
    """$CC, else gcc or cc, else clang; None where there is none."""
    wanted = os.environ.get("CC", "").split()
    if wanted:
        if shutil.which(wanted[0]) is None:
            raise NativeBuildError(
                f"CC is set to {wanted[0]}, which cannot be found: unset it, or set it to a C compiler"
            )
        return wanted
    for name in ("gcc", "cc", "clang"):
        path = shutil.which(name)
        if path is not None:
            return [path]
    return None


def find_compiler(variant: Variant) -> Compiler:
    command = system_compiler()
    if command is not None:
        path = Path(shutil.which(command[0]) or command[0]).resolve()
        facts = path.stat()
        return Compiler(tuple(command), f"{path} {facts.st_size} {facts.st_mtime_ns}")
    if variant.needs_system_compiler:
        raise NativeBuildError(
            f"variant {variant.name} needs gcc or clang: the compiler of the ziglang wheel has no such sanitizer"
        )
    if not zig_is_installed():
        raise NativeBuildError("no C compiler found: install gcc or clang, or `pip install ziglang`, or set CC")
    target = f"{platform.machine()}-linux-gnu.{GLIBC_MIN}"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    return Compiler(tuple(command), f"zig {target}", ("-fno-sanitize=undefined",), from_wheel=True)


def abi_hash() -> str:
    return hashlib.sha256((SOURCES / "shm" / "layout.h").read_bytes()).hexdigest()[:16]


def stack_hash() -> str:
    """Of all that the layout of a stack may depend on."""
    headers = sorted(path for folder in sorted(ENGINE_FOLDERS) for path in (SOURCES / folder).glob("*.[hd]*"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in headers)).hexdigest()[:16]


def version() -> str:
    text = (ROOT / "src" / "byway" / "__init__.py").read_text()
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise NativeBuildError("src/byway/__init__.py has no __version__")
    return found[1]


def compile_flags(variant: Variant, compiler: Compiler, warnings_are_errors: bool) -> list[str]:
    hashes = [f"-DBYWAY_ABI_HASH=0x{abi_hash()}ULL", f"-DBYWAY_STACK_HASH=0x{stack_hash()}ULL"]
    facts = [*hashes, f'-DBYWAY_VERSION="{version()}"', f"-I{SOURCES}"]
    strict = ["-Werror"] if warnings_are_errors else []
    return [*COMPILE_FLAGS, *strict, *facts, *variant.flags, *compiler.flags]


def library_sources() -> list[Path]:
    found = [*SOURCES.rglob("*.c"), *SOURCES.rglob("*.S")]
    return sorted(path for path in found if path.relative_to(SOURCES).parts[0] not in FOLDERS_NOT_IN_LIBRARY)


def is_of_engine(source: Path) -> bool:
    return source.relative_to(SOURCES).parts[0] in ENGINE_FOLDERS


def is_of_preload(source: Path) -> bool:
    return source.relative_to(SOURCES).parts[0] not in FOLDERS_NOT_IN_PRELOAD


def headers_digest() -> bytes:
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.rglob("*.h"), *SOURCES.rglob("*.def")]):
        digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.digest()


@dataclass(frozen=True)
class Unit:
    """One object: made from `source` by `command`; `key` names everything that it depends on."""

    target: Path
    command: list[str]
    key: str
    key_file: Path

    def is_current(self) -> bool:
        try:
            return self.target.exists() and self.key_file.read_text() == self.key
        except FileNotFoundError:
            return False


def run_unit(unit: Unit) -> str | None:
    """Makes the target under another name and renames it; what the compiler said when it failed."""
    for place in (unit.target, unit.key_file):
        place.parent.mkdir(parents=True, exist_ok=True)
    unit.key_file.unlink(missing_ok=True)
    fresh = unit.target.with_name(f".{unit.target.name}.{os.getpid()}")
    done = subprocess.run([*unit.command, "-o", str(fresh)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        fresh.unlink(missing_ok=True)
        return f"{done.stdout}{done.stderr}".strip() or f"the compiler ended with status {done.returncode}"
    sys.stderr.write(done.stderr)
    fresh.replace(unit.target)
    unit.key_file.write_text(unit.key)
    return None


def object_unit(source: Path, folder: Path, command: list[str], common: bytes) -> Unit:
    digest = hashlib.sha256(common + source.read_bytes())
    relative = source.relative_to(ROOT)
    target = folder / "objects" / relative.with_name(relative.name + ".o")
    key_file = target.with_name(target.name + ".key")
    return Unit(target, [*command, "-c", str(relative)], digest.hexdigest(), key_file)


def library_unit(target: Path, folder: Path, objects: list[Unit], command: list[str]) -> Unit:
    full = [*command, *(str(unit.target) for unit in objects), *LINK_LIBRARIES]
    parts = "\n".join([str(target), *full, *(unit.key for unit in objects)])
    return Unit(target, full, hashlib.sha256(parts.encode()).hexdigest(), folder / f"{target.name}.key")


def bpf_compiler() -> list[str] | None:
    """One that makes BPF programs: clang, or the one in the ziglang wheel; None: there is none."""
    clang = shutil.which("clang")
    if clang is not None:
        return [clang, "-target", "bpf"]
    if zig_is_installed():
        return [sys.executable, "-m", "ziglang", "cc", "-target", "bpfel-freestanding"]
    return None


def bpf_units(folder: Path) -> list[Unit]:
    """The programs that steer packets: none without a compiler for them, and then all but adapters works."""
    compiler = bpf_compiler()
    if compiler is None:
        return []
    command = [*compiler, *BPF_FLAGS, "-c", str(STEER.relative_to(ROOT))]
    parts = [" ".join(command).encode(), *(path.read_bytes() for path in sorted(STEER.parent.glob("*.[ch]")))]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return [Unit(NATIVE / "steer.bpf.o", command, key, folder / "steer.bpf.o.key")]


def bpf_note(made: int) -> str:
    """What the build says of them."""
    if bpf_compiler() is None:
        return f"; {STEER.name} needs clang or ziglang: without it no adapter can be used"
    return f", {STEER.name} compiled" if made else ""


def run_units(units: list[Unit]) -> int:
    """Makes what is out of date, in parallel; how many that were."""
    stale = [unit for unit in units if not unit.is_current()]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        complaints = [said for said in pool.map(run_unit, stale) if said is not None]
    if complaints:
        raise NativeBuildError("\n".join(complaints))
    return len(stale)


def publish_shared_facts() -> None:
    """The layout and the tables, beside the library that was compiled from them."""
    NATIVE.mkdir(parents=True, exist_ok=True)
    shared = [source for pattern in SHARED_FACTS for source in (SOURCES / "shm").glob(pattern)]
    named = {source.name: source for source in shared}
    named |= {fact.replace("/", "_"): SOURCES / fact for fact in ENGINE_FACTS}
    for name, source in named.items():
        target = NATIVE / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)


@contextlib.contextmanager
def only_builder(folder: Path) -> Iterator[None]:
    """Two builds of one variant at the same time wait for each other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def object_units(variant: Variant, compiler: Compiler, folder: Path, warnings_are_errors: bool) -> dict[Path, Unit]:
    """An object for each source."""
    command = [*compiler.command, *compile_flags(variant, compiler, warnings_are_errors)]
    common = "\0".join([compiler.identity, *command]).encode() + headers_digest()
    return {source: object_unit(source, folder, command, common) for source in library_sources()}


def library_units(
    variant: Variant, compiler: Compiler, folder: Path, out: Path, objects: dict[Path, Unit]
) -> list[Unit]:
    """The two libraries: what programs load, and the TCP/IP engine alone."""
    command = [*compiler.command, *compiler.flags, *variant.flags, *LINK_FLAGS]
    command += ["-Wl,-z,defs"] if variant.links_all_symbols else []
    engine = [unit for source, unit in objects.items() if is_of_engine(source)]
    preload = [unit for source, unit in objects.items() if is_of_preload(source)]
    hidden = f"-Wl,--version-script={HIDDEN_IN_PRELOAD.relative_to(ROOT)}"
    return [
        library_unit(out / "libbyway_preload.so", folder, preload, [*command, hidden]),
        library_unit(out / "libbyway.so", folder, engine, command),
    ]


def build(variant_name: str, out: Path | None = None, *, warnings_are_errors: bool = True) -> list[Path]:
    """Brings the libraries of a variant up to date; their paths, the preload library first."""
    variant = VARIANTS[variant_name]
    folder = ROOT / "build" / variant.name
    compiler = find_compiler(variant)
    with only_builder(folder):
        publish_shared_facts()
        objects = object_units(variant, compiler, folder, warnings_are_errors)
        compiled = run_units(list(objects.values()))
        default_out = NATIVE if variant.name == "release" else folder
        libraries = library_units(variant, compiler, folder, out or default_out, objects)
        linked = run_units(libraries)
        programs = run_units(bpf_units(folder)) if variant.name == "release" else 0
    if compiled or linked or programs:
        print(
            f"native build ({variant.name}): {compiled} compiled, {linked} linked{bpf_note(programs)}", file=sys.stderr
        )
    return [unit.target for unit in libraries]


def glibc_needed(library: Path) -> str:
    """The newest glibc whose symbols a library names, so that the wheel's tag is true."""
    versions = re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes())
    return f"2_{max((int(minor) for minor in versions), default=17)}"


def wheel_tag(libraries: list[Path]) -> str:
    newest = max((int(glibc_needed(path).split("_")[1]) for path in libraries), default=17)
    return f"py3-none-manylinux_2_{max(newest, 17)}_{platform.machine()}"


if TYPE_CHECKING or importlib.util.find_spec("hatchling") is not None:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class NativeBuildHook(BuildHookInterface[Any]):
        """What hatchling calls: builds the release libraries into the package and tags the wheel."""

        def dependencies(self) -> list[str]:
            return [] if system_compiler() is not None and shutil.which("clang") else ["ziglang"]

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if self.target_name != "wheel":
                return
            build_data["pure_python"] = False
            if os.environ.get("BYWAY_BUILD_LATER"):  # ./dev builds by itself, and shows its errors better
                build_data["tag"] = wheel_tag([])
                return
            build_data["tag"] = wheel_tag(build("release", warnings_are_errors=version == "editable"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds Byway's native libraries.")
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="release")
    parser.add_argument("--out", type=Path, help="folder for the libraries; default: the package, or build/VARIANT")
    arguments = parser.parse_args()
    try:
        for library in build(arguments.variant, arguments.out and arguments.out.resolve()):
            print(library)
    except NativeBuildError as error:
        print(f"{error}\nhatch_build.py: the native build failed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
