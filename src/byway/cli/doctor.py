"""`byway doctor [--json] [PROGRAM...]`: what Byway can do on this machine and for these programs, why not, what to do.

Status 0: local TCP is accelerated here, and all the programs can be; 1: not so.
"""

import argparse
import dataclasses
import json

from byway.cli import show
from byway.doctor import facilities, machine, programs, trial
from byway.doctor.finding import BAD, Finding

DESCRIPTION = "Says what Byway can do on this machine, and for the programs that are named, why not, and what to do."
BY_DESIGN = (
    "Carried by the kernel in any case: connections to other machines or between network namespaces, UDP, UNIX\n"
    "sockets, pipes, static programs (most of those written in Go), and connections with one end under Byway only."
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="byway doctor", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("program", nargs="*", help="a program that you want to run under Byway")
    wish = parser.parse_args(arguments)
    local = trial.examine()
    groups = {
        "machine": [local, *machine.examine(), *facilities.examine()],
        "programs": programs.examine(wish.program),
        "listening": programs.listening(),
    }
    if wish.json:
        print(json.dumps({name: list(map(dataclasses.asdict, found)) for name, found in groups.items()}, indent=2))
    else:
        show_all(groups)
    return int(local.verdict == BAD or any(found.verdict == BAD for found in groups["programs"]))


def show_all(groups: dict[str, list[Finding]]) -> None:
    titles = {"machine": "this machine", "programs": "program", "listening": "listening now"}
    for name, found in groups.items():
        if found:
            rows = [[one.subject, one.verdict, one.text, one.remedy] for one in found]
            show.table([titles[name], "works", "found", "what to do"], rows, wrapped={2, 3})
            print()
    print(BY_DESIGN)
