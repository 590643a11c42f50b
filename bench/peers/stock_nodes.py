"""Several nodes of `libp2p.kad_dht` in one process, each on a `libp2p.new_host()` of its own, as nodes.py has ours.

stock_nodes.py COUNT SEED [BOOTSTRAP]     without BOOTSTRAP the first node is the network's first

The others come with `settle`: dials take them so long that nobody would wait for a ready line.
"""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from control import Fields, here, obey
from libp2p import new_host
from libp2p.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.tools.anyio_service import background_trio_service
from looking import Found, Looker, Looking
from multiaddr import Multiaddr

LISTEN = Multiaddr("/ip4/127.0.0.1/tcp/0")
ROUNDS = 5
"""Times that each node looks around itself at most, to get to know others."""


class Counted:
    """Counts the requests of a node's lookups: kad_dht tells them to its log alone."""

    def __init__(self, query: Callable[[ID, bytes], Awaitable[list[ID]]]) -> None:
        self.requests = 0
        self._query = query

    async def __call__(self, peer: ID, key: bytes) -> list[ID]:
        self.requests += 1
        return await self._query(peer, key)


def looker(dht: KadDHT) -> Looker:
    counted = Counted(dht.peer_routing._query_peer_for_closest)
    setattr(dht.peer_routing, "_query_peer_for_closest", counted)  # noqa: B010 - mypy lets nobody assign to a method

    async def find(key: bytes) -> Found:
        before = counted.requests
        peers = await dht.peer_routing.find_closest_peers_network(key)
        return Found([peer.to_bytes() for peer in peers], counted.requests - before)

    return Looker(dht.local_peer_id.to_bytes(), find)


@asynccontextmanager
async def open_dht(bootstrap: str | None) -> AsyncIterator[KadDHT]:
    host = new_host()
    async with host.run(listen_addrs=[LISTEN]):
        dht = KadDHT(host, DHTMode.SERVER)
        async with background_trio_service(dht):
            if bootstrap is not None:
                first = info_from_p2p_addr(Multiaddr(bootstrap))
                await host.connect(first)
                await dht.add_peer(first.peer_id)
            yield dht


async def run_dht(bootstrap: str | None, task_status: trio.TaskStatus[KadDHT]) -> None:
    async with open_dht(bootstrap) as dht:
        task_status.started(dht)
        await trio.sleep_forever()


async def look_around(dht: KadDHT, peers: int) -> None:
    """Until it knows so many others, or does not get to know any more."""
    for _ in range(ROUNDS):
        if dht.get_routing_table_size() >= peers:
            return
        await dht.refresh_routing_table()


async def main(count: str, seed: str, bootstrap: str | None = None) -> None:
    # A task for each, so that they close at the same time.
    async with trio.open_nursery() as nursery:
        first = await nursery.start(run_dht, bootstrap)
        place = here(str(first.local_peer_id), str(first.host.get_transport_addrs()[0]))
        known = bootstrap or place["peer"]["addresses"][0]
        dhts = [first]
        lookers: list[Looker] = []

        async def start() -> None:
            dhts.append(await nursery.start(run_dht, known))

        async def settle(request: Fields) -> Fields:
            """Start the others at the first call, and look around from each node. known: the fewest that one knows."""
            async with trio.open_nursery() as starting:
                for _ in range(int(count) - len(dhts)):
                    starting.start_soon(start)
            async with trio.open_nursery() as looking_around:
                for dht in dhts:
                    looking_around.start_soon(look_around, dht, request["peers"])
            lookers[:] = lookers or [looker(dht) for dht in dhts]
            return {"known": min(dht.get_routing_table_size() for dht in dhts)}

        looking = Looking(lookers, random.Random(seed))
        await obey(place, {"settle": settle, "ids": looking.ids, "look_up": looking.look_up, "freeze": looking.freeze})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
