"""How long a lookup takes in a small network that has come to rest. Nothing was promised: for information."""

from __future__ import annotations

from processes import Driver, own
from report import Section, milliseconds, percentile

PROCESSES = 2
NODES = 10
"""In each of the processes."""
KNOWN = 15
"""Peers in the routing table of each node before lookups begin. The others are heard of in the answers."""
READY_SECONDS = 30.0


async def measure(driver: Driver, lookups: int, seed: int) -> Section:
    """Look up `lookups` random keys from each process in turn, one lookup at a time."""
    first = await driver.start("nodes-0", own("nodes.py", NODES, seed))
    others = [
        await driver.start(f"nodes-{number}", own("nodes.py", NODES, seed + number, first.address))
        for number in range(1, PROCESSES)
    ]
    for process in (first, *others):
        await process.ask("settle", timeout=READY_SECONDS, peers=KNOWN)
    answers = [await process.ask("look_up", timeout=READY_SECONDS, lookups=lookups) for process in (first, *others)]
    seconds = [value for answer in answers for value in answer["seconds"]]
    asked = [value for answer in answers for value in answer["asked"]]
    found = [value for answer in answers for value in answer["found"]]
    pause = max(answer["pause"] for answer in answers)
    return Section(
        "Lookups",
        [
            f"closest_peers for {len(seconds)} random keys, one at a time. {PROCESSES} processes of {NODES} p2pkad nodes,",
            "which have met; k = 20, so that everybody is asked every time.",
            "The slowest are those that the garbage collector interrupts: ten nodes have many objects.",
        ],
        ("", "p50 ms", "p99 ms", "longest GC ms", "peers asked", "peers found"),
        [
            (
                "p2pkad",
                *map(milliseconds, (percentile(seconds, 0.5), percentile(seconds, 0.99), pause)),
                f"{sum(asked) / len(asked):.1f}",
                f"{sum(found) / len(found):.1f}",
            )
        ],
        raw={"seconds": seconds, "asked": asked, "found": found, "pause": pause},
    )
