"""py-libp2p's own Kademlia, `libp2p.kad_dht` on `libp2p.new_host()`, as its manual starts it: the peer to compare with.

    stock.py server | client  SEED

A client's request is the one of its lookups (`PeerRouting._query_peer_for_closest`): there is no public way to ask one
peer one thing. It returns nothing for a request that failed.
"""

from __future__ import annotations

import random
import sys

import trio
from control import Fields, RequestFailed, Verb, here, measure, obey
from libp2p import new_host
from libp2p.abc import IHost
from libp2p.kad_dht import DHTMode, KadDHT
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

LISTEN = Multiaddr("/ip4/127.0.0.1/tcp/0")


def loading(host: IHost, dht: KadDHT, keys: random.Random) -> Verb:
    async def load(request: Fields) -> Fields:
        server = info_from_p2p_addr(Multiaddr(request["peer"]))
        await host.connect(server)

        async def ask(key: bytes) -> int:
            found = await dht.peer_routing._query_peer_for_closest(server.peer_id, key)
            if not found:
                raise RequestFailed
            return len(found)

        return await measure(ask, request, keys)

    return load


async def main(mode: str, seed: str) -> None:
    host = new_host()
    async with host.run(listen_addrs=[LISTEN]):
        dht = KadDHT(host, DHTMode.SERVER if mode == "server" else DHTMode.CLIENT)
        async with background_trio_service(dht):
            place = host.get_transport_addrs()[0]
            await obey(here(str(host.get_id()), str(place)), {"load": loading(host, dht, random.Random(seed))})


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
