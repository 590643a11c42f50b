"""Putting and providing: who holds it in the end, and whether the receipt says so."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import AnyReply, FindNode, FindNodeReply, PutValue, PutValueReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.net.base import Network, Request
from tests.behaviour.conftest import BehaviourNetwork

KEY = b"/v/key"


class Crowd:
    """Peers made by hand that all know each other. silent, gone: who fails from the moment that something is put.

    near: all of them, the nearest to the key first.
    """

    def __init__(self) -> None:
        self.near: list[PeerInfo] = []
        self.silent: set[PeerId] = set()
        self.stored: set[PeerId] = set()

    async def join(self, network: BehaviourNetwork, count: int) -> None:
        for _ in range(count):
            own: list[Network] = []

            async def handler(request: Request, own: list[Network] = own) -> AnyReply | None:
                return await self.answer(own[0].id, request)

            peer = await network.start_peer(handler)
            own.append(peer)
            self.near.append(PeerInfo(peer.id, peer.local_addresses()))
        self.near.sort(key=lambda info: SHA256.key(info.id) ^ SHA256.key(KEY))

    async def answer(self, own: PeerId, request: Request) -> AnyReply | None:
        match request.message:
            case FindNode():
                return FindNodeReply(tuple(self.near))
            case PutValue(key, record):
                if own in self.silent:
                    await trio.sleep_forever()
                self.stored.add(own)
                return PutValueReply(key, record)
        return None

    def ids(self, *places: int) -> Sequence[PeerId]:
        return [self.near[place].id for place in places]


@pytest.mark.on_real_hosts_too
@pytest.mark.scenario("V13")
async def test_those_that_fail_during_a_put_are_replaced_and_the_receipt_names_exactly_the_live_holders(
    network: BehaviourNetwork,
) -> None:
    crowd = Crowd()
    await crowd.join(network, 9)
    (node,) = await network.start(k=4, request_timeout=0.5)
    for info in crowd.near:
        await node.connect(info)
    await node.wait_ready(peers=9, timeout=10)
    crowd.silent.update(crowd.ids(0, 2, 4))
    receipt = await node.put_value(KEY, b"value")
    assert crowd.stored == set(crowd.ids(1, 3, 5, 6))
    assert set(receipt.stored) == {node.id, *crowd.stored}
    assert set(receipt.unreachable) == crowd.silent
    assert receipt.refused == ()


@pytest.mark.scenario("V13")
async def test_with_nobody_left_the_receipt_is_true_all_the_same(network: BehaviourNetwork) -> None:
    crowd = Crowd()
    await crowd.join(network, 3)
    (node,) = await network.start(k=3, request_timeout=0.2)
    for info in crowd.near:
        await node.connect(info)
    await node.wait_ready(peers=3, timeout=10)
    crowd.silent.update(crowd.ids(0, 1))
    receipt = await node.put_value(KEY, b"value")
    assert receipt.stored == (node.id, crowd.near[2].id)
    assert receipt.unreachable == tuple(crowd.ids(0, 1))
