"""`python -m tests.sim --seeds 20000`: hostile networks in virtual time, each from its seed. `./dev sim` runs this.

It may be stopped and called again, and goes on where it was, unless the library or the simulation has changed. A seed
that fails is named; `--replay SEED --pcap FILE` shows it packet by packet. Ends with 1 if anything was violated, with 3
if seeds remain to be run.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from byway.sim import hostile
from byway.sim.capture import Capture
from byway.sim.watch import ViolationError
from tests.crash.results import commit, machine
from tests.sim import campaign
from tests.sim.campaign import CHUNK, Kept, Sum
from tests.variant import ROOT

RESULTS = Path(__file__).with_name("RESULTS.md")
NOT_DONE = 3


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="so many, in steps of fifty (2000)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop then; the next call goes on")
    parser.add_argument("--fresh", action="store_true", help="begin again")
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--replay", type=int, metavar="SEED", help="this network alone")
    parser.add_argument("--pcap", type=Path, metavar="FILE", help="its packets, for Wireshark")
    return parser.parse_args()


def replay(seed: int, pcap: Path | None) -> int:
    with ExitStack() as stack:
        network = hostile.Network(seed)
        if pcap:
            network.world.observers.insert(0, stack.enter_context(Capture(pcap)))
        try:
            print(network.run())
        except ViolationError as error:
            print(f"seed {seed}: {error}")
            return 1
    return 0


def run(wish: argparse.Namespace, kept: Kept) -> float:
    """Runs what has not been run; the seconds that it took."""
    began = time.monotonic()
    wanted = [first for first in range(wish.first, wish.first + wish.seeds, CHUNK) if first not in kept.chunks]
    done = 0
    while done < len(wanted) and time.monotonic() - began < wish.minutes * 60:
        batch = wanted[done : done + 4 * wish.jobs]
        for first, found in campaign.run_each(batch, wish.jobs):
            kept.keep(first, found)
            for seed, text in found.violations.items():
                print(f"seed {seed}: {text}\n  ./dev sim --replay {seed} --pcap build/sim/{seed}.pcapng", flush=True)
        done += len(batch)
        rate = done * CHUNK / (time.monotonic() - began)
        print(f"\r{done * CHUNK} of {len(wanted) * CHUNK} seeds, {rate:.1f} a second", end="", file=sys.stderr)
    print(file=sys.stderr)
    return time.monotonic() - began


def describe(total: Sum) -> str:
    events = ", ".join(f"{name} {count:,}" for name, count in total.events.most_common())
    per_network = total.seconds / max(total.networks, 1)
    return (
        f"{total.networks:,} networks, {len(total.violations)} with a violation. {total.connections:,} connections, of "
        f"which {total.failed_connections:,} failed as they may (a timeout, told to the program). "
        f"{total.bytes / 1e9:.1f} GB in {total.packets / 1e6:.1f} million packets. {total.virtual_hours:,.0f} hours of "
        f"virtual time. {per_network * 1000:.0f} ms of processor time a network, {1 / per_network:.1f} seeds a second "
        f"on one processor.\n\nAdverse events: {events}."
    )


def record(total: Sum, wish: argparse.Namespace) -> None:
    counters = "\n".join(f"| {name} | {count:,} |" for name, count in total.counters.items() if count)
    RESULTS.write_text(
        "# Hostile networks\n\n"
        f"`./dev sim --seeds {wish.seeds} --first {wish.first} --record`, {datetime.now(UTC):%Y-%m-%d}, "
        f"commit {commit()}, {machine()}.\n\n{describe(total)}\n\n"
        f"What the stacks counted:\n\n| counter | sum |\n| --- | ---: |\n{counters}\n"
    )


def main() -> int:
    wish = parse()
    if wish.replay is not None:
        return replay(wish.replay, wish.pcap)
    kept = Kept(wish.fresh)
    run(wish, kept)
    total = kept.total()
    print(describe(total))
    if wish.record:
        record(total, wish)
    if total.violations:
        return 1
    return 0 if total.networks >= wish.seeds else NOT_DONE


if __name__ == "__main__":
    sys.exit(main())
