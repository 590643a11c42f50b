"""What is held against a peer, and what is not."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from p2pkad.core.messages import AnyReply, FindNode, FindNodeReply, PutValue
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import InvalidRecord, LocalProtocolError, RequestFailed
from p2pkad.net.base import Request
from p2pkad.validators.opaque import OpaqueValidator
from tests.behaviour.conftest import BehaviourNetwork
from tests.behaviour.test_membership import ids, table


@pytest.mark.scenario("L5", "V13")
async def test_who_refuses_a_record_stays_in_the_table(network: BehaviourNetwork) -> None:
    """go has no validator for our namespaces, and resets every put of ours: it is a good peer all the same."""
    node, other = await network.start(2)

    async def refuses_puts(request: Request) -> AnyReply:
        if isinstance(request.message, PutValue):
            raise RequestFailed(request.peer, "no validator")
        return FindNodeReply(())

    peer = await network.start_peer(refuses_puts)
    await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await network.until(lambda: peer.id in table(node), "it is known")
    for number in range(3):
        receipt = await node.put_value(b"/v/%d" % number, b"value")
        assert receipt.refused == (peer.id,)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert table(node) == {other.id, peer.id}


@pytest.mark.scenario("L5")
async def test_who_refuses_a_record_and_then_every_question_leaves_the_table(network: BehaviourNetwork) -> None:
    node, other = await network.start(2)
    asked: list[PeerId] = []

    async def answers_once(request: Request) -> AnyReply:
        if isinstance(request.message, PutValue) or (asked and request.message == FindNode(bytes(peer.id))):
            raise RequestFailed(request.peer, "no")
        asked.append(request.peer)
        return FindNodeReply(())

    peer = await network.start_peer(answers_once)
    await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await network.until(lambda: peer.id in table(node), "it is known")
    await node.put_value(b"/v/key", b"value")
    await network.until(lambda: table(node) == {other.id}, "it was checked, and is gone")


@pytest.mark.scenario("L5")
async def test_a_caller_in_a_hurry_does_not_cost_a_peer_its_place(network: BehaviourNetwork) -> None:
    node, *others = await network.start(4, late_after=0.5, request_timeout=2.0)

    async def slow(request: Request) -> AnyReply:
        await trio.sleep(0.05)
        return FindNodeReply(())

    peer = await network.start_peer(slow)
    await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await network.until(lambda: len(table(node)) == 4, "all are known")
    for number in range(20):
        await node.closest_peers(b"key %d" % number, timeout=0.002)
        assert table(node) == {peer.id, *ids(*others)}


async def test_an_empty_key_is_refused_here_and_not_by_everybody_else(network: BehaviourNetwork) -> None:
    node, other = await network.start(2, default_validator=OpaqueValidator())
    with pytest.raises(LocalProtocolError, match="empty"):
        await node.closest_peers(b"")
    with pytest.raises(InvalidRecord, match="empty"):
        await node.put_value(b"", b"value")
    with pytest.raises(InvalidRecord, match="empty"):
        await node.get_value(b"")
    assert table(node) == {other.id}
