"""`byway options [--json]`: every option, from the table that the library is compiled from."""

import argparse
import json

from byway.cli import show
from byway.shm import tables

DESCRIPTION = "Lists the options: --option NAME=VALUE of `byway run`, or BYWAY_NAME in the environment."


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="byway options", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="as JSON")
    wish = parser.parse_args(arguments)
    options = list(tables.options().values())
    if wish.json:
        print(json.dumps([option._asdict() | {"variable": option.variable} for option in options], indent=2))
        return 0
    rows = [
        [option.name, option.type, option.default, f"{option.minimum} to {option.maximum}", option.text]
        for option in options
    ]
    show.table(["option", "type", "default", "range", "what it does"], rows, right={2, 3}, wrapped={4})
    return 0
