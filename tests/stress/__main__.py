"""Rounds of stress until the time is up: `python -m tests.stress --seconds 600 --seed 5`. A failure names its seed."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.programs import harness
from tests.stress.campaign import VARIANTS, run_stress


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--round", type=float, default=5.0, help="seconds of one round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--carrier", choices=("byway", "kernel"), default="byway")
    arguments = parser.parse_args()
    if arguments.carrier == "byway" and (missing := harness.byway_missing()):
        print(missing, file=sys.stderr)
        return 2
    until = time.monotonic() + arguments.seconds
    seed = arguments.seed
    while time.monotonic() < until:
        draw = random.Random(seed)
        variant = draw.choice(["default", *VARIANTS])
        connections = draw.choice([1, 2, 8, 30, 100])
        base = harness.byway_world() if arguments.carrier == "byway" else harness.KERNEL
        world = base.with_options(**VARIANTS.get(variant, {}))
        load = draw.random() < 0.5
        print(f"seed {seed}: {variant}, {connections} connections, load {load}: ", end="", flush=True)
        with tempfile.TemporaryDirectory() as place, harness.programs(Path(place)) as group:
            both = (world, world)
            print(run_stress(group, both, seconds=arguments.round, connections=connections, seed=seed, load=load))
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
