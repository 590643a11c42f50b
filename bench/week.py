"""`make week`: a simulated week of a network whose nodes come and go; whoever publishes stays, and is asked for every hour.

    python bench/week.py [--days 7] [--nodes 300] [--keys 200] [--median 30] [--seed 1]
    python bench/week.py --days 0.25 --nodes 100 --keys 20              # six hours of a small network: a minute or two
    python bench/week.py --shape 0.34 --republish 6 --refresh 12        # a heavier tail, and intervals that fit it

Nodes stay as long as `churn.py` says, and half of them leave without a goodbye; for each one that leaves another one joins. A
fixed set of publishers keeps values and provides contents. Once in an hour each of these is asked for by a node that does not
hold it, a newcomer whenever there is one, in the way that costs least: the first answer counts.

Prints a line for each day, what was missed, and the digest of everything that happened: with one seed it is the same
whenever and wherever it is run. Ctrl-C ends it and prints what there is. The exit status is 1 when anything was missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

import trio
from churn import SHAPE, Sessions
from machine import Machine
from results import INTERRUPTED, now
from village import HOUR, Diary, Plan, Village

from p2pkad.testing import open_simulated_network, run_simulated

MINUTE = 60.0
USUAL = 22
"""Hours between two rounds of republishing, unless configured otherwise: kad-dht r2."""
EVERY = 6
"""Hours between lines of progress where there is no terminal to show it on."""


class Progress:
    """How far it is, and how long it will take, on standard error."""

    def __init__(self, hours: int) -> None:
        self._hours = hours
        self._began = time.monotonic()
        self._on_terminal = sys.stderr.isatty()

    def __call__(self, diary: Diary) -> None:
        """An hour is over."""
        took = time.monotonic() - self._began
        left = took / diary.hours * (self._hours - diary.hours)
        text = (
            f"{diary.hours}/{self._hours} h, {diary.found} found, {len(diary.misses)} missed, {diary.messages:,} messages, "
            f"{diary.messages / took:,.0f} a second; about {left / 60:.0f} min left"
        )
        if self._on_terminal:
            print(f"\r\x1b[K{text}", end="\n" if diary.hours == self._hours else "", file=sys.stderr, flush=True)
        elif diary.hours % EVERY == 0:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def live(plan: Plan, seed: int, diary: Diary, progress: Progress) -> None:
    """The whole time, or as much of it as there is until Ctrl-C or SIGTERM."""
    async with (
        open_simulated_network(plan.nodes, seed=seed, **plan.options) as net,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope, diary)
        await Village(net, plan, seed, diary, progress).live()
        nursery.cancel_scope.cancel()


async def _cancel_on_signal(scope: trio.CancelScope, diary: Diary) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            diary.interrupted = True
            scope.cancel()


def reasons(plan: Plan) -> str:
    """Why the intervals are what they are, in figures."""
    sessions, hours = plan.sessions, plan.republish / HOUR
    up, gone = sessions.still_up(plan.republish), sessions.all_gone(plan.k, plan.republish)
    rounds = 2 * plan.keys * plan.days * 24 / hours
    usual = rounds * hours / USUAL * sessions.all_gone(plan.k, USUAL * HOUR)
    return (
        f"{plan.nodes} nodes, of which {plan.publishers} publish and stay; the others: sessions with a median of "
        f"{sessions.median / MINUTE:g} min, a mean of {sessions.mean / MINUTE:.0f} min\n"
        f"{plan.keys} values and {plan.keys} provided contents, sent anew every {hours:g} h: of those who are up, "
        f"{up:.1%} are still up then; all {plan.k} holders\n"
        f"are gone with a probability of {gone:.1e}, in {rounds:,.0f} rounds {rounds * gone:.1e} times; "
        f"with the usual {USUAL} h it would be {usual:,.1f} times"
    )


def show(diary: Diary) -> None:
    """Every day, what was missed, and the sum."""
    print(f"{'day':>4}{'found':>9}{'missed':>8}{'messages':>12}{'dials':>10}{'joins':>8}{'leaves':>8}{'real s':>9}")
    for number, day in enumerate(diary.days, 1):
        print(f"{number:4}{day}")
    print(f"{'all':>4}{diary.total}")
    for miss in diary.misses:
        print(f"MISSED: {miss}")
    print(f"trace: {diary.lines:,} lines, digest {diary.digest}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=7.0, help="simulated days, in steps of an hour")
    parser.add_argument("--nodes", type=int, default=300, help="that are up at a time, publishers included")
    parser.add_argument("--publishers", type=int, default=20, help="of them: these stay")
    parser.add_argument("--keys", type=int, default=200, help="values, and as many provided contents")
    parser.add_argument("--median", type=float, default=30.0, help="of the sessions, in minutes")
    parser.add_argument("--shape", type=float, default=SHAPE, help="of their Weibull distribution")
    parser.add_argument("--republish", type=float, default=1.0, help="hours after which what is published is sent anew")
    parser.add_argument("--refresh", type=float, default=6.0, help="hours between refreshes of a routing table")
    parser.add_argument("--alpha", type=int, default=3, help="requests of a lookup in flight")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is left to chance")
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    return Plan(
        nodes=options.nodes,
        publishers=options.publishers,
        keys=options.keys,
        days=options.days,
        sessions=Sessions(options.median * MINUTE, options.shape),
        republish=options.republish * HOUR,
        refresh=options.refresh * HOUR,
        alpha=options.alpha,
    )


def status(diary: Diary) -> int:
    """The exit status."""
    if diary.interrupted:
        return INTERRUPTED
    return 1 if diary.misses else 0


def main() -> int:
    options = parse()
    plan, diary = plan_of(options), Diary()
    print(f"p2pkad week, {now()}, seed {options.seed}", Machine.this_one(), reasons(plan), "", sep="\n", flush=True)
    began = time.monotonic()
    run_simulated(live, plan, options.seed, diary, Progress(plan.hours), seed=options.seed)
    show(diary)
    print(f"{diary.hours} simulated hours in {(time.monotonic() - began) / 60:.1f} minutes")
    return status(diary)


if __name__ == "__main__":
    sys.exit(main())
