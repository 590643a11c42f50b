"""A node over its real host, asked byte by byte by a peer made by hand."""

from __future__ import annotations

import pytest
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from p2pkad.core.messages import (
    AddProvider,
    AnyRequest,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    Ping,
    PingReply,
)
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.wire.addresses import parse_address
from p2pkad.wire.codec import decode_reply, encode_request
from p2pkad.wire.content import content_key
from tests.behaviour.conftest import PROTOCOL, BehaviourNetwork
from tests.support.raw_peer import frame, raw_peer

CONTENT = content_key(b"content")


@pytest.mark.scenario("W1")
@pytest.mark.on_real_hosts_only
async def test_an_announcement_among_requests_is_taken_and_shifts_no_answer(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    async with raw_peer(info_from_p2p_addr(Multiaddr(node.addresses[0]))) as peer:
        own = PeerInfo(PeerId(peer.id.to_bytes()), (parse_address("/ip4/127.0.0.1/tcp/4001"),))
        stream = await peer.open()
        assert await stream.negotiate(PROTOCOL)
        asked: list[AnyRequest] = [Ping(b"1"), FindNode(CONTENT), GetProviders(CONTENT), Ping(b"2")]
        announced = [asked[0], AddProvider(CONTENT, (own,)), asked[1], AddProvider(CONTENT, (own,)), *asked[2:]]
        await stream.send(b"".join(frame(encode_request(each)) for each in announced))
        answers = [decode_reply(each, await stream.receive_frame()) for each in asked]
        assert answers == [PingReply(b"1"), FindNodeReply(()), GetProvidersReply(CONTENT, (own,), ()), PingReply(b"2")]
