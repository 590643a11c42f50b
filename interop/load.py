"""How many FIND_NODE a second a go client gets answered, by a go server or by p2pkad: one JSON line a measurement.

    python interop/load.py --server go --server py --in-flight 1 --in-flight 50

Each server has 20 real go peers in its routing table, so that an answer carries as many as it usually does. The client
reuses its streams, with one request outstanding on each. Client and server are processes of their own on this machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from builds import GO_MISSING, go_peer
from driver import Answer, Driver, eventually, go_language, open_driver, py_language

NEIGHBOURS = 20
FOUND_SECONDS = 60.0
MEASURE_SECONDS = 300.0
FIGURES = ("in_flight", "requests", "rate", "p50", "p99", "peers_per_reply", "bytes_per_reply")


async def measure(driver: Driver, binary: Path, server: str, in_flight: Sequence[int], requests: int) -> list[Answer]:
    """A measurement for each number in flight, of a fresh server. rate: a second; p50, p99: seconds."""
    language = py_language() if server == "py" else go_language(binary)
    served = await driver.start(f"{server}-server", language)
    neighbour = partial(driver.start, language=go_language(binary), bootstrap=served.addresses)
    async with trio.open_nursery() as nursery:
        for number in range(NEIGHBOURS):
            nursery.start_soon(neighbour, f"{server}-{number}")
    await eventually(
        lambda: served.ask("routing_table"),
        lambda table: len(table["peers"]) >= NEIGHBOURS,
        within=FOUND_SECONDS,
        what=f"{NEIGHBOURS} peers in the table of {served.name}",
    )
    client = await driver.start(f"{server}-client", go_language(binary), mode="client")
    results = []
    for number in in_flight:
        answer = await client.ask("load", timeout=MEASURE_SECONDS, peer=served.address, in_flight=number, requests=requests)
        results.append({"client": "go", "server": server, **{name: answer[name] for name in FIGURES}})
    return results


async def measure_all(binary: Path, servers: Sequence[str], in_flight: Sequence[int], requests: int) -> None:
    for server in servers:
        # A driver for each, so that the peers of one do not take time from the next.
        with tempfile.TemporaryDirectory() as logs:
            async with open_driver(Path(logs)) as driver:
                for result in await measure(driver, binary, server, in_flight, requests):
                    print(json.dumps(result), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", action="append", choices=["go", "py"])
    parser.add_argument("--in-flight", action="append", type=int)
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    binary = go_peer()
    if binary is None:
        print(GO_MISSING)
        return 0
    trio.run(measure_all, binary, options.server or ["go", "py"], options.in_flight or [1, 50], options.requests)
    return 0


if __name__ == "__main__":
    sys.exit(main())
