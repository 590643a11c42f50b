"""What is held against a peer, and what is not."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
import trio
import trio.testing

from p2pkad.core.messages import AnyReply, FindNode, FindNodeReply, PutValue
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import InvalidRecord, LocalLimit, LocalProtocolError, P2pkadError, RequestFailed
from p2pkad.net.base import Request
from p2pkad.net.simulated import SimulatedNetwork
from p2pkad.validators.opaque import OpaqueValidator
from tests.behaviour.conftest import BehaviourNetwork
from tests.behaviour.test_membership import ids, table
from tests.support.worlds import peer_id

CONTENT = b"\x12\x20" + sha256(b"content").digest()


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
        await trio.sleep(0.1)
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


@pytest.mark.scenario("L18")
async def test_a_limit_of_our_own_is_waited_out_by_whoever_meets_it(
    network: BehaviourNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, other = await network.start(2)
    await network.until(lambda: table(node) == {other.id}, "it is known")
    connect, refused = SimulatedNetwork._connect, [0]

    async def at_the_limit(self: SimulatedNetwork, peer: PeerInfo, deadline: float) -> Any:
        if self.id == node.id and refused[0] % 3 < 2:  # two of three
            refused[0] += 1
            raise LocalLimit("connections", 4)
        refused[0] += 1
        return await connect(self, peer, deadline)

    monkeypatch.setattr(SimulatedNetwork, "_connect", at_the_limit)
    assert (await node.provide(CONTENT)).sent == (other.id,)
    assert (await node.put_value(b"/v/key", b"value")).stored == (node.id, other.id)
    assert table(node) == {other.id}


async def test_a_ping_ends_in_time_though_the_peer_has_to_be_looked_up_first(network: BehaviourNetwork) -> None:
    (node,) = await network.start(request_timeout=0.3, lookup_timeout=60.0, alpha=1)
    asked: list[Request] = []

    async def silent(request: Request) -> AnyReply:
        if request.message == FindNode(bytes(peer_id(999))):
            asked.append(request)
            await trio.sleep_forever()
        return FindNodeReply(())

    for number in range(1, 7):
        peer = await network.start_peer(silent)
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
        await network.until(lambda number=number: len(table(node)) == number, "it is known")  # type: ignore[misc]
    with pytest.raises(P2pkadError):
        await node.ping(peer_id(999))
    assert len(asked) <= 2, "with alpha=1 there is time for one or two silent peers in the time of one request"
