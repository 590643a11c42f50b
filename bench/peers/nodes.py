"""Several p2pkad nodes in one process, a part of a small network, which look up keys when told to.

nodes.py COUNT SEED [BOOTSTRAP]     without BOOTSTRAP the first node is the network's first
"""

from __future__ import annotations

import random
import sys

import trio
from control import Fields, obey
from looking import Found, Looker, Looking

from p2pkad import KademliaService, open_node

PROTOCOL = "/p2pkad/bench/1.0.0"
SETTLE_INTERVAL = 0.1


def looker(node: KademliaService) -> Looker:
    async def find(key: bytes) -> Found:
        peers = await node.closest_peers(key)
        return Found([bytes(peer.id) for peer in peers], peers.asked)

    return Looker(bytes(node.id), find)


async def settle(nodes: list[KademliaService], request: Fields) -> Fields:
    """Return when every node knows `peers` others and has no lookup of its own under way."""
    for node in nodes:
        await node.wait_ready(request["peers"], timeout=request["timeout"])
    while any(node.stats().lookups for node in nodes):  # noqa: ASYNC110 - there is no event for it
        await trio.sleep(SETTLE_INTERVAL)
    return {}


async def run_node(bootstrap: list[str], task_status: trio.TaskStatus[KademliaService]) -> None:
    async with open_node(protocol=PROTOCOL, listen=["/ip4/127.0.0.1/tcp/0"], bootstrap=bootstrap) as node:
        task_status.started(node)
        await trio.sleep_forever()


async def main(count: str, seed: str, *bootstrap: str) -> None:
    # A task for each, so that they close at the same time.
    async with trio.open_nursery() as nursery:
        first = await nursery.start(run_node, list(bootstrap))
        known = list(bootstrap or first.addresses)
        nodes = [first, *[await nursery.start(run_node, known) for _ in range(int(count) - 1)]]
        looking = Looking([looker(node) for node in nodes], random.Random(seed))
        ready = {"peer": {"id": str(first.id), "addresses": list(first.addresses)}, "versions": {}}
        verbs = {"ids": looking.ids, "look_up": looking.look_up, "freeze": looking.freeze}
        await obey(ready, {**verbs, "settle": lambda request: settle(nodes, request)})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
