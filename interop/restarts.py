"""A third of the p2pkad nodes is killed at one moment and started again, with nothing but what each has in its directory.

Some of those who come back listen at another port than before, as a machine does that got a new address: nobody can find
them where they were, and they have to tell. The others listen where they did, as operators have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import trio
from driver import Driver, py_language
from gathering import Network, Setting, knows
from trials import Node

ANYWHERE = "/ip4/127.0.0.1/tcp/0"
SAVED_SECONDS = 6.0
"""From a node's start until it has saved its routing table for the first time, and a moment more."""


@dataclass(frozen=True, slots=True)
class Returned:
    """Who came back, as they are now. moved: those of them who listen elsewhere."""

    nodes: list[Node]
    moved: list[Node]


async def kill_and_restart(driver: Driver, network: Network, setting: Setting, seed: str) -> Returned:
    """Returns when each has found others by itself; in the network they have the places of those who they were.

    Raises what the driver raises, and NeverHappened.
    """
    await trio.sleep_until(network.complete_since + SAVED_SECONDS)
    chosen = casualties(network, Random(seed))
    async with trio.open_nursery() as nursery:
        for node in chosen:
            nursery.start_soon(node.peer.kill)
    back: dict[str, Node] = {}

    async def restart(node: Node, listen: str) -> None:
        name = str(node)
        flags = {"mode": node.kind, "seed": network.seeds[name], "data_dir": network.data / name, **setting.flags}
        back[name] = Node(await driver.start(f"{name}-back", py_language(), listen=listen, **flags), node.kind)

    moved = [node for number, node in enumerate(chosen) if number % 4 >= 2]  # of servers and of clients
    async with trio.open_nursery() as nursery:
        for node in chosen:
            nursery.start_soon(restart, node, ANYWHERE if node in moved else node.peer.address.partition("/p2p/")[0])
    network.p2pkad = [back.get(str(node), node) for node in network.p2pkad]
    for node in back.values():
        await knows(node, min(setting.room, setting.each) if node.kind == "server" else 1)
    return Returned([back[str(node)] for node in chosen], [back[str(node)] for node in moved])


def casualties(network: Network, random: Random) -> Sequence[Node]:
    """A third of the p2pkad nodes, rounded up: a server, a client, and so on."""
    servers, clients = (random.sample(nodes, len(nodes)) for nodes in (network.servers, network.clients))
    alternately = [node for pair in zip(servers, clients, strict=True) for node in pair]
    return alternately[: -(-len(alternately) // 3)]
