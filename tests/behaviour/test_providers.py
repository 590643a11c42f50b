"""Who provides something, as several holders tell it."""

from __future__ import annotations

import pytest

from p2pkad.core.messages import AnyReply, FindNodeReply, GetProviders, GetProvidersReply
from p2pkad.core.peers import PeerInfo
from p2pkad.net.base import Handler, Request
from p2pkad.wire.content import content_key
from tests.behaviour.conftest import BehaviourNetwork
from tests.support.worlds import address, peer_id

CONTENT = content_key(b"content")


def holder(told: range) -> Handler:
    """A peer that knows some of all providers."""

    async def handler(request: Request) -> AnyReply:
        if isinstance(request.message, GetProviders):
            return GetProvidersReply(CONTENT, tuple(PeerInfo(peer_id(n), (address(n),)) for n in told), ())
        return FindNodeReply(())

    return handler


@pytest.mark.scenario("P3")
async def test_without_a_count_all_that_the_holders_know_is_found_and_each_once(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    parts = (range(1000, 1030), range(1020, 1050), range(1000, 1010), range(1045, 1060))
    for told in parts:
        peer = await network.start_peer(holder(told))
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await node.wait_ready(peers=len(parts), timeout=10)
    found = [info.id for info in await node.find_providers(CONTENT, count=None)]
    assert sorted(found) == sorted(peer_id(n) for n in range(1000, 1060))
