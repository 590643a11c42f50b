"""One server and a crowd of connected clients: memory for each of them, and what bursts of requests are like."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import trio
from processes import Driver, Peer, own, rss
from report import Figure, Section, milliseconds, percentile

PROTOCOL = "/p2pkad/bench/1.0.0"
STEPS = (100, 200, 300)
"""Connected clients at which memory is looked at."""
MANY = 1000
"""And once more with so many."""
IN_A_PROCESS = 150
ROOM = 1100
"""Connections that the server may have: the crowd's, those of its neighbours, and its reserve."""
BURSTS = 10
REQUESTS = 500
"""Of a burst. Its requests are sent at the same moment, and the next burst follows a second after it."""
EVERY_SECONDS = 1.0
SETTLE_SECONDS = 3.0
"""For what a new connection needs once only, identify above all."""
JOIN_SECONDS = 120.0
BURST_SECONDS = 30.0
KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Burst:
    """seconds: of each request that was answered. failed: what became of each of the others."""

    seconds: list[float]
    failed: list[str]


@dataclass(slots=True)
class Stage:
    """The server with so many clients. connected: as many as it says it has, neighbours left out; rss: bytes."""

    clients: int
    connected: int
    rss: int
    bursts: list[Burst]


async def measure(driver: Driver, seed: int, *, many: int = MANY, bursts: int = BURSTS) -> Section:
    """Memory at each step, and bursts at the last one; then as many as `many`, and the same bursts."""
    server = await driver.start("crowd-server", own("server.py", PROTOCOL, ROOM))
    await driver.start("crowd-neighbours", own("neighbours.py", PROTOCOL, server.address))
    await trio.sleep(SETTLE_SECONDS)
    neighbours = (await server.ask("peers"))["peers"]
    crowds: list[Peer] = []
    stages = [Stage(0, 0, rss(server), [])]
    for clients in (*STEPS, many):
        await _grow_to(driver, server, crowds, clients, seed)
        await trio.sleep(SETTLE_SECONDS)
        stage = Stage(clients, (await server.ask("peers"))["peers"] - neighbours, rss(server), [])
        stages.append(stage)
        if clients in (STEPS[-1], many):
            stage.bursts = [await _burst(crowds) for _ in range(bursts)]
    return report(stages)


async def _grow_to(driver: Driver, server: Peer, crowds: list[Peer], clients: int, seed: int) -> None:
    present = 0 if not crowds else sum([(await crowd.ask("join", count=0))["members"] for crowd in crowds])
    while present < clients:
        if present >= IN_A_PROCESS * len(crowds):
            number = len(crowds)
            crowds.append(await driver.start(f"crowd-{number}", own("crowd.py", PROTOCOL, server.address, seed + number)))
        more = min(clients, IN_A_PROCESS * len(crowds)) - present
        await crowds[-1].ask("join", timeout=JOIN_SECONDS, count=more)
        present += more


async def _burst(crowds: list[Peer]) -> Burst:
    """REQUESTS from all processes at once; returns a second after it began, or when everything was answered."""
    seconds: list[float] = []
    failed: list[str] = []

    async def ask(crowd: Peer, requests: int) -> None:
        answer = await crowd.ask("burst", timeout=BURST_SECONDS, requests=requests)
        seconds.extend(answer["seconds"])
        failed.extend(answer["failed"])

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number, crowd in enumerate(crowds):
            share = REQUESTS * (number + 1) // len(crowds) - REQUESTS * number // len(crowds)
            nursery.start_soon(ask, crowd, share)
    await trio.sleep_until(began + EVERY_SECONDS)
    return Burst(seconds, failed)


def report(stages: list[Stage]) -> Section:
    """What came out, the first stage being the server without the crowd."""
    nobody = stages[0]
    section = Section(
        "A crowd of connected clients",
        [
            "A server with 30 neighbours, in a process of its own; every client is a host with one connection to it.",
            f"Bursts: {REQUESTS} FIND_NODE at the same moment, from clients in turn, one burst a second;",
            "server and clients share this machine, and the clients' work is in the times.",
        ],
        ("clients", "connected", "RSS MiB", "KiB a client", "bursts", "asked", "failed", "p50 ms", "p99 ms", "worst p99"),
        [_row(stage, nobody) for stage in stages],
        raw={"stages": [asdict(stage) for stage in stages]},
    )
    for stage in stages:
        if stage.connected != stage.clients:
            section.warnings.append(f"of {stage.clients} clients {stage.connected} are connected")
        section.warnings += sorted({f"at {stage.clients} clients: {each}" for burst in stage.bursts for each in burst.failed})
    for stage in stages:
        if stage.bursts:
            failed = sum(len(burst.failed) for burst in stage.bursts)
            what = f"requests that failed, in bursts of {REQUESTS} from {stage.clients} clients"
            section.figures.append(Figure(what, failed, at_most=0))
    return section


def _row(stage: Stage, nobody: Stage) -> tuple[str, ...]:
    each = (stage.rss - nobody.rss) / KIB / stage.clients if stage.clients else None
    seconds = [value for burst in stage.bursts for value in burst.seconds]
    failed = sum(len(burst.failed) for burst in stage.bursts)
    times = ["-"] * 3
    if seconds:
        worst = max(percentile(burst.seconds, 0.99) for burst in stage.bursts if burst.seconds)
        times = [*map(milliseconds, (percentile(seconds, 0.5), percentile(seconds, 0.99), worst))]
    counts = (len(stage.bursts), len(seconds) + failed, failed)
    return (
        str(stage.clients),
        str(stage.connected),
        f"{stage.rss / MIB:.1f}",
        "-" if each is None else f"{each:.0f}",
        *(str(count) if stage.bursts else "-" for count in counts),
        *times,
    )
