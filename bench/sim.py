"""`make bench-sim`: p2pkad in virtual time: how fast the simulation is, what a node weighs, how well 1,000 of them find things.

    python bench/sim.py [--quick] [--strict] [--only lookups] [--seed 1]

Prints a table for each measurement with the digest of everything that happened in it: with one seed it is the same whenever
and wherever it is run. Writes every single figure to .cache/bench/bench-sim-<date>.json. Progress goes to standard error. A
target that is missed is loud, and an error only with --strict: other work on the machine can be the cause.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sim_lookups
import sim_losses
import sim_memory
import sim_speed
from report import Section
from results import Results, parse, run, say


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


def main() -> int:
    options = parse(
        __doc__,
        MEASUREMENTS,
        quick="300 nodes instead of 1,000, and a quarter of the lookups",
        seed="of everything that is left to chance",
    )

    def measured() -> Results | None:
        results = None
        try:
            results = measure(options.only or list(MEASUREMENTS), QUICK if options.quick else FULL, options.seed)
        except* KeyboardInterrupt:  # it comes in a group when it hits a task of the simulation
            say("stopped")
        return results

    return run("bench-sim", options, measured)


if __name__ == "__main__":
    sys.exit(main())
