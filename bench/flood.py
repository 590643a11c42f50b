"""What others notice of a peer that floods a server: their latency beside the flood, against the same without it.

Two servers, one with p2pkad's usual limits, one with none on requests; each is flooded by a client with fifty requests in
flight, and asked by another one that has one. All are processes of their own. H4 of docs/scenarios.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio
from processes import Answer, Driver, Peer, own, py_language, with_flags
from rates import PROTOCOL, UNLIMITED
from report import Figure, Section, milliseconds

TARGET = 2.0
"""Times the latency without a flood."""

IN_FLIGHT = 50
BURST = 2000
"""Requests of the usual `max_requests_per_peer`: they are used up first, as a flood lasts longer than they do."""
AROUND = 2.0
"""Seconds, about, that a flood lasts in a round."""
ASKED = 100
"""Requests of the other client, with and without the flood."""


@dataclass(slots=True)
class Server:
    """One that is flooded. quiet, flooded: seconds, the median of each round. answered: requests a second of the flood."""

    name: str
    address: str
    flood: Peer
    other: Peer
    quiet: list[float] = field(default_factory=list)
    flooded: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def times(self) -> float:
        """How much longer the others wait beside the flood."""
        return statistics.median(self.flooded) / statistics.median(self.quiet)


async def measure(driver: Driver, rounds: int, seed: int) -> Section:
    """Each server once a round, first left alone, then flooded."""
    servers = [
        await _start(driver, "usual limits", "limited", {}, seed),
        await _start(driver, "none on requests", "open", UNLIMITED, seed),
    ]
    rates: dict[str, float] = {}
    for server in servers:
        await _flood(server, BURST)
        rates[server.name] = (await _flood(server, 8 * IN_FLIGHT))["rate"]
    for _ in range(rounds):
        for server in servers:
            await _round(server, max(IN_FLIGHT, int(rates[server.name] * AROUND)))
    return _report(servers, rounds)


async def _start(driver: Driver, name: str, short: str, flags: dict[str, float], seed: int) -> Server:
    server = await driver.start(f"flood-{short}", with_flags(py_language(), protocol=PROTOCOL, **flags))
    await driver.start(f"flood-{short}-neighbours", own("neighbours.py", PROTOCOL, server.address))
    flood, other = [await driver.start(f"flood-{short}-{who}", own("ours.py", PROTOCOL, seed)) for who in ("flood", "other")]
    return Server(name, server.address, flood, other)


async def _flood(server: Server, requests: int) -> Answer:
    return await server.flood.ask("load", peer=server.address, in_flight=IN_FLIGHT, requests=requests)


async def _ask(server: Server) -> float:
    answer = await server.other.ask("load", peer=server.address, in_flight=1, requests=ASKED)
    server.failed += answer["failed"]
    return float(answer["p50"])


async def _round(server: Server, requests: int) -> None:
    server.quiet.append(await _ask(server))

    async def flood() -> None:
        server.answered.append((await _flood(server, requests))["rate"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await trio.sleep(AROUND / 10)
        server.flooded.append(await _ask(server))


def _report(servers: Sequence[Server], rounds: int) -> Section:
    limited, unlimited = servers
    section = Section(
        "One peer floods a server with FIND_NODE, another one asks beside it",
        [
            f"Median of {rounds} rounds of about {AROUND:g} s a server; the flood has {IN_FLIGHT} requests in flight, the other"
            f" one, and asks {ASKED} times; random keys.",
            f"The flood has used up its burst of {BURST} before. Servers and clients are processes of their own; where they"
            " share too few processors, those too are what the other one waits for.",
        ],
        ("limits", "flood, requests/s", "other, p50 ms", "beside the flood, ms", "times", "other, failed"),
        rows=[_row(server) for server in servers],
        figures=[
            Figure("others' latency beside a flood, usual limits", limited.times, "x", at_most=TARGET),
            Figure("the same without limits on requests", unlimited.times, "x"),
        ],
        raw={
            server.name: {"quiet": server.quiet, "flooded": server.flooded, "answered": server.answered} for server in servers
        },
    )
    for server in servers:
        if server.failed:
            section.warnings.append(f"{server.name}: {server.failed} requests of the other one failed")
    return section


def _row(server: Server) -> Sequence[str]:
    quiet, flooded = statistics.median(server.quiet), statistics.median(server.flooded)
    answered = statistics.median(server.answered)
    return (
        server.name,
        f"{answered:.0f}",
        milliseconds(quiet),
        milliseconds(flooded),
        f"{server.times:.1f}",
        str(server.failed),
    )
