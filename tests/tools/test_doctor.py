"""`byway doctor`: it tries what it says, and names a cause and a remedy where something does not work."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.conftest import group as group  # a fixture
from tests.tools.conftest import Byway

pytestmark = pytest.mark.skipif(bool(harness.byway_missing()), reason=str(harness.byway_missing()))

Findings = dict[str, dict[str, str]]


def groups(output: str) -> dict[str, Findings]:
    """What it says with --json: group, subject, finding."""
    return {name: {one["subject"]: one for one in found} for name, found in json.loads(output).items()}


def test_this_machine(byway: Byway) -> None:
    """Where the tests of programs pass, the doctor finds that local TCP works: it has tried."""
    done = byway("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    machine = groups(done.stdout)["machine"]
    assert machine["local TCP"]["verdict"] in ("yes", "less") and "went by" not in machine["local TCP"]["text"]
    assert {one["verdict"] for one in machine.values()} <= {"yes", "less"}, machine
    assert all(one["remedy"] for one in machine.values() if one["verdict"] == "less"), machine


def test_is_readable(byway: Byway) -> None:
    done = byway("doctor")
    assert done.returncode == 0
    assert "what to do" in done.stdout and "local TCP" in done.stdout and "Carried by the kernel" in done.stdout


def test_a_switched_off_byway_is_noticed(byway: Byway) -> None:
    done = byway("doctor", "--json", BYWAY_ENABLED="0")
    found = groups(done.stdout)["machine"]
    assert done.returncode == 1 and found["local TCP"]["verdict"] == "no"
    assert found["options"]["verdict"] == "no" and "unset BYWAY_ENABLED" in found["options"]["remedy"]


def test_a_wrong_option_is_said(byway: Byway) -> None:
    found = groups(byway("doctor", "--json", BYWAY_SPIN_US="soon").stdout)["machine"]
    assert "BYWAY_SPIN_US" in found["options"]["text"] and found["options"]["verdict"] == "no"


def test_a_library_that_does_nothing_is_found_out(byway: Byway, empty_library: Path) -> None:
    done = byway("doctor", "--json", BYWAY_LIBRARY=str(empty_library))
    found = groups(done.stdout)["machine"]["local TCP"]
    assert done.returncode == 1 and found["verdict"] == "no" and "no byte" in found["text"] and found["remedy"]


def test_a_missing_library_is_said(byway: Byway) -> None:
    done = byway("doctor", "--json", BYWAY_LIBRARY="/nowhere/lib.so")
    found = groups(done.stdout)["machine"]
    assert done.returncode == 1
    assert "/nowhere/lib.so is missing" in found["library"]["text"] and found["library"]["remedy"]
    assert found["local TCP"]["verdict"] == "no"


@pytest.mark.skipif(not shutil.which("taskset"), reason="not installed: taskset")
def test_one_processor_is_less(byway_command: list[str], group: harness.Programs) -> None:
    output = group.run(["taskset", "-c", "0", *byway_command, "doctor", "--json"])
    found = groups(output)["machine"]["processors"]
    assert found["verdict"] == "less" and found["text"].startswith("1:") and found["remedy"]


def test_few_descriptors_are_less(byway_command: list[str], group: harness.Programs) -> None:
    words = " ".join(byway_command)
    output = group.run(["sh", "-c", f"ulimit -n 512; exec {words} doctor --json"])
    found = groups(output)["machine"]["descriptors"]
    assert found["verdict"] == "less" and "512" in found["text"] and "ulimit -n" in found["remedy"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_a_network_without_loopback_is_said(byway_command: list[str], group: harness.Programs) -> None:
    program = group.start(["unshare", "--net", *byway_command, "doctor", "--json"])
    assert program.wait() == 1, program.output()
    found = groups(program.output())["machine"]
    assert found["loopback"]["verdict"] == "no" and "ip link set lo up" in found["loopback"]["remedy"]
    assert found["local TCP"]["verdict"] == "no"


def test_programs_are_examined(byway: Byway, compiler: str, tmp_path: Path) -> None:
    source, static = tmp_path / "static.c", tmp_path / "static"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run([compiler, "-static", source, "-o", static], check=True)
    done = byway("doctor", "--json", sys.executable, static, "/nowhere/program")
    assert done.returncode == 1
    found = groups(done.stdout)["programs"]
    assert found[sys.executable]["verdict"] == "yes"
    assert found[str(static)]["verdict"] == "no" and "statically linked" in found[str(static)]["text"]
    assert found["/nowhere/program"]["verdict"] == "no"


def test_a_program_with_a_habit_has_advice(byway: Byway, tmp_path: Path) -> None:
    """nginx empties its environment: the doctor knows it by its name."""
    shutil.copy(shutil.which("true") or "/bin/true", tmp_path / "nginx")
    done = byway("doctor", "--json", tmp_path / "nginx")
    found = groups(done.stdout)["programs"][str(tmp_path / "nginx")]
    assert done.returncode == 0 and found["verdict"] == "less" and "env LD_PRELOAD;" in found["remedy"]


def test_who_listens_is_shown(byway: Byway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listening = groups(byway("doctor", "--json").stdout)["listening"]
    mine = next(found for subject, found in listening.items() if f"({os.getpid()})" in subject)
    assert f"127.0.0.1:{port}" in mine["text"] and mine["verdict"] == "no" and "byway run" in mine["remedy"]
