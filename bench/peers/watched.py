"""A p2pkad server that is counted for Prometheus, or not, as it is told.

watched.py PROTOCOL
"""

from __future__ import annotations

import sys
from typing import Any, Final

import trio
from control import Fields, obey

from p2pkad import KademliaService, open_node
from p2pkad.ops.metrics import Metrics

UNLIMITED: Final[dict[str, Any]] = {"max_requests_per_peer": 10**9, "request_rate_per_peer": 1e9}
"""The usual limits would let in 200 requests a second, counted or not."""


class Watched:
    """The verb."""

    def __init__(self, node: KademliaService) -> None:
        self._node = node
        self._metrics: Metrics | None = None

    async def watch(self, request: Fields) -> Fields:
        """From now on it is counted (`on`), or not. Returns how many bytes a scrape has."""
        if self._metrics is not None:
            self._metrics.close()
        self._metrics = Metrics(self._node) if request["on"] else None
        return {"scrape": 0 if self._metrics is None else len(self._metrics.text())}


async def main(protocol: str) -> None:
    async with open_node(protocol=protocol, listen=["/ip4/127.0.0.1/tcp/0"], **UNLIMITED) as node:
        ready = {"peer": {"id": str(node.id), "addresses": list(node.addresses)}, "versions": {}}
        await obey(ready, {"watch": Watched(node).watch})


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
