"""Each option of a node has the effect that its sentence promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
import trio
import trio.testing

from p2pkad.config import KademliaConfig
from p2pkad.core.keyspace import SHA256
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
    PutValue,
    PutValueReply,
)
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import InvalidRecord, NoPeers, NotFound, PeerUnreachable
from p2pkad.identity import Identity
from p2pkad.net.base import Handler, Network, Request, Usefulness
from p2pkad.net.simulated import World
from p2pkad.node.clock import Clock
from p2pkad.node.service import KademliaService
from p2pkad.validators.opaque import OpaqueValidator
from p2pkad.wire.addresses import parse_address
from p2pkad.wire.codec import encoded_size
from tests.behaviour.conftest import PROTOCOL, BehaviourNetwork
from tests.behaviour.test_serving import Asker, nothing
from tests.support.worlds import address, hosted, peer_id

KEY = b"/v/key"
CONTENT = b"\x12\x20" + sha256(b"content").digest()
FAR_AWAY = parse_address("/ip4/8.8.0.1/tcp/4001")
ON_LOOPBACK = parse_address("/ip4/127.0.0.1/tcp/4001")


Asked = tuple[PeerId, PeerId, AnyRequest]
"""Who asked whom what."""


@pytest.fixture
def asked(world: World) -> list[Asked]:
    """What has been asked in this world, in order."""
    asked: list[Asked] = []
    world.listeners.append(lambda *each: asked.append(each))
    return asked


RECORDS_LIVE_100_SECONDS = {"record_lifetime": 100.0, "republish_interval": 50.0}
PROVIDERS_LIVE_100_SECONDS = {"provider_lifetime": 100.0, "reprovide_interval": 50.0}


class WallClock:
    """A clock on the wall whose hands are moved by the test."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.clock = Clock(monotonic=trio.current_time, wall=lambda: self.now)


@pytest.fixture
def wall() -> WallClock:
    return WallClock()


@asynccontextmanager
async def a_node(world: World, wall: WallClock, **options: Any) -> AsyncIterator[KademliaService]:
    options = {"protocol": PROTOCOL, "validators": {"v": OpaqueValidator()}, **options}
    with hosted(world, 1) as host:
        async with KademliaService(host, KademliaConfig(**options), clock=wall.clock) as node:
            yield node


@asynccontextmanager
async def a_peer(world: World, number: int, handler: Handler = nothing, *, public: bool = False) -> AsyncIterator[Network]:
    with hosted(world, number) as host:
        if public:
            host.addresses = (parse_address(f"/ip4/8.8.0.{number}/tcp/4001"),)
        async with host.open_network(protocol=PROTOCOL, max_message=1 << 22) as peer:
            peer.serve(handler)
            await peer.set_server(True)
            yield peer


async def knows_nobody(request: Request) -> AnyReply:
    match request.message:
        case PutValue(key, record):
            return PutValueReply(key, record)
    return FindNodeReply(())


# How long things live


@pytest.mark.scenario("V8")
async def test_a_record_is_served_for_its_lifetime(world: World, wall: WallClock) -> None:
    async with a_node(world, wall, **RECORDS_LIVE_100_SECONDS) as node, a_peer(world, 2) as peer:
        asker = Asker(peer, node)
        await asker.ask(PutValue(KEY, Record(KEY, b"value")), PutValueReply)
        wall.now += 99
        assert (await asker.ask(GetValue(KEY), GetValueReply)).record is not None
        wall.now += 2
        assert (await asker.ask(GetValue(KEY), GetValueReply)).record is None


@pytest.mark.scenario("V8")
async def test_a_clock_that_jumps_backwards_revives_no_record_and_no_provider(world: World, wall: WallClock) -> None:
    lifetimes = RECORDS_LIVE_100_SECONDS | PROVIDERS_LIVE_100_SECONDS
    async with a_node(world, wall, **lifetimes) as node, a_peer(world, 2) as peer:
        asker = Asker(peer, node)
        await asker.ask(PutValue(KEY, Record(KEY, b"value")), PutValueReply)
        await asker.tell(AddProvider(CONTENT, (asker.own,)))
        wall.now += 101
        assert (await asker.ask(GetValue(KEY), GetValueReply)).record is None
        wall.now -= 100
        assert (await asker.ask(GetValue(KEY), GetValueReply)).record is None
        assert (await asker.ask(GetProviders(CONTENT), GetProvidersReply)).providers == ()
        await asker.ask(PutValue(KEY, Record(KEY, b"value")), PutValueReply)
        assert (await asker.ask(GetValue(KEY), GetValueReply)).record is not None


@pytest.mark.scenario("V8")
async def test_the_nodes_own_record_lives_until_it_stops_publishing_it(world: World, wall: WallClock) -> None:
    async with a_node(world, wall, **RECORDS_LIVE_100_SECONDS, allow_zero_peers=True) as node:
        await node.put_value(KEY, b"value")
        wall.now += 1000
        assert await node.get_value(KEY) == b"value"
        assert await node.stop_publishing(KEY)
        with pytest.raises(NoPeers):
            await node.get_value(KEY)
        assert not await node.stop_publishing(KEY)


@pytest.mark.scenario("V14")
async def test_a_record_that_came_with_a_ttl_is_served_with_what_is_left_of_it(world: World, wall: WallClock) -> None:
    async with a_node(world, wall) as node, a_peer(world, 2) as peer:
        asker = Asker(peer, node)
        await asker.ask(PutValue(KEY, Record(KEY, b"value", ttl=100)), PutValueReply)
        wall.now += 40
        record = (await asker.ask(GetValue(KEY), GetValueReply)).record
        assert record is not None
        assert record.ttl == 60


@pytest.mark.scenario("P4")
async def test_what_this_node_provides_does_not_expire(world: World, wall: WallClock) -> None:
    async with a_node(world, wall, allow_zero_peers=True, max_providers_per_key=1) as node, a_peer(world, 2) as peer:
        await node.provide(CONTENT)
        wall.now += 1e9
        asker = Asker(peer, node)
        assert await asker.is_refused(AddProvider(CONTENT, (asker.own,))), "nor does it make room for somebody else"
        assert [info.id for info in await node.local_providers(CONTENT)] == [node.id]


@pytest.mark.scenario("P4")
async def test_a_provider_is_told_for_its_lifetime_and_its_addresses_for_theirs(world: World, wall: WallClock) -> None:
    lifetimes = {**PROVIDERS_LIVE_100_SECONDS, "provider_address_lifetime": 50.0}
    async with a_node(world, wall, **lifetimes) as node, a_peer(world, 3) as reader:
        async with a_peer(world, 2) as peer:
            provider = Asker(peer, node)
            await provider.tell(AddProvider(CONTENT, (provider.own,)))
        # While it is connected it would be told where it is now, however old its announcement.
        asker, own, unknown = Asker(reader, node), provider.own, PeerInfo(provider.own.id)
        for passed, told in ((49, (own,)), (2, (unknown,)), (48, (unknown,)), (2, ())):
            wall.now += passed
            assert (await asker.ask(GetProviders(CONTENT), GetProvidersReply)).providers == told


@pytest.mark.scenario("V8", "P4")
async def test_what_has_expired_is_swept(network: BehaviourNetwork, world: World, wall: WallClock) -> None:
    lifetimes = RECORDS_LIVE_100_SECONDS | PROVIDERS_LIVE_100_SECONDS
    async with a_node(world, wall, expire_interval=0.01, **lifetimes) as node:
        async with a_peer(world, 2) as peer:
            asker = Asker(peer, node)
            await asker.ask(PutValue(KEY, Record(KEY, b"value")), PutValueReply)
            await asker.tell(AddProvider(CONTENT, (asker.own,)))
        wall.now += 101
        await network.until(lambda: node.stats().records == node.stats().providers == 0, "it is swept")


async def test_who_has_gone_is_forgotten_after_a_while(network: BehaviourNetwork, world: World, wall: WallClock) -> None:
    client = {"address_lifetime": 0.05, "expire_interval": 0.01}
    async with a_node(world, wall, **client) as node, a_peer(world, 2, knows_nobody) as other:
        async with a_peer(world, 3) as peer:
            await peer.set_server(False)
            await peer.connect(PeerInfo(node.id, world.hosts[node.id].addresses), trio.current_time() + 1)
            await trio.sleep(0.1)
            assert (await node.find_peer(peer.id)).addresses == (address(3),), "while it is connected it is known"
        await node.connect(PeerInfo(other.id, other.local_addresses()))
        await node.wait_ready()
        await trio.sleep(0.1)
        with pytest.raises(NotFound):
            await node.ping(peer.id)


async def test_a_bootstrap_peer_is_never_forgotten(world: World, wall: WallClock) -> None:
    dead = f"{address(9)}/p2p/{peer_id(9)}"
    async with a_node(world, wall, bootstrap=(dead,), address_lifetime=0.01, expire_interval=0.01) as node:
        await trio.sleep(0.05)
        with pytest.raises(PeerUnreachable):  # it is dialled; of whom nothing is known would be looked for
            await node.ping(peer_id(9))


# How much is kept and told


async def test_stores_are_bounded(world: World, wall: WallClock) -> None:
    bounds = {"max_records": 3, "max_provider_keys": 3, "max_providers_per_key": 2}
    async with a_node(world, wall, **bounds) as node:
        for number in range(2, 8):
            async with a_peer(world, number) as peer:
                asker = Asker(peer, node)
                await asker.is_refused(PutValue(b"/v/%d" % number, Record(b"/v/%d" % number, b"value")))
                await asker.is_refused(AddProvider(CONTENT, (asker.own,)))
                await asker.is_refused(AddProvider(b"\x12\x20" + sha256(b"%d" % number).digest(), (asker.own,)))
        stats = node.stats()
        assert (stats.records, stats.provider_keys) == (3, 3)
        assert stats.providers <= 4


async def test_providers_of_one_key_are_bounded(world: World, wall: WallClock) -> None:
    async with a_node(world, wall, max_providers_per_key=2) as node:
        for number in range(2, 6):
            async with a_peer(world, number) as peer:
                asker = Asker(peer, node)
                await asker.tell(AddProvider(CONTENT, (asker.own,)))
        assert len(await node.local_providers(CONTENT)) == 2


@pytest.mark.scenario("V10")
async def test_public_keys_need_no_validator_of_ones_own(world: World, wall: WallClock) -> None:
    identity = Identity.generate()
    async with a_node(world, wall, allow_zero_peers=True) as node:
        key = b"/pk/" + identity.id
        await node.put_value(key, identity.public_key.to_protobuf())
        with pytest.raises(InvalidRecord):
            await node.put_value(key, Identity.generate().public_key.to_protobuf())


async def test_stores_are_bounded_in_bytes(world: World, wall: WallClock) -> None:
    async with a_node(world, wall, max_store_bytes=1 << 20) as node, a_peer(world, 2) as peer:
        for number in range(5):
            key = b"/v/%d" % number
            await Asker(peer, node).is_refused(PutValue(key, Record(key, b"x" * 300_000)))
        assert 0 < node.stats().store_bytes <= 1 << 20


@pytest.mark.scenario("W6")
async def test_no_reply_is_longer_than_max_reply(network: BehaviourNetwork, world: World) -> None:
    for options, within in (({}, False), ({"max_reply": 1024}, True)):
        (node,) = await network.start(bootstrap=(), k=40, bucket_size=40, **options)
        for _ in range(40):
            peer = await network.start_peer(knows_nobody)
            await node.connect(PeerInfo(peer.id, peer.local_addresses()))
        await node.wait_ready(peers=40, timeout=10)
        asker = Asker(await network.start_peer(nothing), node)
        reply = await asker.ask(FindNode(b"key"), FindNodeReply)
        assert (encoded_size(reply) <= 1024) == within
        assert reply.closer


async def test_results_are_cut_to_the_count_that_was_asked_for(network: BehaviourNetwork) -> None:
    nodes = await network.start(5)
    for node in nodes[1:]:
        await node.provide(CONTENT)
    assert len(await nodes[0].find_providers(CONTENT, count=2)) == 2
    assert len(await nodes[0].find_providers(CONTENT, count=None)) == 4
    nearest = await nodes[0].closest_peers(b"key")
    assert list(await nodes[0].closest_peers(b"key", count=2)) == list(nearest)[:2]


# Which addresses are told and believed


async def test_private_addresses_are_nothing_to_a_node_of_the_internet(world: World, wall: WallClock) -> None:
    async with a_node(world, wall, scope="wan") as node, a_peer(world, 2) as peer, a_peer(world, 3, knows_nobody) as other:
        asker = Asker(peer, node)
        await node.connect(PeerInfo(other.id, other.local_addresses()))
        await node.wait_ready(timeout=5)
        assert node.routing_table() == (PeerInfo(other.id, other.local_addresses()),), "known, as we were told by our user"
        assert (await asker.ask(FindNode(bytes(other.id)), FindNodeReply)).closer == ()
        assert await asker.is_refused(AddProvider(CONTENT, (asker.own,)))
        await asker.tell(AddProvider(CONTENT, (PeerInfo(asker.own.id, (*asker.own.addresses, FAR_AWAY)),)))
        (provider,) = await node.local_providers(CONTENT)
        assert provider.addresses == (FAR_AWAY,)


async def test_what_a_peer_tells_is_believed_as_far_as_it_is_near(world: World, wall: WallClock) -> None:
    """The peers here are on a private network: none of them can know where something is on our own machine."""
    told = PeerInfo(peer_id(77), (ON_LOOPBACK, FAR_AWAY))
    on_loopback = PeerInfo(peer_id(78), (ON_LOOPBACK,))

    async def tells(request: Request) -> AnyReply:
        if isinstance(request.message, GetProviders):
            return GetProvidersReply(request.message.key, (told, on_loopback), (told, on_loopback))
        return FindNodeReply(())

    async with a_node(world, wall) as node, a_peer(world, 2, tells) as peer:
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
        await node.wait_ready()
        found = await node.find_providers(CONTENT)
        assert list(found) == [PeerInfo(told.id, (FAR_AWAY,)), PeerInfo(on_loopback.id)]
        assert found.asked == 2, "the one that has only an address on our own machine is not asked"


async def test_peers_are_told_what_they_can_use_of_the_own_addresses(world: World, wall: WallClock) -> None:
    announced: list[AddProvider] = []

    async def listens(request: Request) -> AnyReply | None:
        if isinstance(request.message, AddProvider):
            announced.append(request.message)
            return None
        return FindNodeReply(())

    async with a_node(world, wall) as node, a_peer(world, 2, listens) as peer:
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
        await node.wait_ready()
        world.hosts[node.id].addresses = (address(1), ON_LOOPBACK)
        await node.provide(CONTENT)
    assert announced == [AddProvider(CONTENT, (PeerInfo(node.id, (address(1),)),))]


@pytest.mark.scenario("L7")
@pytest.mark.parametrize(("most", "in_table"), [(2, 2), (9, 5)])
async def test_of_one_public_network_a_few_enter_the_table(
    network: BehaviourNetwork, world: World, wall: WallClock, most: int, in_table: int
) -> None:
    options = {"max_peers_per_group": most, "max_peers_per_group_and_bucket": 9}
    async with a_node(world, wall, **options) as node, AsyncExitStack() as stack:
        for number in range(2, 7):
            peer = await stack.enter_async_context(a_peer(world, number, knows_nobody, public=True))
            await node.connect(PeerInfo(peer.id, peer.local_addresses()))
        await trio.sleep(0.1)
        assert node.stats().table == in_table


@pytest.mark.scenario("L7")
async def test_of_one_public_network_fewer_enter_a_bucket(world: World, wall: WallClock) -> None:
    async with (
        a_node(world, wall, max_peers_per_group=9, max_peers_per_group_and_bucket=1) as node,
        AsyncExitStack() as stack,
    ):
        for number in range(2, 10):
            peer = await stack.enter_async_context(a_peer(world, number, knows_nobody, public=True))
            await node.connect(PeerInfo(peer.id, peer.local_addresses()))
        await trio.sleep(0.1)
        assert set(node.stats().buckets.values()) == {1}


async def test_its_own_entry_among_providers_has_the_addresses_of_now(world: World, wall: WallClock) -> None:
    async with a_node(world, wall, allow_zero_peers=True) as node:
        await node.provide(CONTENT)
        world.hosts[node.id].addresses = (address(5),)
        assert list(await node.find_providers(CONTENT)) == [PeerInfo(node.id, (address(5),))]


# Time and connections


async def test_who_is_in_the_table_can_be_dialled_however_long_ago_it_was_heard_of(world: World, wall: WallClock) -> None:
    async with a_node(world, wall, address_lifetime=0.05, expire_interval=0.01) as node, a_peer(world, 2, knows_nobody) as peer:
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
        await node.wait_ready()
        await trio.sleep(0.02)
        await peer.disconnect(node.id)
        await trio.sleep(0.1)
        assert list(await node.closest_peers(b"key")) == [PeerInfo(peer.id, (address(2),))]


@pytest.mark.scenario("L8")
async def test_who_waited_for_a_place_gets_it_when_one_is_free(
    network: BehaviourNetwork, world: World, wall: WallClock
) -> None:
    own = SHA256.key(peer_id(1))
    one, two = [number for number in range(2, 40) if SHA256.common_prefix(own, SHA256.key(peer_id(number))) == 0][:2]
    async with a_node(world, wall, bucket_size=1) as node, a_peer(world, one, knows_nobody) as first:
        await node.connect(PeerInfo(first.id, first.local_addresses()))
        await node.wait_ready()
        async with a_peer(world, two, knows_nobody) as second:
            await node.connect(PeerInfo(second.id, second.local_addresses()))
            await trio.sleep(0.1)
            assert [info.id for info in node.routing_table()] == [first.id], "who has been there for long stays"
            await first.set_server(False)
            await network.until(lambda: [info.id for info in node.routing_table()] == [second.id], "it has the place")


async def test_of_the_time_for_a_put_some_is_left_to_store(network: BehaviourNetwork) -> None:
    (node,) = await network.start(late_after=60.0, request_timeout=60.0)

    async def silent_but_to_be_known(request: Request) -> AnyReply:
        if request.message != FindNode(bytes(silent.id)):
            await trio.sleep_forever()
        return FindNodeReply(())

    async def takes_its_time(request: Request) -> AnyReply:
        await trio.lowlevel.checkpoint()
        return await knows_nobody(request)

    silent = await network.start_peer(silent_but_to_be_known)
    other = await network.start_peer(takes_its_time)
    for peer in (silent, other):
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await node.wait_ready(peers=2, timeout=10)
    assert (await node.put_value(KEY, b"value", timeout=0.6)).stored == (node.id, other.id)


async def test_the_table_is_refreshed_at_its_interval(network: BehaviourNetwork, asked: list[Asked]) -> None:
    first, node = await network.start(2, refresh_interval=0.02)
    own = (node.id, first.id, FindNode(bytes(node.id)))
    before = asked.count(own)
    await network.until(lambda: asked.count(own) >= before + 3, "it looks for itself again and again")


@pytest.mark.scenario("F4")
async def test_a_connected_peer_is_found_without_asking_anybody(
    network: BehaviourNetwork, world: World, asked: list[Asked]
) -> None:
    nodes = await network.start(3)
    await trio.sleep(0.1)
    before = len(asked)
    assert (await nodes[2].find_peer(nodes[0].id)).addresses == world.hosts[nodes[0].id].addresses
    assert len(asked) == before


@pytest.mark.scenario("L18")
async def test_the_network_knows_which_connections_matter(network: BehaviourNetwork, world: World) -> None:
    nodes = await network.start(4)
    own = SHA256.key(peer_id(5))
    nearest, *others, bootstrap = sorted(nodes, key=lambda each: SHA256.key(each.id) ^ own)
    (node,) = await network.start(k=1, bootstrap=bootstrap.addresses)
    assert node.id == peer_id(5)
    for each in nodes:
        await node.connect(each.addresses[0])
    usefulness = world.hosts[node.id].networks[0].usefulness
    await network.until(lambda: node.stats().table == 4, "all are known")
    assert usefulness(bootstrap.id) is usefulness(nearest.id) is Usefulness.PROTECTED
    assert {usefulness(each.id) for each in others} == {Usefulness.IN_TABLE}
    assert usefulness(peer_id(999)) is Usefulness.NONE
