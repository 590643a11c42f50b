"""How many puts a second the store on disk acknowledges, with 1, 10 and 100 clients, and how long the slowest take.

Clients are tasks that put one record after the other and wait for each; what comes during a commit shares the next. The file is
on the disk of this checkout. Cases take turns, each with a store of its own, so that a slow moment is slow for all of them.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import trio
from report import Figure, Section, milliseconds, percentile
from results import CACHE, say

from p2pkad import KademliaConfig
from p2pkad.config import Durability
from p2pkad.core.records import Record, StoredRecord
from p2pkad.store.sqlite import SqliteStore

CLIENTS = (1, 10, 100)
DURABILITIES: tuple[Durability, ...] = ("normal", "full")
VALUE = 300
"""Bytes of a value: an IPNS record has about as many."""
LATER = 1e12


@dataclass(frozen=True, slots=True)
class Case:
    """So many clients put into a store of this durability."""

    durability: Durability
    clients: int


@dataclass(slots=True)
class Figures:
    """Of each round: puts a second, and the seconds that 50 and 99 in a hundred took at most."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


async def measure(rounds: int, seconds: float) -> Section:
    """Each case once a round, for so many seconds."""
    results = {Case(durability, clients): Figures() for durability in DURABILITIES for clients in CLIENTS}
    CACHE.mkdir(parents=True, exist_ok=True)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}, about {seconds * len(results):.0f} s")
        for case, figures in results.items():
            with tempfile.TemporaryDirectory(dir=CACHE) as directory:
                took = await _put(case, Path(directory), seconds)
            figures.rates.append(len(took) / seconds)
            figures.p50.append(percentile(took, 0.5))
            figures.p99.append(percentile(took, 0.99))
    return _report(results, rounds, seconds)


async def _put(case: Case, directory: Path, seconds: float) -> Sequence[float]:
    """Returns what each put took, in seconds."""
    bounds = KademliaConfig().store_bounds
    store = SqliteStore(directory / "store.db", 0, bounds, durability=case.durability)
    took: list[float] = []

    async def client(end: float) -> None:
        while (began := time.perf_counter()) < end:
            key = os.urandom(32)
            stored = StoredRecord(Record(key, os.urandom(VALUE)), 0, LATER)
            await store.update(key, partial(_instead, stored))
            took.append(time.perf_counter() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(case.clients):
            nursery.start_soon(client, time.perf_counter() + seconds)
    await store.aclose()
    return took


def _instead(stored: StoredRecord, before: StoredRecord | None) -> StoredRecord:
    return stored


def _report(results: dict[Case, Figures], rounds: int, seconds: float) -> Section:
    def median(case: Case) -> float:
        return statistics.median(results[case].rates)

    return Section(
        "Durable puts",
        [
            f"Median of {rounds} rounds of {seconds:g} s a case, in turn; new keys, values of {VALUE} bytes; one process.",
            "normal survives kill -9 of the process, full a loss of power, too.",
        ],
        ("durability", "clients", "puts/s", "p50 ms", "p99 ms"),
        rows=[
            (
                case.durability,
                str(case.clients),
                f"{median(case):,.0f}",
                milliseconds(statistics.median(figures.p50)),
                milliseconds(statistics.median(figures.p99)),
            )
            for case, figures in results.items()
        ],
        figures=[
            Figure(f"puts a second, {case.durability}, {case.clients} clients", median(case))
            for case in results
            if case.clients == max(CLIENTS)
        ],
        raw={"cases": [{**asdict(case), **asdict(figures)} for case, figures in results.items()]},
    )
