"""`byway bench [OPTIONS] -- SERVER ARGUMENTS -- CLIENT ARGUMENTS`: kernel and Byway in turn, for any two programs.

The server is started afresh for each round; the client is any program that ends by itself. Both run as they are given:
what they print, how long the client takes and what processor time both take is compared.
"""

import argparse
import dataclasses
import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from byway.bench import comparison, metrics, report
from byway.bench.comparison import BYWAY, KERNEL, Plan
from byway.errors import UserError
from byway.launch import environment, program

DESCRIPTION = "Runs a server and its load on the kernel and under Byway in turn, and compares what they do."
USAGE = "byway bench [OPTIONS] -- SERVER [ARGUMENTS] -- CLIENT [ARGUMENTS]"
EPILOG = (
    f"Read without being told: the output of {', '.join(metrics.KNOWN)}. "
    "Of any other client the time is compared that it takes; --more and --less point at numbers in its output. "
    "Use a server that stays in the foreground."
)
PICTURE = Path("byway-bench.png")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="byway bench", usage=USAGE, description=DESCRIPTION, epilog=EPILOG)
    made.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds, each of kernel and Byway (7)")
    made.add_argument("--profile", default="default", metavar="NAME", help="as `byway run` has it")
    made.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="as `byway run` has it")
    made.add_argument("--more", action="append", default=[], metavar="NAME=PATTERN", help="a number: more is better")
    made.add_argument("--less", action="append", default=[], metavar="NAME=PATTERN", help="a number: less is better")
    made.add_argument("--pin", action="store_true", help="server and client on a processor of their own")
    made.add_argument("--start-timeout", type=float, default=20.0, metavar="S", help="until the server listens (20)")
    made.add_argument("--load-timeout", type=float, default=300.0, metavar="S", help="until the client ends (300)")
    made.add_argument("--picture", type=Path, default=PICTURE, metavar="FILE", help=f"a PNG ({PICTURE})")
    made.add_argument("--json", type=Path, metavar="FILE", help="all rounds, with what the client printed")
    return made


def split(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Our options, the server's command, the client's command."""
    parts: list[list[str]] = [[]]
    for word in arguments:
        if word == "--" and len(parts) < 3:
            parts.append([])
        else:
            parts[-1].append(word)
    if len(parts) < 3 or not parts[1] or not parts[2]:
        raise UserError(f"a server and a client are needed: {USAGE}", 2)
    return parts[0], parts[1], parts[2]


def checked(words: Sequence[str]) -> list[str]:
    """The command, once it is known that Byway can accelerate it: otherwise there is nothing to compare."""
    ours = program.library_target(environment.libraries(os.environ.get(environment.LIBRARY_VARIABLE))[-1])
    path = program.find(words[0], os.environ.get("PATH", os.defpath))
    found = program.examine(path, ours)
    if found.obstacle is not None:
        raise UserError(f"{path} {found.obstacle}; on the kernel it would be compared with itself")
    if found.needs_shell:
        return ["/bin/sh", path, *words[1:]]
    return [path, *words[1:]]


def processors(is_pinned: bool) -> tuple[set[int] | None, set[int] | None]:
    if not is_pinned:
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise UserError("--pin needs two processors, and this process may use one only")
    return {usable[0]}, {usable[1]}


def plan_of(wish: argparse.Namespace, server: Sequence[str], client: Sequence[str]) -> Plan:
    clean = environment.on_kernel(os.environ)
    paths = environment.libraries(os.environ.get(environment.LIBRARY_VARIABLE))
    server_cpus, load_cpus = processors(wish.pin)
    return Plan(
        server=checked(server),
        load=checked(client),
        environments={KERNEL: clean, BYWAY: environment.under_byway(clean, wish.profile, wish.option, paths)},
        rounds=wish.rounds,
        server_cpus=server_cpus,
        load_cpus=load_cpus,
        start_timeout_s=wish.start_timeout,
        load_timeout_s=wish.load_timeout,
    )


def tell(done: int, total: int) -> None:
    """Progress, on stderr: a line that counts on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{done} of {total} rounds", end="\n" if done == total else "", file=sys.stderr, flush=True)


def unwind(number: int, _frame: object) -> None:
    """A request to end lets every program that was started here end too."""
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    if {"-h", "--help"} & set(arguments[: arguments.index("--")] if "--" in arguments else arguments):
        parser().print_help()
        return 0
    own, server, client = split(arguments)
    wish = parser().parse_args(own)
    if wish.rounds < 1:
        raise UserError("--rounds needs at least 1", 2)
    asked = [*metrics.asked_for(wish.more, more_is_better=True), *metrics.asked_for(wish.less, more_is_better=False)]
    plan = plan_of(wish, server, client)
    signal.signal(signal.SIGTERM, unwind)
    rounds = comparison.measure(plan, lambda done: tell(done, plan.rounds))
    comparison.check(asked, rounds)
    found = comparison.compare(rounds, [*asked, *metrics.known(client)])
    show(found, rounds, wish, f"{shlex.join(server)}   ·   {shlex.join(client)}")
    return 0


def show(found: list[comparison.Comparison], rounds: comparison.Rounds, wish: argparse.Namespace, title: str) -> None:
    report.print_table(found)
    if problem := comparison.need_rings(rounds):
        print(f"\nNote: {problem}.")
    if wish.json:
        plain = [{name: dataclasses.asdict(sample) for name, sample in one.items()} for one in rounds]
        wish.json.write_text(
            json.dumps({"comparisons": list(map(dataclasses.asdict, found)), "rounds": plain}, indent=1)
        )
        print(f"rounds:  {wish.json}")
    print(f"picture: {wish.picture}" if report.draw(found, title, wish.picture) else report.NO_MATPLOTLIB)
