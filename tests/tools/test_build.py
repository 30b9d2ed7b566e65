"""The native build compiles what changed and nothing else; `./dev` says what it can do."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPORT = '__attribute__((visibility("default")))'
SOURCES = {
    "csrc/shm/layout.h": "#include <stdint.h>\nstruct shm_word { uint64_t word; };\n",
    "csrc/shm/options.def": 'OPTION(spin_us, process, us, 50, 0, 100, "text")\n',
    "csrc/base/one.c": f'#include "shm/layout.h"\nint one(void);\n{EXPORT} int one(void) {{ return 1; }}\n',
    "csrc/interpose/two.c": f"int one(void);\nint two(void);\n{EXPORT} int two(void) {{ return one() + 1; }}\n",
    "csrc/bpf/steer.bpf.c": "int steer(void) { return 2; }\n",
    "csrc/engine/hidden.map": "{ local: byway_*; };\n",
    "csrc/engine/options.def": "",
    "csrc/stack/counters.def": "",
    "csrc/frame/drops.def": "",
    "csrc/mirror/mirror.h": "",
    "src/byway/__init__.py": '__version__ = "1.2.3"\n',
}


@pytest.fixture
def tree(tmp_path: Path, compiler: str) -> Path:
    """A small project with the real build."""
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(ROOT / "hatch_build.py", tmp_path)
    return tmp_path


def build(tree: Path, *words: str, status: int = 0) -> str:
    """What the build says it did."""
    command = [sys.executable, str(tree / "hatch_build.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stderr


def exported(library: Path) -> str:
    return subprocess.run(
        ["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True
    ).stdout


def test_only_what_changed_is_compiled(tree: Path) -> None:
    assert "2 compiled, 2 linked" in build(tree)
    assert build(tree) == ""
    (tree / "csrc/base/one.c").touch()
    assert build(tree) == ""
    with (tree / "csrc/interpose/two.c").open("a") as source:
        source.write("/* more */\n")
    assert "1 compiled, 1 linked" in build(tree)
    with (tree / "csrc/shm/options.def").open("a") as table:
        table.write("/* more */\n")
    assert "2 compiled, 2 linked" in build(tree)
    assert build(tree) == ""


def test_a_library_that_was_removed_comes_back(tree: Path) -> None:
    build(tree)
    (tree / "src/byway/_native/libbyway.so").unlink()
    assert "0 compiled, 1 linked" in build(tree)


def test_the_core_has_no_interposition(tree: Path) -> None:
    build(tree)
    native = tree / "src/byway/_native"
    tables = {
        "layout.h",
        "options.def",
        "engine_options.def",
        "stack_counters.def",
        "frame_drops.def",
        "mirror_mirror.h",
    }
    programs = {"steer.bpf.o"} if shutil.which("clang") or importlib.util.find_spec("ziglang") else set()
    assert {path.name for path in native.iterdir()} == {*tables, *programs, "libbyway.so", "libbyway_preload.so"}
    assert " two" in exported(native / "libbyway_preload.so")
    assert " one" in exported(native / "libbyway.so")
    assert " two" not in exported(native / "libbyway.so")


def test_variants_lie_apart(tree: Path) -> None:
    build(tree)
    assert "2 compiled" in build(tree, "--variant", "test")
    assert (tree / "build/test/libbyway_preload.so").exists()
    assert build(tree) == ""
    build(tree, "--variant", "test", "--out", str(tree / "elsewhere"))
    assert (tree / "elsewhere/libbyway_preload.so").exists()


def test_a_mistake_is_shown_as_the_compiler_says_it(tree: Path) -> None:
    (tree / "csrc/base/one.c").write_text("int broken(void) { return nothing; }\n")
    said = build(tree, status=1)
    assert "one.c:1" in said
    assert "Traceback" not in said
    assert "the native build failed" in said


def test_core_must_not_need_interposition(tree: Path) -> None:
    (tree / "csrc/base/one.c").write_text(
        f"int two(void);\nint one(void);\n{EXPORT} int one(void) {{ return two(); }}\n"
    )
    assert "two" in build(tree, status=1)


def test_dev_lists_its_verbs_and_names_the_nearest() -> None:
    alone = subprocess.run([str(ROOT / "dev")], capture_output=True, text=True, timeout=10)
    assert alone.returncode == 2
    for verb in ("demo", "test", "bench", "lint", "shell"):
        assert f"  {verb}" in alone.stdout
    wrong = subprocess.run([str(ROOT / "dev"), "tset"], capture_output=True, text=True, timeout=10)
    assert wrong.returncode == 2
    assert "did you mean `test`?" in wrong.stderr
