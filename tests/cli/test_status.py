"""What `p2pkad status` is made of."""

from __future__ import annotations

import pytest

import p2pkad
from p2pkad.cli.local import LocalNode
from p2pkad.cli.requests import Answer, Status
from p2pkad.core.keyspace import SHA256
from p2pkad.net.simulated import World
from p2pkad.store.memory import MemoryStore
from tests.support.worlds import hosted

FULL = "state.db: the disk is full"


class FullDisk(MemoryStore):
    """A store that could not write when it tried last."""

    @property
    def trouble(self) -> str:
        return FULL


@pytest.mark.scenario("H5")
async def test_a_node_says_what_is_wrong_with_its_store():
    told: list[Answer] = []

    async def tell(answer: Answer) -> None:
        told.append(answer)

    config = p2pkad.Config()
    async with World.open() as world:
        with hosted(world, 1) as host:
            store = FullDisk(SHA256.key(host.id), config.store_bounds)
            async with p2pkad.KademliaService(host, config, store=store) as node:
                assert node.stats().store_trouble == FULL
                await LocalNode(node, config, stays=True).ask(Status(timeout=1), tell)
    assert told[0]["store_trouble"] == FULL
