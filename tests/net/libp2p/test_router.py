"""A host that knows a peer's id and nothing else reaches it, by way of the nodes on the host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
import trio
from libp2p import new_swarm
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.host.exceptions import ConnectionFailure
from libp2p.host.routed_host import RoutedHost
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo as ForeignPeerInfo
from multiaddr import Multiaddr

import p2pkad
from p2pkad.config import HostConfig, KademliaConfig
from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import NotFound
from p2pkad.net.base import Request
from p2pkad.node.service import KademliaService
from p2pkad.wire.addresses import parse_address
from tests.net.libp2p.ends import LOOPBACK, PATIENCE, PROTOCOL, End, an_end, answer
from tests.support.neighbours import stranger

CHAT = TProtocol("/chat/1.0.0")


@asynccontextmanager
async def a_row(count: int) -> AsyncIterator[list[End]]:
    """Peers each of which knows the next one only; all chat. Nobody hears of the last one but who asks for it."""
    row: list[End] = []

    async def chat(stream: INetStream) -> None:
        await stream.write(await stream.read(100))
        await stream.close()

    async def of_the_next(place: int, request: Request) -> object:
        if isinstance(request.message, FindNode):
            known = row[place + 1 : place + 2]
            return FindNodeReply(tuple(end.info for end in known if end is not row[-1] or request.message.key == bytes(end.id)))
        return await answer(request)

    async with AsyncExitStack() as stack:
        for place in range(count):
            end = await stack.enter_async_context(an_end(handler=partial(of_the_next, place)))
            end.host.set_stream_handler(CHAT, chat)
            row.append(end)
        yield row


async def chat_with(host: BasicHost, peer: ID) -> bytes:
    with trio.fail_after(PATIENCE):
        stream = await host.new_stream(peer, [CHAT])
        await stream.write(b"hello")
        return await stream.read(100)


def config(*row: End) -> KademliaConfig:
    first = row[0].info
    return KademliaConfig(
        protocol=PROTOCOL,
        mode="client",
        bootstrap=tuple(f"{address.text}/p2p/{first.id}" for address in first.addresses),
    )


@pytest.mark.scenario("F1")
async def test_a_routed_host_talks_to_a_peer_of_whom_it_knows_the_id():
    router = p2pkad.PeerRouter()
    host = RoutedHost(new_swarm(), router)
    async with a_row(4) as row, host.run([Multiaddr(LOOPBACK[0])]):
        far = ID(bytes(row[-1].id))
        async with KademliaService(host, config(*row), router=router):
            await host.connect(ForeignPeerInfo(far, []))
            assert await chat_with(host, far) == b"hello"
        await host.close()


@pytest.mark.scenario("F1")
async def test_a_host_of_ours_opens_a_stream_to_a_peer_of_whom_it_knows_the_id():
    router = p2pkad.PeerRouter()
    host = p2pkad.new_host(HostConfig(listen=LOOPBACK), router=router)
    async with a_row(4) as row, host.run(), KademliaService(host, config(*row), router=router):
        far = ID(bytes(row[-1].id))
        assert not host.get_network().get_connections(far)
        assert await chat_with(host, far) == b"hello"


async def test_a_peer_that_nobody_knows_is_an_error_of_the_hosts_kind():
    nobody = stranger()
    router = p2pkad.PeerRouter()
    plain, ours = RoutedHost(new_swarm(), router), p2pkad.new_host(HostConfig(listen=LOOPBACK), router=router)
    async with a_row(1) as row, plain.run([Multiaddr(LOOPBACK[0])]), ours.run():
        for host, error in ((plain, ConnectionFailure), (ours, SwarmException)):
            async with KademliaService(host, config(*row), router=router):
                with pytest.raises(error):
                    await host.connect(ForeignPeerInfo(nobody, []))
            assert repr(router) == "<PeerRouter services=0>"
            with pytest.raises(error):
                await host.connect(ForeignPeerInfo(nobody, []))
        await plain.close()


async def test_the_first_service_that_finds_a_peer_is_enough():
    peer, address = PeerId(b"\x12\x20" + bytes(32)), parse_address("/ip4/192.0.2.1/tcp/4001")
    assert address is not None
    router = p2pkad.PeerRouter()

    async def knows(asked: PeerId) -> PeerInfo:
        return PeerInfo(asked, (address,))

    async def knows_no_address(asked: PeerId) -> PeerInfo:
        return PeerInfo(asked, ())

    async def knows_nothing(asked: PeerId) -> PeerInfo:
        raise NotFound(f"peer {asked}", asked=0, answered=0)

    async def never_ends(asked: PeerId) -> PeerInfo:
        await trio.sleep_forever()
        raise AssertionError

    with router.through(knows_nothing), router.through(knows_no_address):
        assert await router.find_peer(ID(bytes(peer))) is None
        with router.through(never_ends), router.through(knows):
            found = await router.find_peer(ID(bytes(peer)))
    assert found is not None
    assert (found.peer_id, found.addrs) == (ID(bytes(peer)), [Multiaddr("/ip4/192.0.2.1/tcp/4001")])
