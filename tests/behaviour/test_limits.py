"""A node's own bounds are no peer's failure, and neither are a peer's."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import trio
import trio.testing

from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.events import PeerEvicted
from p2pkad.node.service import KademliaService
from p2pkad.testing.acquainted import acquaint
from p2pkad.wire.addresses import parse_peer
from tests.behaviour.conftest import BehaviourNetwork

NODES = 40
CONNECTIONS = 10
K = 5

OPTIONS = {
    "bootstrap": (),
    "max_connections": CONNECTIONS,
    "connection_reserve": 2,  # the usual 16 are more than there are
    "k": K,  # tables and results that hold a part of the network, so that lookups have a way to go
    "bucket_size": K,
    "request_timeout": 10.0,  # the usual times, which are long for most behaviour tests
    "late_after": 2.0,
}


@pytest.fixture
def unhurried_clock() -> trio.testing.MockClock:
    """Stands still while anybody works, and jumps when all of them wait: 40 hosts in one process are slow, not late.

    The sockets are real, and what is sent to the loopback is there at once, or a few scheduler ticks later where other programs
    keep the kernel busy: after 0.05 s without any event nothing is coming.
    """
    return trio.testing.MockClock(autojump_threshold=0.05)


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    # The refresh for each newcomer to a table below 20, the usual k, is another behaviour.
    monkeypatch.setattr("p2pkad.node.refreshing.SMALL_TABLE", K)


@pytest.mark.long
@pytest.mark.scenario("L18")
@pytest.mark.on_real_hosts_only
@pytest.mark.usefixtures("few_are_enough")
async def test_with_few_connections_lookups_still_reach_everybody(
    network: BehaviourNetwork, unhurried_clock: trio.testing.MockClock
) -> None:
    evicted: list[PeerEvicted] = []
    nodes = [await network.start_one(**OPTIONS) for _ in range(NODES)]
    for node in nodes:
        acquaint(node, by_key(nodes), Random(str(node.id)))  # whom it happens to know
        node.subscribe(evicted.append, PeerEvicted)

    async def looks_up(seeker: KademliaService, key: bytes) -> None:
        assert [info.id for info in await seeker.closest_peers(key)] == nearest(key, nodes, seeker)
        assert seeker.stats().peers <= CONNECTIONS

    # All at once: whoever is dialled is full itself. Then one after the other: whoever dials is full of what it did before.
    async with trio.open_nursery() as nursery:
        for number, seeker in enumerate(nodes):
            nursery.start_soon(looks_up, seeker, b"%d" % number)
    for seeker in nodes[:: NODES // 8]:
        for key in (b"one", b"two"):
            await looks_up(seeker, key)
    assert [event for event in evicted if event.cause == "failed"] == [], "who is full, here or there, is no dead peer"


def by_key(nodes: Sequence[KademliaService]) -> list[tuple[int, PeerInfo]]:
    """All of them, as `acquaint` wants them."""
    return sorted((int(SHA256.key(node.id)), parse_peer(node.addresses[0])) for node in nodes)


def nearest(key: bytes, nodes: Sequence[KademliaService], seeker: KademliaService) -> list[PeerId]:
    """Who the lookup of `key` has to find: the nearest of all that are there, but for who asks."""
    others = [node.id for node in nodes if node is not seeker]
    return sorted(others, key=lambda each: SHA256.key(each) ^ SHA256.key(key))[:K]
