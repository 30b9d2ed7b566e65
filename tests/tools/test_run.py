"""`byway run`: what it starts, with which environment, and what it says when it cannot."""

import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tools.conftest import Byway

ON_KERNEL = "it runs on the kernel, not accelerated"
START_BUDGET_S = 0.1  # what may be added to starting a program, by the issue that asks for it
START_ROUNDS = 11


def compile_program(compiler: str, folder: Path, name: str, *flags: str) -> Path:
    source = folder / f"{name}.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 7; }\n')
    program = folder / name
    done = subprocess.run([compiler, str(source), "-o", str(program), *flags], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot be compiled here: {done.stderr.splitlines()[-1]}")
    return program


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


# -- the environment


def test_library_is_preloaded_and_the_old_one_kept_behind(byway_run: Byway, empty_library: Path, scratch: Path) -> None:
    other = Path(shutil.copy(empty_library, scratch / "libother.so"))
    done = byway_run("--", "sh", "-c", "echo $LD_PRELOAD", LD_PRELOAD=str(other))
    assert done.stdout.strip() == f"{empty_library}:{other}"
    assert done.stderr == ""


def test_library_is_preloaded_once(byway_run: Byway, empty_library: Path) -> None:
    done = byway_run("--", "sh", "-c", "echo $LD_PRELOAD", LD_PRELOAD=str(empty_library))
    assert done.stdout.strip() == str(empty_library)


def test_library_is_mapped_by_the_program(byway_run: Byway, empty_library: Path) -> None:
    done = byway_run("--", "cat", "/proc/self/maps")
    assert str(empty_library) in done.stdout


def test_environment_is_else_untouched(byway_run: Byway, clean_environment: dict[str, str]) -> None:
    environment = {"LC_ALL": "", "LANG": "", "LC_CTYPE": ""}
    done = byway_run("--", "env", "-0", **environment)
    seen = dict(entry.split("=", 1) for entry in done.stdout.rstrip("\0").split("\0"))
    assert seen.pop("LD_PRELOAD")
    assert seen.pop("BYWAY_LIBRARY")
    assert seen == clean_environment | environment


def test_c_locale_is_not_coerced(empty_library: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "BYWAY_LIBRARY": str(empty_library)}
    command = [sys.executable, "-m", "byway", "run", "--", "env"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert "LC_CTYPE" not in done.stdout


def test_a_native_library_that_is_not_built_is_said(byway_run: Byway) -> None:
    done = byway_run("--library", "/nowhere/lib.so", "--", "true")
    assert done.returncode == 125
    assert "/nowhere/lib.so is missing" in done.stderr


# -- options and profiles


def test_profile_sets_options(byway_run: Byway) -> None:
    done = byway_run("--profile", "latency", "--", "env")
    assert "BYWAY_SPIN_US=1000000" in done.stdout
    assert "BYWAY_SPIN_ADAPTIVE=0" in done.stdout
    assert "BYWAY_PROFILE=latency" in done.stdout


def test_default_profile_sets_nothing(byway_run: Byway) -> None:
    assert "BYWAY_SPIN_US" not in byway_run("--", "env").stdout


def test_environment_wins_over_profile_and_option_over_both(byway_run: Byway) -> None:
    words = ["--profile=latency", "--", "env"]
    assert "BYWAY_SPIN_US=7\n" in byway_run(*words, BYWAY_SPIN_US="7").stdout
    done = byway_run("--option", "spin_us=8", *words, BYWAY_SPIN_US="7")
    assert "BYWAY_SPIN_US=8\n" in done.stdout
    assert "BYWAY_SPIN_ADAPTIVE=0\n" in done.stdout


def test_profile_of_ones_own(byway_run: Byway, scratch: Path) -> None:
    path = scratch / "mine.toml"
    path.write_text("spin_adaptive = false\nring_bytes = 8192\n")
    done = byway_run("--profile", path, "--", "env")
    assert "BYWAY_SPIN_ADAPTIVE=0\n" in done.stdout
    assert "BYWAY_RING_BYTES=8192\n" in done.stdout


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        (["--option", "spin-u=3"], {}, "did you mean spin_us?"),
        (["--option", "spin_us=lots"], {}, "a number from 0 to 1000000"),
        (["--option", "spin_us=-1"], {}, "a number from 0 to 1000000"),
        (["--option", "enabled=2"], {}, "0 or 1"),
        (["--option", "ring_bytes=5000"], {}, "a power of two from 4096"),
        (["--option", "spin_us"], {}, "NAME=VALUE"),
        (["--option"], {}, "--option wants a value"),
        (["--profile", "latencey"], {}, "did you mean latency?"),
        (["--strictly"], {}, "no argument --strictly"),
        ([], {"BYWAY_SPIN_UZ": "3"}, "did you mean spin_us?"),
        ([], {"BYWAY_SPIN_US": "x"}, "BYWAY_SPIN_US in the environment"),
    ],
)
def test_wrong_use_is_an_error(byway_run: Byway, words: list[str], environment: dict[str, str], sentence: str) -> None:
    done = byway_run(*words, *([] if words == ["--option"] else ["--", "true"]), **environment)
    assert done.returncode == 125
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_is_needed(byway_run: Byway) -> None:
    done = byway_run("--")
    assert done.returncode == 125
    assert "no program" in done.stderr


# -- status, signals, arguments


def test_status_is_the_programs(byway_run: Byway) -> None:
    assert byway_run("--", "sh", "-c", "exit 37").returncode == 37


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE])
def test_death_by_signal_is_the_programs(byway_run: Byway, number: signal.Signals) -> None:
    assert byway_run("--", "sh", "-c", f"kill -{int(number)} $$").returncode == -number


def test_signal_from_outside_reaches_the_program(empty_library: Path, clean_environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "byway", "run", "--", "sh", "-c", "echo started; exec sleep 60"]
    environment = clean_environment | {"BYWAY_LIBRARY": str(empty_library)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM


def test_no_signal_is_ignored_that_was_not(byway_run: Byway) -> None:
    mine = {line.split(":")[0]: line for line in Path("/proc/self/status").read_text().splitlines()}
    done = byway_run("--", "grep", "SigIgn", "/proc/self/status")
    ignored = int(done.stdout.split()[1], 16)
    assert ignored & 1 << signal.SIGPIPE - 1 == 0
    assert ignored & ~int(mine["SigIgn"].split()[1], 16) == 0


def test_arguments_and_input_go_through(byway_run: Byway) -> None:
    done = byway_run("--", "sh", "-c", 'printf "%s|" "$0" "$@"', "a b", "", "--profile", "é")
    assert done.stdout == "a b||--profile|é|"


def test_no_descriptor_is_left_open(byway_run: Byway) -> None:
    done = byway_run("--", "sh", "-c", "ls /proc/$$/fd")
    assert set(done.stdout.split()) <= {"0", "1", "2", "10", "255"}


# -- what cannot be accelerated, or not be run


def check_runs_on_kernel(byway_run: Byway, program: Path, clause: str, status: int = 7) -> None:
    done = byway_run("--", program)
    assert done.returncode == status
    assert clause in done.stderr
    assert done.stderr.rstrip().endswith(ON_KERNEL)
    assert done.stderr.count("\n") == 1
    strict = byway_run("--strict", "--", program)
    assert strict.returncode == 126
    assert clause in strict.stderr
    assert strict.stdout == ""


def test_static_program(byway_run: Byway, compiler: str, scratch: Path) -> None:
    program = compile_program(compiler, scratch, "static", "-static")
    check_runs_on_kernel(byway_run, program, "is statically linked")


def test_static_position_independent_program(byway_run: Byway, compiler: str, scratch: Path) -> None:
    program = compile_program(compiler, scratch, "static-pie", "-static-pie")
    check_runs_on_kernel(byway_run, program, "is statically linked")


def test_script_of_a_static_interpreter(byway_run: Byway, compiler: str, scratch: Path) -> None:
    interpreter = compile_program(compiler, scratch, "static-interpreter", "-static")
    program = script(scratch, "of-static", f"#!{interpreter}\n")
    check_runs_on_kernel(byway_run, program, f"whose interpreter {interpreter} is statically linked")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a program to another user")
@pytest.mark.parametrize(("bit", "word"), [(stat.S_ISUID, "set-uid"), (stat.S_ISGID, "set-gid")])
def test_program_that_gains_rights(byway_run: Byway, compiler: str, scratch: Path, bit: int, word: str) -> None:
    program = compile_program(compiler, scratch, word)
    os.chown(program, 65534, 65534)
    program.chmod(0o755 | bit)
    check_runs_on_kernel(byway_run, program, f"is {word}")


def test_set_uid_for_oneself_gains_nothing(byway_run: Byway, compiler: str, scratch: Path) -> None:
    program = compile_program(compiler, scratch, "own-uid")
    program.chmod(0o755 | stat.S_ISUID)
    done = byway_run("--strict", "--", program)
    assert (done.returncode, done.stderr) == (7, "")


def elf_header(elf_class: int, machine: int) -> bytes:
    """A program of another machine: header and one program header (an interpreter) of no content."""
    ident = b"\x7fELF" + bytes([elf_class, 1, 1]) + bytes(9)
    if elf_class == 2:
        return ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0) + bytes(56)
    return ident + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, 0, 52, 0, 0, 52, 32, 1, 40, 0, 0) + bytes(32)


@pytest.mark.parametrize(
    ("elf_class", "machine", "words"),
    [(2, 243, "risc-v (64-bit)"), (1, 8, "mips (32-bit)"), (2, 4711, "machine 4711")],
)
def test_program_of_another_machine(byway_run: Byway, scratch: Path, elf_class: int, machine: int, words: str) -> None:
    program = scratch / f"machine-{machine}"
    program.write_bytes(elf_header(elf_class, machine))
    program.chmod(0o755)
    done = byway_run("--", program)
    assert f"is compiled for {words}" in done.stderr
    assert done.returncode == 126
    assert "cannot be run" in done.stderr
    assert byway_run("--strict", "--", program).returncode == 126


@pytest.mark.parametrize("length", [4, 20, 60, 63])
def test_damaged_program(byway_run: Byway, scratch: Path, length: int) -> None:
    program = scratch / f"damaged-{length}"
    program.write_bytes(Path("/bin/sh").read_bytes()[:length])
    program.chmod(0o755)
    done = byway_run("--", program)
    assert done.returncode == 126
    assert "damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_program_for_musl(byway_run: Byway, compiler: str, scratch: Path) -> None:
    program = compile_program(compiler, scratch, "musl", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
    done = byway_run("--strict", "--", program)
    assert done.returncode == 126
    assert "is built for musl" in done.stderr


@pytest.mark.parametrize("name", ["/nowhere/program", "no-such-program-anywhere"])
def test_missing_program(byway_run: Byway, name: str) -> None:
    done = byway_run("--", name)
    assert done.returncode == 127
    assert f"{name} was not found" in done.stderr


def test_program_without_permission(byway_run: Byway, scratch: Path) -> None:
    path = scratch / "plain"
    path.write_text("nothing")
    done = byway_run("--", path)
    assert done.returncode == 126
    assert "not executable" in done.stderr


def test_folder(byway_run: Byway, scratch: Path) -> None:
    done = byway_run("--", scratch)
    assert done.returncode == 126
    assert "is a directory" in done.stderr


# -- scripts


def test_script(byway_run: Byway, empty_library: Path, scratch: Path) -> None:
    program = script(scratch, "script", "#! /bin/sh -e\necho $LD_PRELOAD $0 $1\nexit 5\n")
    done = byway_run("--strict", "--", program, "word")
    assert done.returncode == 5
    assert done.stdout.split() == [str(empty_library), str(program), "word"]


def test_text_without_interpreter_is_for_the_shell(byway_run: Byway, scratch: Path) -> None:
    program = script(scratch, "bare-text", "echo $LD_PRELOAD $1\n")
    assert byway_run("--", program, "word").stdout.endswith("word\n")


def test_script_whose_interpreter_is_missing(byway_run: Byway, scratch: Path) -> None:
    done = byway_run("--", script(scratch, "lost", "#!/nowhere/interpreter\n"))
    assert done.returncode == 127
    assert "names the interpreter /nowhere/interpreter, which does not exist" in done.stderr


def test_script_of_itself_ends(byway_run: Byway, scratch: Path) -> None:
    path = scratch / "endless"
    done = byway_run("--", script(scratch, "endless", f"#!{path}\n"))
    assert done.returncode == 126
    assert "deep" in done.stderr


def test_program_is_found_on_path(byway_run: Byway, scratch: Path) -> None:
    folder = scratch / "path"
    folder.mkdir()
    script(folder, "only-here", "#!/bin/sh\necho found\n")
    done = byway_run("--", "only-here", PATH=f"/nowhere:{folder}:{os.environ['PATH']}")
    assert done.stdout == "found\n"


# -- cost


def test_starting_costs_little(byway_run: Byway, clean_environment: dict[str, str]) -> None:
    def seconds(with_byway: bool) -> float:
        begin = time.monotonic()
        if with_byway:
            byway_run("--", "true")
        else:
            subprocess.run(["true"], env=clean_environment)
        return time.monotonic() - begin

    added = [seconds(True) - seconds(False) for _ in range(START_ROUNDS)]
    assert sorted(added)[START_ROUNDS // 4] < START_BUDGET_S


def test_only_what_is_needed_is_imported(clean_environment: dict[str, str], empty_library: Path) -> None:
    heavy = {
        "argparse",
        "dataclasses",
        "inspect",
        "rich",
        "json",
        "subprocess",
        "tempfile",
        "difflib",
        "tomllib",
        "ctypes",
    }
    code = (
        "import os, sys\n"
        "from byway.cli import main\n"
        "def stop(*words): print(*sys.modules); sys.stdout.flush(); os._exit(0)\n"
        "os.execve = stop\n"
        f"main(['run', '--library', {str(empty_library)!r}, '--', 'true'])\n"
    )
    command = [sys.executable, "-S", "-c", code]
    source = Path(__file__).resolve().parents[2] / "src"
    environment = clean_environment | {"PYTHONPATH": str(source)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert heavy.isdisjoint(done.stdout.split())
