"""`make bench`: how fast p2pkad is, side by side with py-libp2p and go on this machine, as ratios with their targets.

    python bench/run.py [--quick] [--strict] [--only rates] [--seed 1]

Prints a table for each measurement, and writes every single figure to .cache/bench/bench-<date>.json. Progress goes to
standard error. A target that is missed is loud, and an error only with --strict: other work on the machine can be the
cause. What could not be measured is an error always; the rest is measured nevertheless.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import clients
import connect
import durable
import flood
import idle
import lookups
import rates
import scans
import trio
import watching
from processes import GO_MISSING, BuildFailed, Driver, PeerDied, PeerError, PeerSilent, go_peer, open_driver
from report import Section
from results import CACHE, Results, parse, run, say

LOGS = CACHE / "logs"
NAMES = ("connect", "rates", "lookups", "closest", "durable", "idle", "crowd", "flood", "metrics")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    connects: pairs. rounds: of rates and lookups. seconds: of each case of the rates. lookups: of a process in a round.
    floods: rounds of the flood, of two or three seconds for each server.
    """

    connects: int
    rounds: int
    seconds: float
    lookups: int
    scan_processes: int
    scan_values: int
    floods: int
    idle_seconds: float


FULL = Size(connects=25, rounds=5, seconds=0.7, lookups=50, scan_processes=6, scan_values=3, floods=5, idle_seconds=20.0)
QUICK = Size(connects=9, rounds=2, seconds=0.25, lookups=10, scan_processes=1, scan_values=3, floods=2, idle_seconds=10.0)
IN_QUICK = ("connect", "rates", "closest", "flood")
"""What has targets."""

Measurement = Callable[[], Awaitable[Section]]


def measurements(driver: Driver, size: Size, go: Path | None, seed: int) -> dict[str, Measurement]:
    """By name, in their order."""
    return {
        "connect": lambda: connect.measure(driver, size.connects),
        "rates": lambda: rates.measure(driver, go, rounds=size.rounds, seconds=size.seconds, seed=seed, say=say),
        "lookups": lambda: lookups.measure(driver, rounds=size.rounds, lookups=size.lookups, seed=seed),
        "closest": lambda: scans.measure(size.scan_processes, size.scan_values),
        "durable": lambda: durable.measure(size.rounds, size.seconds),
        "idle": lambda: idle.measure(driver, size.idle_seconds),
        "crowd": lambda: clients.measure(driver, seed),
        "flood": lambda: flood.measure(driver, size.floods, seed),
        "metrics": lambda: watching.measure(driver, rounds=size.rounds, seconds=size.seconds, seed=seed),
    }


async def measure(names: Sequence[str], size: Size, go: Path | None, seed: int) -> Results:
    results = Results()
    for name in names:
        say(name)
        try:
            # A driver for each: the peers of one measurement take no time from the next.
            async with open_driver(LOGS / name) as driver:
                results.sections[name] = await measurements(driver, size, go, seed)[name]()
        except (PeerDied, PeerError, PeerSilent, scans.ScanFailed) as error:
            results.failures[name] = str(error)
    return results


async def measure_until_signal(names: Sequence[str], size: Size, go: Path | None, seed: int) -> Results | None:
    """None: Ctrl-C or SIGTERM came first. Every process has ended either way."""
    results = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        results = await measure(names, size, go, seed)
        nursery.cancel_scope.cancel()
    return results


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            say("stopping")
            scope.cancel()


def the_go_peer() -> Path | None:
    try:
        return go_peer()
    except BuildFailed as error:
        print(f"NOT RUN: the go peer could not be built\n{error}", file=sys.stderr)
        return None


def main() -> int:
    options = parse(
        __doc__,
        NAMES,
        quick="less of what has a target: a minute instead of four",
        seed="of the keys that Python clients ask for",
    )
    names = options.only or (IN_QUICK if options.quick else NAMES)

    def measured() -> Results | None:
        go = the_go_peer() if "rates" in names else None
        results = trio.run(measure_until_signal, names, QUICK if options.quick else FULL, go, options.seed)
        if results is not None and "rates" in names and go is None:
            results.lacking.append(f"{GO_MISSING}: NOTHING WAS MEASURED AGAINST GO")
        return results

    return run("bench", options, measured)


if __name__ == "__main__":
    sys.exit(main())
