"""`byway sim [OPTIONS]`: flows of Byway's own TCP over a simulated path, in virtual time; the same each time for one
seed."""

import argparse
import re
import sys
import time
from pathlib import Path

from byway.bench.report import NO_MATPLOTLIB
from byway.errors import UserError
from byway.sim.experiment import Experiment
from byway.sim.link import Conditions

DESCRIPTION = "Simulates flows of Byway's own TCP over a path, in virtual time. One seed gives the same run each time."
UNITS = {
    "share": {"%": 0.01, "": 1},
    "time": {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9},
    "bytes": {"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "rate": {"bit": 1, "kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9},
}
FLOWS_MAX = 1000


def quantity(kind: str, text: str) -> float:
    """`2%`, `40ms`, `100MB`, `10Mbit`."""
    found = re.fullmatch(r"([0-9.]+)\s*([A-Za-z%]*)", text)
    units = UNITS[kind]
    if not found or found[2] not in units or found[1].count(".") > 1 or found[1] == ".":
        known = ", ".join(unit for unit in units if unit)
        raise UserError(f"`{text}` is not what is wanted here: a number, then one of {known}", 2)
    return float(found[1]) * units[found[2]]


def share(text: str) -> float:
    value = quantity("share", text)
    if value > 1:
        raise UserError(f"`{text}` is more than all: write `2%` or `0.02`", 2)
    return value


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="byway sim", description=DESCRIPTION)
    made.add_argument("--flows", type=int, default=1, metavar="N", help="connections, all at once (1)")
    made.add_argument("--bytes", default="10MB", metavar="SIZE", help="that each sends (10MB)")
    made.add_argument("--rtt", default="10ms", metavar="TIME", help="round trip, half of it in each direction (10ms)")
    made.add_argument("--jitter", default="0ms", metavar="TIME", help="more, drawn for each packet: they overtake")
    made.add_argument("--loss", default="0%", metavar="SHARE", help="of packets, in each direction (0%%)")
    made.add_argument("--duplicate", default="0%", metavar="SHARE")
    made.add_argument("--corrupt", default="0%", metavar="SHARE", help="one byte becomes another one")
    made.add_argument("--rate", default="0bit", metavar="RATE", help="of the line, as in 10Mbit (no limit)")
    made.add_argument("--queue", default="1MB", metavar="SIZE", help="before the line; more is lost (1MB)")
    made.add_argument("--mtu", type=int, default=1500, metavar="BYTES", help="576 to 1920 (1500)")
    made.add_argument("--ipv6", action="store_true")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--pcap", type=Path, metavar="FILE", help="all packets as pcapng, for Wireshark")
    made.add_argument("--plot", type=Path, metavar="FILE", help="the congestion window over time, a PNG")
    return made


def path_of(wish: argparse.Namespace) -> Conditions:
    return Conditions(
        delay_ns=int(quantity("time", wish.rtt) / 2),
        jitter_ns=int(quantity("time", wish.jitter)),
        loss=share(wish.loss),
        duplicate=share(wish.duplicate),
        corrupt=share(wish.corrupt),
        bits_per_second=int(quantity("rate", wish.rate)),
        queue_bytes=int(quantity("bytes", wish.queue)),
    )


def checked(wish: argparse.Namespace) -> argparse.Namespace:
    if not 1 <= wish.flows <= FLOWS_MAX:
        raise UserError(f"--flows is between 1 and {FLOWS_MAX}", 2)
    if not (1280 if wish.ipv6 else 576) <= wish.mtu <= 1920:
        raise UserError("--mtu is between 576 (with IPv6 1280) and 1920", 2)
    if share(wish.loss) >= 1:
        raise UserError("--loss: where everything is lost nothing arrives", 2)
    return wish


def show(one: Experiment, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("flow", "bytes", "seconds", "Mbit/s", "ended")
    for number, flow in enumerate(one.flows, 1):
        sent = flow.talker.sent
        rate = f"{sent * 8 / flow.seconds / 1e6:,.2f}" if flow.seconds else "-"
        why = str(flow.talker.error) if flow.talker.error else "well"
        table.add_row(str(number), f"{sent:,}", f"{flow.seconds:,.3f}", rate, why)
    Console().print(table)
    counters = one.sender.stack.counters()
    lost = sum((link.events for link in one.links), one.links[0].events.__class__())
    told = ", ".join(f"{name} {count:,}" for name, count in lost.items()) or "nothing"
    print(f"packets {one.watch.packets:,} ({told} on the way), sent again {counters['retransmissions']:,}, ", end="")
    print(f"recoveries {counters['fast_recoveries']:,}, timeouts {counters['timeouts']:,}; computed in {seconds:.1f} s")


def draw(one: Experiment, to: Path) -> bool:
    """False: matplotlib is not there."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4))
    for number, flow in enumerate(one.flows, 1):
        axes.plot(*zip(*flow.samples, strict=True), linewidth=1, label=f"flow {number}")
    axes.set_xlabel("seconds")
    axes.set_ylabel("congestion window, bytes")
    if len(one.flows) <= 10:
        axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(to, dpi=130)
    return True


def main(arguments: list[str]) -> int:
    wish = checked(parser().parse_args(arguments))
    path = path_of(wish)
    count = int(quantity("bytes", wish.bytes))
    one = Experiment(wish.seed, path, wish.flows, count, mtu=wish.mtu, v6=wish.ipv6)
    began = time.monotonic()
    try:
        one.run(wish.pcap, max(path.delay_ns // 2, 1_000_000))
    except OSError as error:
        raise UserError(f"{error.filename or wish.pcap}: {error.strerror}") from None
    show(one, time.monotonic() - began)
    if wish.pcap:
        print(f"packets: {wish.pcap}")
    if wish.plot:
        print(f"plot: {wish.plot}" if draw(one, wish.plot) else NO_MATPLOTLIB, file=sys.stdout)
    return 0
