"""In a network of hundreds each host has room for a few dozen, and somebody always comes or goes."""

from __future__ import annotations

from random import Random

import pytest
import trio

from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerId
from p2pkad.events import PeerAsked, PeerEvicted
from p2pkad.node.service import KademliaService
from p2pkad.testing import open_simulated_network, run_simulated
from tests.support.near import nearest

NODES = 200
CONNECTIONS = 50
SEEKERS = 4


@pytest.mark.long
@pytest.mark.scenario("L18")
def test_with_fifty_connections_in_two_hundred_nodes_everybody_is_reached_and_nobody_evicted() -> None:
    asked: dict[PeerId, set[PeerId]] = {}
    evicted: list[PeerEvicted] = []

    async def main() -> None:
        async with open_simulated_network(NODES, max_connections=CONNECTIONS) as net:
            everybody = [node.id for node in net.nodes]
            for node in net.nodes:
                node.subscribe(evicted.append, PeerEvicted)

            async def seek(seeker: KademliaService, targets: list[PeerId]) -> None:
                seen = asked[seeker.id] = set()
                seeker.subscribe(lambda event: seen.add(event.peer), PeerAsked)
                for target in targets:
                    near = sorted(everybody, key=lambda each: SHA256.key(each) ^ SHA256.key(target))
                    found = [info.id for info in await seeker.closest_peers(bytes(target))]
                    assert found == [each for each in near if each != seeker.id][:20]
                    assert seeker.stats().peers <= CONNECTIONS

            async with trio.open_nursery() as nursery:
                for number, seeker in enumerate(net.nodes[:SEEKERS]):
                    nursery.start_soon(seek, seeker, everybody[number + SEEKERS :: 5 * SEEKERS])

    run_simulated(main)
    assert min(map(len, asked.values())) > CONNECTIONS + CONNECTIONS // 2, "no host has room for all whom it asks"
    assert evicted == []


@pytest.mark.long
@pytest.mark.scenario("L2")
def test_in_three_hundred_nodes_of_which_three_a_minute_are_replaced_lookups_find_who_is_there() -> None:
    async def main() -> None:
        dice = Random(1)
        async with open_simulated_network(300) as net:
            for minute in range(5):
                for node in dice.sample(net.nodes, 3):
                    await net.crash(node)
                for _ in range(3):
                    await net.start(bootstrap=dice.choice(net.nodes).addresses)
                await trio.sleep(60)
                for number in range(4):
                    key, asker = b"%d %d" % (minute, number), dice.choice(net.nodes)
                    there = [node.id for node in net.nodes if node is not asker]
                    assert [info.id for info in await asker.closest_peers(key)] == nearest(key, there, 20)

    run_simulated(main)
