"""A call on a descriptor that is not Byway's costs at most 15 instructions more than without it, as callgrind counts.

tests/exports/native/cost.c makes the calls and has callgrind write down what each cost; here it runs twice, with and
without the library. What is interposed is either measured or named in NOT_MEASURED with the reason.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import variant
from tests.exports.test_exports import table

SOURCE = Path(__file__).parent / "native" / "cost.c"
INSTRUCTIONS_MAX = 15
CALLS = 16  # as in cost.c
RUN_TIMEOUT_S = 60

NOT_MEASURED = {
    "takes several descriptors": "select __select pselect splice close_range closefrom",
    "takes several messages": "sendmmsg",
    "takes a block that describes a call": "aio_read aio_read64 aio_write aio_write64 lio_listio lio_listio64",
    "takes a stream": "fclose",
    "formats, as dprintf does": "vdprintf",
    "takes no descriptor": "epoll_create epoll_create1 sigaction __sigaction signal ssignal bsd_signal sysv_signal"
    " __sysv_signal sigset siginterrupt sigprocmask pthread_sigmask pthread_cancel",
    "makes, replaces or ends a process": "fork __fork _Fork clone vfork __vfork daemon forkpty posix_spawn posix_spawnp"
    " posix_spawn_file_actions_adddup2 system popen execve execv execvp execvpe execl execlp execle fexecve execveat"
    " _exit _Exit",
}

Costs = dict[str, float]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    if compiler is None:
        pytest.skip("no C compiler")
    target = tmp_path_factory.mktemp("cost") / "cost"
    command = [compiler, "-O1", "-Wall", "-Wextra", str(SOURCE), "-o", str(target), "-Wl,-z,now"]
    subprocess.run(command, check=True, timeout=RUN_TIMEOUT_S)
    return target


def count(program: Path, preload: Path | None) -> Costs:
    """Instructions of one call, by name. A case ran more than once: the last time counts, when all was found."""
    output = program.parent / ("with" if preload else "without")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BYWAY_", "LD_"))}
    environment["LD_PRELOAD"] = str(preload or "")
    command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={output}", str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    costs: Costs = {}
    for part in sorted(output.parent.glob(f"{output.name}.*"), key=lambda path: int(path.suffix[1:])):
        text = part.read_text()
        name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        total = re.search(r"^(?:summary|totals): (\d+)$", text, re.MULTILINE)
        if name and total:
            costs[name[1]] = int(total[1]) / CALLS
    return costs


@pytest.fixture(scope="module")
def more(program: Path) -> Costs:
    """How many instructions more each call takes under Byway."""
    library = variant.library("release")
    if not library.exists():
        pytest.skip(f"{library} is not built: ./dev build")
    without, under = count(program, None), count(program, library)
    assert without.keys() == under.keys()
    return {name: under[name] - without[name] for name in under}


def test_every_call_is_measured_or_excused(more: Costs) -> None:
    excused = {name for names in NOT_MEASURED.values() for name in names.split()}
    measured = {name for name in more if " " not in name}
    assert excused & measured == set()
    assert excused | measured == set(table())


def test_a_call_that_is_not_ours_costs_little(more: Costs) -> None:
    too_much = {name: round(cost, 1) for name, cost in more.items() if cost > INSTRUCTIONS_MAX}
    assert not too_much, f"more than {INSTRUCTIONS_MAX} instructions more than without Byway: {too_much}"
