"""A p2pkad client that loads a server: each request goes the way of one in a lookup, from the node's books to the socket.

ours.py PROTOCOL SEED
"""

from __future__ import annotations

import random
import sys

import trio
from control import Fields, RequestFailed, Verb, measure, obey

from p2pkad import KademliaConfig, new_host
from p2pkad.config import HostConfig
from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.net.libp2p import ArmouredHost
from p2pkad.node.asking import Asking, DidNotAnswer
from p2pkad.node.clock import SYSTEM
from p2pkad.node.limits import Limits
from p2pkad.node.membership import Membership
from p2pkad.node.telling import Telling
from p2pkad.validators.base import Validators
from p2pkad.wire.addresses import parse_peer


def loading(host: ArmouredHost, config: KademliaConfig, keys: random.Random) -> Verb:
    async def load(request: Fields) -> Fields:
        server = parse_peer(request["peer"])
        # A network for each load, so that it leaves no stream open on a server that counts them.
        async with host.open_network(protocol=config.protocol, max_message=config.max_message) as network:
            membership = Membership(network.id, config, SYSTEM, lambda event: None)
            limits = Limits(config, SYSTEM, Telling())
            asking = Asking(network, membership, Validators({}), limits, config, SYSTEM, keys, Telling())

            async def ask(key: bytes) -> int:
                try:
                    reply = await asking.ask(server, FindNode(key), trio.current_time() + config.request_timeout)
                except DidNotAnswer as error:
                    raise RequestFailed from error
                assert isinstance(reply, FindNodeReply)
                return len(reply.closer)

            return await measure(ask, request, keys)

    return load


async def main(protocol: str, seed: str) -> None:
    config = KademliaConfig(protocol=protocol, mode="client")
    host = new_host(HostConfig(listen=()))
    ready = {"peer": {"id": str(host.id), "addresses": []}, "versions": {}}
    async with host.run():
        await obey(ready, {"load": loading(host, config, random.Random(seed))})


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
