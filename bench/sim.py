"""`make bench-sim`: p2pkad in virtual time: how fast the simulation is, what a node weighs, how well 1,000 of them find things.

    python bench/sim.py [--quick] [--strict] [--only lookups] [--seed 1]

Prints a table for each measurement with the digest of everything that happened in it: with one seed it is the same whenever
and wherever it is run. Writes every single figure to .cache/bench/sim-<date>.json. Progress goes to standard error. A target
that is missed is loud, and an error only with --strict: other work on the machine can be the cause.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sim_lookups
import sim_losses
import sim_memory
import sim_speed
from machine import Machine
from report import Section
from results import INTERRUPTED, Results, now, say, write_json


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. nodes: of each network. lookups: for each way of looking up. keys: of each kind. idle: nodes."""

    nodes: int
    lookups: int
    keys: int
    idle: int


FULL = Size(nodes=1000, lookups=200, keys=100, idle=1000)
QUICK = Size(nodes=300, lookups=50, keys=25, idle=300)

Measurement = Callable[[Size, int], Section]

MEASUREMENTS: dict[str, Measurement] = {
    "speed": lambda size, seed: sim_speed.measure(size.nodes, size.lookups, seed),
    "memory": lambda size, seed: sim_memory.measure(size.idle, seed),
    "lookups": lambda size, seed: sim_lookups.measure(size.nodes, size.lookups, seed),
    "losses": lambda size, seed: sim_losses.measure(size.nodes, size.keys, seed),
}


def measure(names: Sequence[str], size: Size, seed: int) -> Results:
    """One after the other, each in a world of its own."""
    results = Results()
    for name in names:
        say(name)
        try:
            results.sections[name] = MEASUREMENTS[name](size, seed)
        except sim_memory.ChildFailed as error:
            results.failures[name] = str(error)
    return results


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 nodes instead of 1,000, and a quarter of the lookups")
    parser.add_argument("--strict", action="store_true", help="a target that is missed makes the exit status 1")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="one measurement; repeatable")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is left to chance")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    machine, date, began = Machine.this_one(), now(), time.monotonic()
    names = options.only or list(MEASUREMENTS)
    try:
        results = measure(names, QUICK if options.quick else FULL, options.seed)
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED
    print(
        f"p2pkad bench-sim, {date}, seed {options.seed}{', quick' if options.quick else ''}, {time.monotonic() - began:.0f} s"
    )
    print(machine, "", *(f"{section}\n" for section in results.sections.values()), sep="\n")
    for target in results.missed:
        print(f"TARGET NOT MET: {target}")
    for name, reason in results.failures.items():
        print(f"NOT MEASURED: {name}: {reason}")
    print(f"every figure: {os.path.relpath(write_json('sim', date, machine, options, results))}")
    return 1 if results.failures or (results.missed and options.strict) else 0


if __name__ == "__main__":
    sys.exit(main())
