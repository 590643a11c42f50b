"""Putting and providing: who holds it in the end, and whether the receipt says so."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
import trio

from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import (
    AddProvider,
    AnyReply,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    PutValue,
    PutValueReply,
)
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import QuorumNotMet, RemoteProtocolError, StoreFailed
from p2pkad.net.base import Handler, Network, Request
from p2pkad.node.cycle import RETRY
from p2pkad.node.results import PutReceipt
from p2pkad.node.service import KademliaService
from tests.behaviour.conftest import PATIENCE, BehaviourNetwork
from tests.support.worlds import address

KEY = b"/v/key"
CONTENT = b"\x12\x20" + sha256(b"content").digest()


class Crowd:
    """Peers made by hand that all know each other. They serve the protocol, each in the way that it is told.

    near: all of them, the nearest to `key` first. silent: who falls silent as soon as something is put or announced;
    forgetful: who takes announcements and forgets them at once; refusing: who refuses them. open: until it is set, records are
    taken and nobody says so.
    """

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.near: list[PeerInfo] = []
        self.silent: set[PeerId] = set()
        self.forgetful: set[PeerId] = set()
        self.refusing: set[PeerId] = set()
        self.open = trio.Event()
        self.open.set()
        self.stored: dict[PeerId, tuple[PeerInfo, ...]] = {}

    async def join(self, network: BehaviourNetwork, count: int, node: KademliaService) -> None:
        """So many peers, all of them known to `node`."""
        for _ in range(count):
            own: list[Network] = []

            async def handler(request: Request, own: list[Network] = own) -> AnyReply | None:
                return await self.answer(own[0].id, request)

            peer = await network.start_peer(handler)
            own.append(peer)
            self.near.append(PeerInfo(peer.id, peer.local_addresses()))
        self.near.sort(key=lambda info: SHA256.key(info.id) ^ SHA256.key(self.key))
        for info in self.near:
            await node.connect(info, timeout=PATIENCE)
        await node.wait_ready(peers=count, timeout=PATIENCE)

    async def answer(self, own: PeerId, request: Request) -> AnyReply | None:
        if own in self.silent and not isinstance(request.message, FindNode):
            await trio.sleep_forever()
        match request.message:
            case FindNode():
                return FindNodeReply(tuple(self.near))
            case PutValue(key, record):
                self.stored[own] = ()
                await self.open.wait()
                return PutValueReply(key, record)
            case AddProvider(providers=providers):
                if own in self.refusing:
                    raise RemoteProtocolError("no")
                if own not in self.forgetful:
                    self.stored[own] = providers
                return None
            case GetProviders(key):
                return GetProvidersReply(key, self.stored.get(own, ()), ())
        raise RemoteProtocolError("not here")

    def ids(self, *places: int) -> tuple[PeerId, ...]:
        return tuple(self.near[place].id for place in places)


@pytest.mark.on_real_hosts_too
@pytest.mark.scenario("V13")
async def test_those_that_fail_during_a_put_are_replaced_and_the_receipt_names_exactly_the_live_holders(
    network: BehaviourNetwork,
) -> None:
    (node,) = await network.start(k=4, request_timeout=0.5)
    crowd = Crowd(KEY)
    await crowd.join(network, 9, node)
    crowd.silent.update(crowd.ids(0, 2, 4))
    receipt = await node.put_value(KEY, b"value")
    assert receipt.stored == (node.id, *crowd.ids(1, 3, 5, 6))
    assert set(crowd.stored) == {*crowd.ids(1, 3, 5, 6)}
    assert receipt.unreachable == crowd.ids(0, 2, 4)
    assert receipt.refused == ()


@pytest.mark.scenario("V13")
async def test_with_nobody_left_the_receipt_is_true_all_the_same(network: BehaviourNetwork) -> None:
    (node,) = await network.start(k=3, request_timeout=0.2)
    crowd = Crowd(KEY)
    await crowd.join(network, 3, node)
    crowd.silent.update(crowd.ids(0, 1))
    receipt = await node.put_value(KEY, b"value")
    assert receipt.stored == (node.id, *crowd.ids(2))
    assert receipt.unreachable == crowd.ids(0, 1)


@pytest.mark.scenario("V13")
async def test_the_own_copy_counts_among_those_that_have_to_store_it(network: BehaviourNetwork) -> None:
    (node,) = await network.start(allow_zero_peers=True)
    assert (await node.put_value(KEY, b"value", min_stored=1)).stored == (node.id,)
    with pytest.raises(QuorumNotMet, match="stored by 1 of 2") as caught:
        await node.put_value(KEY, b"value", min_stored=2)
    assert caught.value.receipt == PutReceipt(key=KEY, stored=(node.id,))


@pytest.mark.on_real_hosts_too
@pytest.mark.scenario("P8")
async def test_a_confirmed_receipt_names_who_really_serves_the_record(network: BehaviourNetwork) -> None:
    (node,) = await network.start(k=5, request_timeout=0.5)
    crowd = Crowd(CONTENT)
    await crowd.join(network, 7, node)
    crowd.silent.update(crowd.ids(0))
    crowd.forgetful.update(crowd.ids(1))
    crowd.refusing.update(crowd.ids(2))
    receipt = await node.provide(CONTENT, confirm=True)
    assert receipt.confirmed == crowd.ids(3, 4, 5)
    assert receipt.unknown == crowd.ids(1)
    assert set(receipt.sent) == {*receipt.confirmed, *receipt.unknown}
    assert receipt.refused == crowd.ids(2)
    assert receipt.unreachable == crowd.ids(0)
    assert {peer.id for providers in crowd.stored.values() for peer in providers} == {node.id}


@pytest.mark.scenario("P8")
async def test_without_a_confirmation_a_receipt_says_only_what_was_sent(network: BehaviourNetwork) -> None:
    (node,) = await network.start(k=5)
    crowd = Crowd(CONTENT)
    await crowd.join(network, 5, node)
    crowd.forgetful.update(crowd.ids(1))
    receipt = await node.provide(CONTENT)
    assert (receipt.sent, receipt.confirmed, receipt.unknown) == (crowd.ids(0, 1, 2, 3, 4), (), ())


@pytest.mark.on_real_hosts_only
@pytest.mark.scenario("P8")
async def test_what_was_confirmed_outlives_a_node_that_closes_at_once(network: BehaviourNetwork) -> None:
    holders = await network.start(3)
    (node,) = await network.start()
    receipt = await node.provide(CONTENT, confirm=True)
    provider = node.id
    await network.stop(node)
    assert set(receipt.confirmed) == {holder.id for holder in holders}
    for holder in holders:
        assert provider in [info.id for info in await holder.find_providers(CONTENT, count=1)]


def who_tells(providers: Sequence[PeerInfo], peers: Sequence[PeerInfo] = ()) -> Handler:
    """A peer that tells these providers whoever asks, and of these peers the one that is asked for by its id."""

    async def handler(request: Request) -> AnyReply:
        match request.message:
            case GetProviders(key):
                return GetProvidersReply(key, tuple(providers), ())
            case FindNode(key):
                return FindNodeReply(tuple(peer for peer in peers if peer.id == key))
        raise RemoteProtocolError("not here")

    return handler


async def meet(network: BehaviourNetwork, node: KademliaService, handlers: Sequence[Handler]) -> list[PeerInfo]:
    """Peers with these handlers, which `node` gets to know."""
    peers = [await network.start_peer(handler) for handler in handlers]
    infos = [PeerInfo(peer.id, peer.local_addresses()) for peer in peers]
    for info in infos:
        await node.connect(info)
    await node.wait_ready(peers=len(infos), timeout=10)
    return infos


@pytest.mark.scenario("P5")
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_provider_whose_addresses_nobody_tells_is_looked_up(network: BehaviourNetwork, streaming: bool) -> None:
    (node,) = await network.start()
    made = await network.start_peer(who_tells([]))
    provider = PeerInfo(made.id, made.local_addresses())
    unknown = PeerInfo(PeerId(b"\x12\x20" + bytes(32)))
    await meet(network, node, [who_tells([PeerInfo(provider.id), unknown], [provider])])
    if streaming:
        async with node.stream_providers(CONTENT) as providers:
            found = {info async for info in providers}
    else:
        found = set(await node.find_providers(CONTENT))
    assert found == {provider, unknown}, "the id alone is an answer, too"


@pytest.mark.scenario("P3")
async def test_all_providers_are_those_that_any_of_the_holders_tells_each_once(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    everybody = [PeerInfo(PeerId(b"\x12\x20" + bytes([number] * 32)), (address(number),)) for number in range(1, 7)]
    await meet(network, node, [who_tells(everybody[:3]), who_tells(everybody[2:5]), who_tells(everybody[4:])])
    found = await node.find_providers(CONTENT, count=None)
    assert sorted(info.id for info in found) == sorted(info.id for info in everybody)
    assert len(await node.find_providers(CONTENT, count=4)) == 4


@pytest.mark.scenario("P8")
async def test_who_has_no_address_for_its_peers_is_told_so(network: BehaviourNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    (node,) = await network.start(k=3)
    crowd = Crowd(CONTENT)
    await crowd.join(network, 3, node)
    monkeypatch.setattr(node._membership, "believed", lambda addresses, via: ())
    with pytest.raises(QuorumNotMet, match="3 refused, 3 of them because no address of this node leads to it"):
        await node.provide(CONTENT)


@pytest.mark.scenario("H5")
async def test_the_time_of_a_call_is_that_of_the_store_too(network: BehaviourNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    node = await network.start_one(bootstrap=())

    async def hang(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(node._store, "update", hang)
    monkeypatch.setattr(node._store, "add_provider", hang)
    for seconds in (3, 0):
        for call in (node.put_value(KEY, b"value", timeout=seconds), node.provide(CONTENT, timeout=seconds)):
            began = trio.current_time()
            with pytest.raises(StoreFailed, match=f"more than {seconds} s"):
                await call
            assert trio.current_time() - began == pytest.approx(seconds)


@pytest.mark.scenario("H5")
async def test_that_it_was_published_is_noted_within_a_second_or_later(
    network: BehaviourNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = await network.start(2)

    async def hang(*_: object) -> bool:
        await trio.sleep_forever()

    monkeypatch.setattr(node._store, "set_due", hang)
    began = trio.current_time()
    assert len((await node.put_value(KEY, b"value")).stored) == 2
    assert trio.current_time() - began < 2


@pytest.mark.scenario("V12", "V13")
@pytest.mark.parametrize("newer", [b"2", None])
async def test_what_replaced_a_record_while_it_was_put_is_published_in_its_own_time(
    network: BehaviourNetwork, newer: bytes | None
) -> None:
    """By its own call, or nobody: None stands for a record that is withdrawn."""
    (node,) = await network.start(k=3)
    crowd = Crowd(KEY)
    await crowd.join(network, 3, node)
    crowd.open = trio.Event()
    receipts: list[PutReceipt] = []

    async def put() -> None:
        receipts.append(await node.put_value(KEY, b"1"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        await network.until(lambda: len(crowd.stored) == 3, "the first record has reached everybody")
        if newer is None:
            await node.stop_publishing(KEY)
        else:
            with trio.move_on_after(0.1):
                await node.put_value(KEY, newer)
        crowd.open.set()
    (receipt,) = receipts
    assert set(receipt.stored) == {info.id for info in crowd.near}, "the node itself does not hold it any more"
    assert node.stats().published == (newer is not None)
    assert newer is None or await node._store.next_due() <= node._clock.wall() + RETRY
