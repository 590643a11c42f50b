"""What a caller can rely on after a put or a provide: whom the receipt names, and what is an error instead."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress

import pytest
import trio

from p2pkad import content_key
from p2pkad.core.messages import AddProvider, AnyReply, FindNode, FindNodeReply, PutValue, PutValueReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import LocalLimit, NoPeers, QuorumNotMet, RemoteProtocolError
from p2pkad.net.base import MAX_STREAMS, Request
from p2pkad.node.results import ProvideReceipt
from p2pkad.node.service import KademliaService
from tests.behaviour.conftest import PATIENCE, BehaviourNetwork

pytestmark = pytest.mark.scenario("P10")

KEY = b"/v/key"
CONTENT = content_key(b"content")


class Village:
    """Peers that serve as they are told. answers_in: seconds that each FIND_NODE takes.

    mute: who leaves FIND_NODE unanswered, but for admission checks; silent: the same for what is to be stored; refusing: who
    refuses that.
    """

    def __init__(self) -> None:
        self.ids: list[PeerId] = []
        self.answers_in = 0.0
        self.mute: Collection[PeerId] = ()
        self.silent: Collection[PeerId] = ()
        self.refusing: Collection[PeerId] = ()

    async def join(self, network: BehaviourNetwork, count: int, node: KademliaService) -> None:
        for _ in range(count):
            own: list[PeerId] = []

            async def handler(request: Request, own: list[PeerId] = own) -> AnyReply | None:
                return await self._answer(own[0], request)

            peer = await network.start_peer(handler)
            own.append(peer.id)
            self.ids.append(peer.id)
            await node.connect(PeerInfo(peer.id, peer.local_addresses()), timeout=PATIENCE)
        await node.wait_ready(peers=count, timeout=PATIENCE)

    async def _answer(self, own: PeerId, request: Request) -> AnyReply | None:
        match request.message:
            case FindNode(key):
                if key != own:
                    await trio.sleep(float("inf") if own in self.mute else self.answers_in)
                return FindNodeReply(())
            case AddProvider() | PutValue() as message:
                if own in self.silent:
                    await trio.sleep_forever()
                if own in self.refusing:
                    raise RemoteProtocolError("no")
                return PutValueReply(message.key, message.record) if isinstance(message, PutValue) else None
        raise RemoteProtocolError("not here")


async def in_a_village(network: BehaviourNetwork, count: int, **options: object) -> tuple[KademliaService, Village]:
    """A node that knows so many peers, and nothing under way."""
    node, village = await network.start_one(refresh_interval=1e6, **options), Village()
    await village.join(network, count, node)
    await trio.sleep(20)
    return node, village


async def provide_all(node: KademliaService, count: int) -> dict[bytes, ProvideReceipt]:
    """So many at once; those that this node had no turn for are left out."""
    receipts: dict[bytes, ProvideReceipt] = {}

    async def provide(key: bytes) -> None:
        with suppress(LocalLimit):
            receipts[key] = await node.provide(key)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(provide, content_key(b"%d" % number))
    return receipts


async def is_due_soon(node: KademliaService) -> bool:
    return await node._store.next_due() < time.time() + 3600


@pytest.mark.on_real_hosts_only
async def test_of_many_announcements_at_once_each_is_where_its_receipt_says(network: BehaviourNetwork) -> None:
    servers = {server.id: server for server in await network.start(5)}
    (node,) = await network.start()
    receipts = await provide_all(node, 100)
    assert receipts
    for key, receipt in receipts.items():
        assert receipt.sent
        for peer in receipt.sent:
            assert node.id in {info.id for info in await servers[peer].local_providers(key)}


async def test_a_peer_is_not_late_that_waits_for_turns_of_this_node(network: BehaviourNetwork) -> None:
    node, village = await in_a_village(network, 5, late_after=2.0, request_timeout=10.0)
    village.answers_in = 1.0
    receipts = await provide_all(node, 3 * MAX_STREAMS)
    assert len(receipts) == 3 * MAX_STREAMS
    for receipt in receipts.values():
        assert set(receipt.sent) == set(village.ids)


@pytest.mark.on_real_hosts_too
async def test_an_announcement_that_all_refuse_is_an_error_with_its_receipt(network: BehaviourNetwork) -> None:
    (node,), village = await network.start(), Village()
    await village.join(network, 3, node)
    village.refusing = village.ids
    with pytest.raises(QuorumNotMet, match=r"none of 3 peers \(3 refused, 0 unreachable\)") as caught:
        await node.provide(CONTENT)
    receipt = caught.value.receipt
    assert isinstance(receipt, ProvideReceipt)
    assert (receipt.sent, set(receipt.refused)) == ((), set(village.ids))
    village.refusing = ()
    assert set((await node.provide(CONTENT)).sent) == set(village.ids)


async def test_an_announcement_that_reaches_nobody_is_an_error_and_made_again_soon(network: BehaviourNetwork) -> None:
    node, village = await in_a_village(network, 3)
    village.silent = village.ids
    with pytest.raises(QuorumNotMet, match=r"none of 3 peers \(0 refused, 3 unreachable\)"):
        await node.provide(CONTENT)
    assert await is_due_soon(node)


@pytest.mark.parametrize("kind", ["record", "provider"])
async def test_when_nobody_answers_the_lookup_there_is_nobody_to_tell(network: BehaviourNetwork, kind: str) -> None:
    node, village = await in_a_village(network, 3)
    village.mute = village.ids
    with pytest.raises(NoPeers, match="none of the 3 peers asked for its place answered") as caught:
        await (node.put_value(KEY, b"value") if kind == "record" else node.provide(CONTENT))
    assert caught.value.asked == 3


async def test_who_may_be_alone_may_be_so_among_peers_that_do_not_answer(network: BehaviourNetwork) -> None:
    node, village = await in_a_village(network, 3, allow_zero_peers=True)
    village.mute = village.ids
    assert (await node.provide(CONTENT)).sent == ()
    assert (await node.put_value(KEY, b"value")).stored == (node.id,)


async def test_a_put_that_all_refuse_is_none_because_the_own_copy_counts(network: BehaviourNetwork) -> None:
    node, village = await in_a_village(network, 3)
    village.refusing = village.ids
    receipt = await node.put_value(KEY, b"value")
    assert (receipt.stored, set(receipt.refused)) == ((node.id,), set(village.ids))
    with pytest.raises(QuorumNotMet) as caught:
        await node.put_value(KEY, b"value", min_stored=2)
    assert caught.value.receipt == receipt


@pytest.mark.parametrize("kind", ["record", "provider"])
@pytest.mark.parametrize(("mute", "soon"), [(4, True), (2, False)])
async def test_what_few_of_those_hold_who_should_is_published_again_soon(
    network: BehaviourNetwork, kind: str, mute: int, soon: bool
) -> None:
    node, village = await in_a_village(network, 5)
    village.mute = village.ids[:mute]
    if kind == "record":
        receipt = await node.put_value(KEY, b"value")
        assert len(receipt.stored) == 1 + 5 - mute
    else:
        assert len((await node.provide(CONTENT)).sent) == 5 - mute
    assert await is_due_soon(node) == soon


async def test_a_turn_that_comes_too_late_for_any_answer_is_none(network: BehaviourNetwork) -> None:
    node, village = await in_a_village(network, 1, max_lookups=1)
    village.answers_in = 1.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.closest_peers, b"first")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LocalLimit, match="lookups"):
            await node.closest_peers(b"second", timeout=1.2)
