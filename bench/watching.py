"""What it costs to count: FIND_NODE a second of one server, with its metrics attached and without, in turn."""

from __future__ import annotations

import statistics

from processes import Driver, cpu_seconds, own
from rates import PROTOCOL
from report import Ratio, Section

IN_FLIGHT = 10
FIRST_REQUESTS = 200
"""That say how many fill a turn."""


async def measure(driver: Driver, *, rounds: int, seconds: float, seed: int) -> Section:
    """A turn with and a turn without a round, each of about `seconds`."""
    server = await driver.start("watched", own("watched.py", PROTOCOL))
    await driver.start("neighbours", own("neighbours.py", PROTOCOL, server.address))
    client = await driver.start("client", own("ours.py", PROTOCOL, seed))
    first = await client.ask("load", peer=server.address, in_flight=IN_FLIGHT, requests=FIRST_REQUESTS)
    requests = max(FIRST_REQUESTS, int(first["rate"] * seconds))
    rates: dict[bool, list[float]] = {False: [], True: []}
    microseconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for on in (False, True):
            await server.ask("watch", on=on)
            before = cpu_seconds(server)
            answer = await client.ask("load", peer=server.address, in_flight=IN_FLIGHT, requests=requests)
            microseconds[on].append(1e6 * (cpu_seconds(server) - before) / requests)
            rates[on].append(answer["rate"])
    names = {False: "nobody listens", True: "with metrics"}
    return Section(
        "Metrics",
        [
            f"One server, {IN_FLIGHT} requests in flight, {rounds} rounds of two turns of {requests} requests each.",
            "CPU: of the server, microseconds a request, the client's work in another process left out.",
        ],
        ("server", "requests/s", "CPU server"),
        [(names[on], f"{statistics.median(rates[on]):.0f}", f"{statistics.median(microseconds[on]):.0f}") for on in names],
        ratios=[Ratio.between("requests a second: with metrics / without", rates[True], rates[False])],
        notes=[f"CPU a request, with metrics / without: {_ratio(microseconds):.3f}"],
        raw={"rates": {names[on]: rates[on] for on in names}, "cpu": {names[on]: microseconds[on] for on in names}},
    )


def _ratio(microseconds: dict[bool, list[float]]) -> float:
    return statistics.median(microseconds[True]) / statistics.median(microseconds[False])
