"""`byway ss [--pid PID] [--json]`: the TCP sockets of programs under Byway, and why one is not accelerated."""

import argparse
import dataclasses
import json

from byway.cli import show
from byway.errors import UserError
from byway.shm import members

DESCRIPTION = "Lists the TCP sockets of the programs under Byway that you may see."


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="byway ss", description=DESCRIPTION)
    parser.add_argument("--pid", type=int, help="only this process")
    parser.add_argument("--json", action="store_true", help="as JSON")
    wish = parser.parse_args(arguments)
    found = members.find(wish.pid)
    if wish.pid is not None and not found:
        raise UserError(f"process {wish.pid} is not under Byway: start it with `byway run -- PROGRAM`")
    reports = members.report_sockets(found)
    if wish.pid is not None:
        reports = [report for report in reports if wish.pid in report.holders]
    if wish.json:
        print(json.dumps([dataclasses.asdict(report) for report in reports], indent=2))
    elif not reports:
        print("No TCP socket of a program under Byway that you may see. `byway ps` lists the programs.")
    else:
        heads = ["pid", "name", "fd", "state", "local", "remote", "transport", "sends by", "receives by"]
        heads += ["ring sent", "ring received", "carried by the kernel because"]
        show.table(heads, map(row, reports), right={0, 2, 9, 10})
    return 0


def row(report: members.SocketReport) -> list[object]:
    where = [report.pid, report.name, report.descriptor, report.state, report.local, report.remote]
    how = [report.transport, report.send_carrier, report.receive_carrier]
    return [*where, *how, report.ring_sent_bytes, report.ring_received_bytes, report.reason]
