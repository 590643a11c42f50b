"""Several write to one key at the same moment."""

from __future__ import annotations

import pytest
import trio

from tests.behaviour.conftest import BehaviourNetwork

KEY = b"/v/key"


@pytest.mark.scenario("V4")
async def test_after_puts_at_the_same_time_every_reader_gets_the_best(network: BehaviourNetwork) -> None:
    nodes = await network.start(12, k=4)
    async with trio.open_nursery() as nursery:
        for version, writer in enumerate(nodes[::3]):
            nursery.start_soon(writer.put_value, KEY, b"version %d" % version)
    for _ in range(2):  # the first reading corrects who was overtaken by a worse version
        for reader in nodes:
            assert await reader.get_value(KEY) == b"version 3"
