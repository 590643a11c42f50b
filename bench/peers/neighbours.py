"""Peers that a server names in its answers: real ones, which it met, can reach and has in its routing table.

    neighbours.py PROTOCOL SERVER      (an address with /p2p/<id>)

Each is a host of its own, speaks the protocol, and answers every FIND_NODE with the server: so that it passes the server's
checks, and is no work for anybody afterwards. Ready once the server names WANTED of them.
"""

from __future__ import annotations

import sys
from math import inf

import trio
from control import obey

from p2pkad import KademliaConfig, PeerInfo, new_host
from p2pkad.config import HostConfig
from p2pkad.core.messages import AnyReply, FindNode, FindNodeReply
from p2pkad.net.base import Request
from p2pkad.net.libp2p import Libp2pNetwork
from p2pkad.wire.addresses import parse_peer

WANTED = 20
NEIGHBOURS = 30
"""More than are wanted: the asker is left out of an answer, and a bucket holds 20 of those that fall into it."""
KEY = b"a key that is nobody's id"
ASK_SECONDS = 5.0
MEET_INTERVAL = 0.2
"""Seconds. py-libp2p takes in who asks it something after it has been identified, and does not say when that is."""


async def answer_with(server: PeerInfo, request: Request) -> AnyReply | None:
    assert isinstance(request.message, FindNode)
    return FindNodeReply((server,))


async def neighbour(server: PeerInfo, protocol: str, task_status: trio.TaskStatus[Libp2pNetwork]) -> None:
    host = new_host(HostConfig(listen=("/ip4/127.0.0.1/tcp/0",)))
    async with host.run(), host.open_network(protocol=protocol, max_message=KademliaConfig.max_message) as network:
        network.serve(lambda request: answer_with(server, request))
        await network.set_server(True)
        task_status.started(network)
        await trio.sleep_forever()


async def named_by(server: PeerInfo, network: Libp2pNetwork) -> int:
    """How many peers with addresses the server names to this neighbour.

    The stream is closed right afterwards: py-libp2p resets the thirteenth that is open, whoever has the others.
    """
    response = await network.request(server, FindNode(KEY), trio.current_time() + ASK_SECONDS)
    network.swept(inf)
    assert isinstance(response.message, FindNodeReply)
    return sum(bool(peer.addresses) for peer in response.message.closer)


async def main(protocol: str, address: str) -> None:
    server = parse_peer(address)
    async with trio.open_nursery() as nursery:
        networks = [await nursery.start(neighbour, server, protocol) for _ in range(NEIGHBOURS)]
        named = 0
        while named < WANTED:
            named = max([await named_by(server, network) for network in networks])
            await trio.sleep(MEET_INTERVAL)
        await obey({"peer": {"id": f"{NEIGHBOURS} neighbours", "addresses": []}, "versions": {}}, {})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
