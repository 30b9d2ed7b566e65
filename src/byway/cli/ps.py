"""`byway ps [--json]`: the programs under Byway, with what they were started with and what Byway did for them."""

import argparse
import dataclasses
import json

from byway.cli import show
from byway.shm import members

DESCRIPTION = "Lists the programs under Byway that you may see: your own, or all as root."


def settings_text(member: members.Member) -> str:
    """The profile, and what was set beside it."""
    options = [f"{name}={value}" for name, value in sorted(member.options.items())]
    return " ".join([member.profile, *options])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="byway ps", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="as JSON, with all counters")
    wish = parser.parse_args(arguments)
    reports = members.report_members(members.find())
    if wish.json:
        print(json.dumps([as_json(report) for report in reports], indent=2))
    elif not reports:
        print("No program under Byway that you may see. `byway run -- PROGRAM` starts one.")
    else:
        rows = [row(report) for report in reports]
        heads = ["pid", "name", "sockets", "attached", "ring bytes", "pairs", "overflows", "profile and options", ""]
        show.table(heads, rows, right={0, 2, 3, 4, 5, 6})
    return 0


def row(report: members.MemberReport) -> list[object]:
    counters = report.counters
    numbers = [
        report.sockets,
        report.attached,
        report.ring_bytes,
        counters.get("pairs", 0),
        counters.get("overflows", 0),
    ]
    return [report.member.pid, report.member.name, *numbers, settings_text(report.member), report.note]


def as_json(report: members.MemberReport) -> dict[str, object]:
    member = report.member
    return {
        "pid": member.pid,
        "name": member.name,
        "command": member.command,
        "profile": member.profile,
        "options": member.options,
    } | {field.name: getattr(report, field.name) for field in dataclasses.fields(report) if field.name != "member"}
