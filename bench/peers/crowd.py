"""Clients that connect to one server, each from a host of its own, stay, and ask all at once when told to.

crowd.py PROTOCOL SERVER SEED      (an address with /p2p/<id>)
"""

from __future__ import annotations

import random
import sys
import time

import trio
from control import KEY_BYTES, Fields, obey
from descriptors import raise_limit

from p2pkad import KademliaConfig, PeerInfo, new_host
from p2pkad.config import HostConfig
from p2pkad.core.messages import FindNode
from p2pkad.errors import P2pkadError
from p2pkad.net.base import Network
from p2pkad.wire.addresses import parse_peer

JOINING_AT_ONCE = 8
CONNECT_SECONDS = 20.0
ASK_SECONDS = 10.0


class Crowd:
    """The verbs."""

    def __init__(self, nursery: trio.Nursery, protocol: str, server: PeerInfo, keys: random.Random) -> None:
        self._nursery = nursery
        self._protocol = protocol
        self._server = server
        self._keys = keys
        self._members: list[Network] = []

    async def join(self, request: Fields) -> Fields:
        """`count` more clients connect, and each asks once."""
        turn = trio.CapacityLimiter(JOINING_AT_ONCE)

        async def one() -> None:
            async with turn:
                self._members.append(await self._nursery.start(self._stay))

        async with trio.open_nursery() as joining:
            for _ in range(request["count"]):
                joining.start_soon(one)
        return {"members": len(self._members)}

    async def connected(self, request: Fields) -> Fields:
        """How many still have the connection that they came with."""
        return {"peers": sum(member.connection(self._server.id) is not None for member in self._members)}

    async def burst(self, request: Fields) -> Fields:
        """`requests` at the same moment, each from the next member. seconds: of those that were answered. failed: of the
        others, what became of them.
        """
        seconds: list[float] = []
        failed: list[str] = []

        async def ask(member: Network) -> None:
            key, began = self._keys.randbytes(KEY_BYTES), time.perf_counter()
            try:
                await member.request(self._server, FindNode(key), trio.current_time() + ASK_SECONDS)
            except P2pkadError as error:
                failed.append(f"{type(error).__name__}: {error}")
            else:
                seconds.append(time.perf_counter() - began)

        members = self._keys.sample(self._members, len(self._members))
        async with trio.open_nursery() as asking:
            for number in range(request["requests"]):
                asking.start_soon(ask, members[number % len(members)])
        return {"seconds": seconds, "failed": failed}

    async def _stay(self, task_status: trio.TaskStatus[Network]) -> None:
        host = new_host(HostConfig(listen=()))
        async with (
            host.run(),
            host.open_network(protocol=self._protocol, max_message=KademliaConfig.max_message) as network,
        ):
            await network.request(self._server, FindNode(bytes(host.id)), trio.current_time() + CONNECT_SECONDS)
            task_status.started(network)
            await trio.sleep_forever()


async def main(protocol: str, server: str, seed: str) -> None:
    raise_limit()
    async with trio.open_nursery() as nursery:
        crowd = Crowd(nursery, protocol, parse_peer(server), random.Random(seed))
        ready = {"peer": {"id": "a crowd", "addresses": []}, "versions": {}}
        await obey(ready, {"join": crowd.join, "connected": crowd.connected, "burst": crowd.burst})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
