"""What a server answers, asked by a peer made by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

import pytest
import trio

from p2pkad.core.messages import (
    AddProvider,
    AnyReply,
    AnyRequest,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
    Ping,
    PingReply,
    PutValue,
    PutValueReply,
)
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import P2pkadError, RequestFailed
from p2pkad.net.base import Network, Request
from p2pkad.node.service import KademliaService
from p2pkad.wire.addresses import parse_peer
from tests.behaviour.conftest import BehaviourNetwork
from tests.support.worlds import address

CONTENT = b"\x12\x20" + sha256(b"content").digest()
KEY = b"/v/key"
R = TypeVar("R", bound=AnyReply)


async def nothing(request: Request) -> None:
    raise RequestFailed(request.peer, "it answers nobody")


class Asker:
    """A peer made by hand that asks one server."""

    def __init__(self, network: Network, server: KademliaService) -> None:
        self.network = network
        self.own = PeerInfo(network.id, network.local_addresses())
        self._server = parse_peer(server.addresses[0])

    async def ask(self, message: AnyRequest, kind: type[R]) -> R:
        response = await self.network.request(self._server, message, trio.current_time() + 5)
        assert isinstance(response.message, kind)
        return response.message

    async def tell(self, message: AddProvider) -> None:
        await self.network.send(self._server, message, trio.current_time() + 5)

    async def is_refused(self, message: AnyRequest) -> bool:
        try:
            if isinstance(message, AddProvider):  # nobody answers it; a question behind it is answered or reset
                await self.network.send_and_ask(self._server, message, Ping(), trio.current_time() + 5)
            else:
                await self.network.request(self._server, message, trio.current_time() + 5)
        except P2pkadError:
            return True
        return False


@pytest.fixture
async def server(network: BehaviourNetwork) -> KademliaService:
    (node,) = await network.start()
    return node


@pytest.fixture
async def asker(network: BehaviourNetwork, server: KademliaService) -> Asker:
    return Asker(await network.start_peer(nothing), server)


def put(value: bytes, *, key: bytes = KEY, inside: bytes = KEY) -> PutValue:
    return PutValue(key, Record(inside, value))


@pytest.mark.scenario("W6", "V3")
async def test_the_reply_to_a_put_carries_the_record_as_stored(asker: Asker) -> None:
    for _ in range(2):  # the identical record is acknowledged, too
        reply = await asker.ask(put(b"value"), PutValueReply)
        assert (reply.key, reply.record.key, reply.record.value) == (KEY, KEY, b"value")
        assert datetime.fromisoformat(reply.record.time_received).tzinfo is UTC


@pytest.mark.scenario("V2", "V3", "V9")
@pytest.mark.parametrize(
    "refused",
    [
        put(b"value", inside=b"/v/other"),
        put(b"v", key=b"", inside=b""),
        put(b"v", key=b"/no/key", inside=b"/no/key"),
        put(b"a"),
    ],
    ids=["another key inside", "no key", "no validator", "worse than what is stored"],
)
async def test_a_record_that_must_not_be_stored_is_refused(asker: Asker, server: KademliaService, refused: PutValue) -> None:
    await asker.ask(put(b"value"), PutValueReply)
    assert await asker.is_refused(refused)
    assert (await asker.ask(GetValue(KEY), GetValueReply)).record is not None
    assert await server.local_value(KEY) == b"value"
    assert server.stats().records == 1


async def test_a_value_that_nobody_put_is_a_reply_without_a_record(asker: Asker) -> None:
    assert (await asker.ask(GetValue(KEY), GetValueReply)).record is None


@pytest.mark.scenario("P2")
async def test_a_peer_provides_for_itself_alone(network: BehaviourNetwork, asker: Asker, server: KademliaService) -> None:
    other = PeerInfo((await network.start_peer(nothing)).id, asker.own.addresses)
    await asker.tell(AddProvider(CONTENT, (other, asker.own)))
    reply = await asker.ask(GetProviders(CONTENT), GetProvidersReply)
    assert [info.id for info in reply.providers] == [asker.own.id]
    assert reply.providers[0].addresses == asker.own.addresses


@pytest.mark.scenario("P2")
@pytest.mark.parametrize("bad", ["nobody", "somebody else", "no address", "no key", "a long key"])
async def test_an_announcement_that_says_nothing_usable_is_refused(
    network: BehaviourNetwork, asker: Asker, server: KademliaService, bad: str
) -> None:
    somebody = PeerInfo((await network.start_peer(nothing)).id, asker.own.addresses)
    message = {
        "nobody": AddProvider(CONTENT, ()),
        "somebody else": AddProvider(CONTENT, (somebody,)),
        "no address": AddProvider(CONTENT, (PeerInfo(asker.own.id),)),
        "no key": AddProvider(b"", (asker.own,)),
        "a long key": AddProvider(b"k" * 81, (asker.own,)),
    }[bad]
    assert await asker.is_refused(message)
    assert server.stats().providers == 0


@pytest.mark.parametrize("key", [b"", b"k" * 81])
async def test_providers_of_a_key_that_is_none_are_refused(asker: Asker, key: bytes) -> None:
    assert await asker.is_refused(GetProviders(key))


async def test_asked_for_its_own_id_a_server_names_itself_first(asker: Asker, server: KademliaService) -> None:
    reply = await asker.ask(FindNode(bytes(server.id)), FindNodeReply)
    assert reply.closer[0] == parse_peer(server.addresses[0])


@pytest.mark.scenario("F3")
async def test_a_connected_peer_is_named_when_it_is_asked_for_and_not_otherwise(
    network: BehaviourNetwork, asker: Asker, server: KademliaService
) -> None:
    await asker.ask(Ping(), PingReply)
    reply = await asker.ask(FindNode(bytes(asker.own.id)), FindNodeReply)
    assert reply.closer[0] == asker.own, "the asker itself, too"
    assert (await asker.ask(FindNode(b"any key at all"), FindNodeReply)).closer == ()


async def test_a_peer_that_nobody_knows_is_not_made_up(asker: Asker) -> None:
    assert (await asker.ask(FindNode(CONTENT), FindNodeReply)).closer == ()


@pytest.mark.scenario("W6")
async def test_a_ping_is_echoed(asker: Asker) -> None:
    assert await asker.ask(Ping(b"key"), PingReply) == PingReply(b"key")


@pytest.mark.scenario("P3")
async def test_providers_come_in_another_order_each_time(network: BehaviourNetwork, server: KademliaService) -> None:
    askers = [Asker(await network.start_peer(nothing), server) for _ in range(8)]
    for each in askers:
        await each.tell(AddProvider(CONTENT, (each.own,)))
    orders = {
        tuple(info.id for info in (await askers[0].ask(GetProviders(CONTENT), GetProvidersReply)).providers) for _ in range(10)
    }
    assert len(orders) > 1
    assert {frozenset(order) for order in orders} == {frozenset(each.own.id for each in askers)}


async def test_its_own_announcement_is_told_with_the_addresses_of_now(asker: Asker, network: BehaviourNetwork) -> None:
    server, _ = network.nodes[0], await network.start()
    await server.provide(CONTENT)
    reply = await asker.ask(GetProviders(CONTENT), GetProvidersReply)
    assert reply.providers == (parse_peer(server.addresses[0]),)


@pytest.mark.scenario("P5")
async def test_a_connected_provider_is_told_where_it_is_now(
    asker: Asker, network: BehaviourNetwork, server: KademliaService
) -> None:
    before = PeerInfo(asker.own.id, (address(500),))
    await asker.tell(AddProvider(CONTENT, (before,)))
    other = Asker(await network.start_peer(nothing), server)
    assert (await other.ask(GetProviders(CONTENT), GetProvidersReply)).providers == (asker.own,)
    assert await server.local_providers(CONTENT) == (before,), "what it announced stays what it announced"


async def test_of_a_provider_with_many_addresses_a_few_are_kept(asker: Asker, server: KademliaService) -> None:
    crowd = tuple(address(number) for number in range(1, 1000))
    await asker.tell(AddProvider(CONTENT, (PeerInfo(asker.own.id, crowd),)))
    (provider,) = await server.local_providers(CONTENT)
    assert provider.addresses == crowd[:16]
