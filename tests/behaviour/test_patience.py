"""How long lookups wait for silent peers: in virtual time, on a network whose pace the test sets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from p2pkad.core.messages import AnyReply, FindNode, FindNodeReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.events import PeerLate
from p2pkad.net.base import Handler, Network, Request
from p2pkad.node.service import KademliaService
from p2pkad.testing import open_simulated_network
from tests.behaviour.conftest import BehaviourNetwork

PEERS = 18


def answers_after(seconds: Callable[[], float]) -> Handler:
    async def handler(request: Request) -> AnyReply:
        await trio.sleep(seconds())
        return FindNodeReply(())

    return handler


async def crowd(
    network: BehaviourNetwork, node: KademliaService, seconds: Callable[[], float], count: int = PEERS
) -> list[PeerId]:
    """Peers that answer after so many seconds, each known to the node."""
    peers = [await network.start_peer(answers_after(seconds)) for _ in range(count)]
    for peer in peers:
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await node.wait_ready(peers=count, timeout=100)
    return [peer.id for peer in peers]


def late_ones(node: KademliaService) -> list[PeerLate]:
    late: list[PeerLate] = []
    node.subscribe(late.append, PeerLate)
    return late


@pytest.mark.scenario("L12")
async def test_in_a_slow_network_nobody_is_late(network: BehaviourNetwork) -> None:
    (node,) = await network.start(late_after=2.0, request_timeout=10.0)
    peers = await crowd(network, node, lambda: 1.5)
    late = late_ones(node)
    for number in range(5):
        found = await node.closest_peers(b"key %d" % number)
        assert {info.id for info in found} == set(peers)
    assert not late


@pytest.mark.scenario("L12")
async def test_a_network_that_turns_slow_is_waited_for_before_long(network: BehaviourNetwork) -> None:
    pace = 0.05
    (node,) = await network.start(late_after=2.0, request_timeout=10.0)
    peers = await crowd(network, node, lambda: pace)
    for number in range(10):
        await node.closest_peers(b"fast %d" % number)
    pace = 1.5
    for number in range(3):
        await node.closest_peers(b"slow %d" % number)
    late = late_ones(node)
    assert {info.id for info in await node.closest_peers(b"key")} == set(peers)
    assert not late


@pytest.mark.scenario("L13")
async def test_in_a_fast_network_a_silent_peer_is_soon_passed_over(network: BehaviourNetwork) -> None:
    (node,) = await network.start(late_after=2.0, request_timeout=10.0)
    peers = await crowd(network, node, lambda: 0.02, count=12)
    silent = await silent_peer(network)
    await node.connect(PeerInfo(silent.id, silent.local_addresses()))
    await node.wait_ready(peers=13, timeout=10)
    began = trio.current_time()
    found = await node.closest_peers(b"key")
    assert {info.id for info in found} == set(peers)
    assert found.complete
    assert trio.current_time() - began < 0.5


async def silent_peer(network: BehaviourNetwork) -> Network:
    """It answers for its own id, so that it is taken for a server, and nothing else."""

    async def handler(request: Request) -> AnyReply:
        if request.message != FindNode(bytes(peer.id)):
            await trio.sleep_forever()
        return FindNodeReply(())

    peer = await network.start_peer(handler)
    return peer


def test_answers_that_nobody_had_the_time_to_read_are_not_late() -> None:
    """The process stands still for a second, in the middle of a lookup: garbage, or somebody else's work."""
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> None:
        async with open_simulated_network(PEERS, latency=0.025) as net:
            node = net.nodes[0]
            for number in range(10):
                await node.closest_peers(b"key %d" % number)
            late = late_ones(node)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stand_still, 0.04)
                found = await node.closest_peers(b"key")
            assert len(found) == PEERS - 1
            assert not late

    async def stand_still(after: float) -> None:
        await trio.sleep(after)
        clock.jump(1.0)

    trio.run(main, clock=clock)
