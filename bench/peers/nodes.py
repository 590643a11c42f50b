"""Several p2pkad nodes in one process, a part of a small network, which look up keys when told to.

nodes.py COUNT SEED [BOOTSTRAP]     without BOOTSTRAP the first node is the network's first
"""

from __future__ import annotations

import gc
import random
import sys
import time

import trio
from control import KEY_BYTES, Fields, obey

from p2pkad import KademliaService, open_node

PROTOCOL = "/p2pkad/bench/1.0.0"
SETTLE_INTERVAL = 0.1


class Pauses:
    """How long the garbage collector stops everything. longest: seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._began = 0.0
        gc.callbacks.append(self._on_phase)

    def _on_phase(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.longest = max(self.longest, time.perf_counter() - self._began)


class Nodes:
    """The verbs. keys: what is looked up."""

    def __init__(self, nodes: list[KademliaService], keys: random.Random) -> None:
        self._nodes = nodes
        self._keys = keys
        self._pauses = Pauses()

    async def settle(self, request: Fields) -> Fields:
        """Return when every node knows `peers` others, has no lookup of its own under way, and has done one for us."""
        for node in self._nodes:
            await node.wait_ready(request["peers"], timeout=request["timeout"])
        while any(node.stats().lookups for node in self._nodes):  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(SETTLE_INTERVAL)
        await self.look_up({"lookups": len(self._nodes)})
        return {}

    async def look_up(self, request: Fields) -> Fields:
        """Look up random keys, one after the other, each from the next node. pause: the longest one for garbage."""
        seconds, asked, found = [], [], []
        self._pauses.longest = 0.0
        for number in range(request["lookups"]):
            node = self._nodes[number % len(self._nodes)]
            key = self._keys.randbytes(KEY_BYTES)
            began = time.perf_counter()
            peers = await node.closest_peers(key)
            seconds.append(time.perf_counter() - began)
            asked.append(peers.asked)
            found.append(len(peers))
        return {"seconds": seconds, "asked": asked, "found": found, "pause": self._pauses.longest}


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
        verbs = Nodes(nodes, random.Random(seed))
        ready = {"peer": {"id": str(first.id), "addresses": list(first.addresses)}, "versions": {}}
        await obey(ready, {"settle": verbs.settle, "look_up": verbs.look_up})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
