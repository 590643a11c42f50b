"""What is several hops away: each peer knows the next one only."""

from __future__ import annotations

import pytest

from p2pkad.core.messages import (
    AnyReply,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
    PutValue,
    PutValueReply,
)
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.net.base import Handler, Network, Request
from p2pkad.node.service import KademliaService
from p2pkad.wire.content import content_key
from tests.behaviour.conftest import BehaviourNetwork

pytestmark = pytest.mark.on_real_hosts_too

HOPS = 5
KEY = b"/v/key"
CONTENT = content_key(b"content")


def one_of(row: list[PeerInfo], place: int) -> Handler:
    """A peer in a row of peers; the last one holds a value, and provides something."""

    async def handler(request: Request) -> AnyReply:
        own, following = row[place], tuple(row[place + 1 : place + 2])
        last = not following
        match request.message:
            case FindNode():
                return FindNodeReply(following)
            case GetValue(key):
                return GetValueReply(key, Record(key, b"value") if last else None, following)
            case GetProviders(key):
                return GetProvidersReply(key, (own,) if last else (), following)
            case PutValue(key, record):
                return PutValueReply(key, record)
            case unexpected:
                raise AssertionError(unexpected)

    return handler


@pytest.fixture
async def row(network: BehaviourNetwork) -> list[PeerInfo]:
    """The peers, first one first."""
    row: list[PeerInfo] = []
    for place in range(HOPS):
        peer: Network = await network.start_peer(one_of(row, place))
        row.append(PeerInfo(peer.id, peer.local_addresses()))
    return row


@pytest.fixture
async def node(network: BehaviourNetwork, row: list[PeerInfo]) -> KademliaService:
    """Knows the first one."""
    (node,) = await network.start(bootstrap=(), mode="client")
    await node.connect(row[0])
    await node.wait_ready(timeout=10)
    assert node.routing_table() == (row[0],)
    return node


@pytest.mark.scenario("F1")
async def test_a_peer_is_found_several_hops_away(node: KademliaService, row: list[PeerInfo]) -> None:
    assert await node.find_peer(row[-1].id) == row[-1]


@pytest.mark.scenario("V1")
async def test_a_value_is_got_several_hops_away(node: KademliaService, row: list[PeerInfo]) -> None:
    found = await node.get_record(KEY)
    assert (found.value, found.holders, found.asked) == (b"value", (row[-1].id,), HOPS)


async def test_a_provider_is_found_several_hops_away(node: KademliaService, row: list[PeerInfo]) -> None:
    assert list(await node.find_providers(CONTENT)) == [row[-1]]
