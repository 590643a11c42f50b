"""What one peer may take of a node, and that others notice little of one that takes all it can."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import pytest
import trio

from p2pkad.core.messages import (
    AddProvider,
    AnyReply,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    Ping,
    PingReply,
    PutValue,
)
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import LocalLimit
from p2pkad.events import LimitReached, LookupStarted, PeerEvicted
from p2pkad.net.base import Request
from p2pkad.node.limits import LONGEST_WAIT
from p2pkad.node.service import KademliaService
from tests.behaviour.conftest import LATENCY, BehaviourNetwork
from tests.behaviour.test_membership import table
from tests.behaviour.test_serving import Asker, nothing, put

pytestmark = pytest.mark.scenario("H4")


async def a_server(network: BehaviourNetwork, **options: object) -> tuple[KademliaService, list[LimitReached], Asker, Asker]:
    """A server, what it tells of its limits, and two peers that use it."""
    node = await network.start_one(**options)
    reached: list[LimitReached] = []
    node.subscribe(reached.append, LimitReached)
    one, other = [Asker(await network.start_peer(nothing), node) for _ in range(2)]
    return node, reached, one, other


def limits(reached: list[LimitReached]) -> Counter[tuple[str, PeerId | None]]:
    """What ran out, for whom, how often."""
    return Counter((event.limit, event.peer) for event in reached)


def content(number: int) -> bytes:
    """A multihash."""
    return b"\x12\x20" + sha256(b"%d" % number).digest()


def record(number: int, value: bytes = b"value") -> PutValue:
    """Of a key of its own."""
    key = b"/v/%d" % number
    return put(value, key=key, inside=key)


# requests


async def test_who_asks_too_often_is_answered_later_then_reset_and_others_at_once(network: BehaviourNetwork) -> None:
    burst, rate = 10, 20.0
    _, reached, flood, other = await a_server(network, max_requests_per_peer=burst, request_rate_per_peer=rate)
    answered: list[float] = []

    async def ask() -> None:
        if not await flood.is_refused(FindNode(b"key")):
            answered.append(trio.current_time())

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
        await trio.sleep(0.2)
        now = trio.current_time()
        await other.ask(FindNode(b"key"), FindNodeReply)
        assert trio.current_time() - now < 10 * LATENCY, "the flood is no matter to others"
    late = [at for at in answered if at - began > 10 * LATENCY]
    assert len(answered) - len(late) == burst
    assert len(late) == pytest.approx(rate * LONGEST_WAIT, abs=1)
    assert limits(reached) == {("requests_per_peer", flood.own.id): 40}
    await trio.sleep(burst / rate + LONGEST_WAIT)
    assert not await flood.is_refused(FindNode(b"key")), "and it is forgiven"


async def test_who_waits_for_answers_is_slowed_down_and_never_reset(network: BehaviourNetwork) -> None:
    _, _, busy, _ = await a_server(network, max_requests_per_peer=10, request_rate_per_peer=50.0)
    began = trio.current_time()
    for _ in range(110):
        await busy.ask(Ping(), PingReply)
    assert trio.current_time() - began == pytest.approx(2.0, rel=0.1)


# stored


async def test_a_peer_has_so_many_records_stored_and_others_theirs(network: BehaviourNetwork) -> None:
    node, reached, flood, other = await a_server(network, max_stored_per_peer=6, stored_refill=60.0)
    for number in range(3):
        assert not await flood.is_refused(record(number))
        assert not await flood.is_refused(AddProvider(content(number), (flood.own,)))
    assert await flood.is_refused(record(3))
    assert await flood.is_refused(AddProvider(content(3), (flood.own,)))
    assert limits(reached) == {("stored_per_peer", flood.own.id): 2}
    assert not await other.is_refused(record(3))
    assert not await other.is_refused(AddProvider(content(3), (other.own,)))
    await trio.sleep(10.0)
    assert not await flood.is_refused(record(4))
    assert await flood.is_refused(record(5))
    assert (node.stats().records, node.stats().providers) == (5, 4)


async def test_what_is_here_already_costs_a_peer_nothing(network: BehaviourNetwork) -> None:
    node, reached, peer, _ = await a_server(network, max_stored_per_peer=2, max_updates_per_key=1, max_updates_per_publisher=1)
    for _ in range(20):
        assert not await peer.is_refused(record(1))
        assert not await peer.is_refused(AddProvider(content(1), (peer.own,)))
    assert (node.stats().records, node.stats().providers) == (1, 1)
    assert not reached


async def test_a_peer_has_so_many_bytes_stored(network: BehaviourNetwork) -> None:
    node, reached, flood, other = await a_server(network, max_stored_bytes_per_peer=4096)
    for number in range(4):
        assert not await flood.is_refused(record(number, b"v" * 1000))
    assert await flood.is_refused(record(4, b"v" * 1000))
    assert not await other.is_refused(record(4, b"v" * 1000))
    assert limits(reached) == {("stored_bytes_per_peer", flood.own.id): 1}
    assert node.stats().records == 5


async def test_a_record_that_grows_costs_what_it_grows_by(network: BehaviourNetwork) -> None:
    _, reached, peer, _ = await a_server(network, max_stored_bytes_per_peer=4096)
    for size in range(1000, 4000, 100):
        assert not await peer.is_refused(record(1, b"v" * size))
    assert await peer.is_refused(record(1, b"w" * 8000))
    assert limits(reached) == {("stored_bytes_per_peer", peer.own.id): 1}


async def test_addresses_of_providers_are_bytes_too(network: BehaviourNetwork) -> None:
    _, reached, flood, _ = await a_server(network, max_stored_bytes_per_peer=1024)
    stored = 0
    while not await flood.is_refused(AddProvider(content(stored), (flood.own,))):
        stored += 1
    assert stored < 1024 / 60
    assert limits(reached) == {("stored_bytes_per_peer", flood.own.id): 1}


async def test_a_store_that_is_full_is_a_limit_like_others(network: BehaviourNetwork) -> None:
    _, reached, peer, _ = await a_server(network, max_records=1)
    refused = sum([await peer.is_refused(record(number)) for number in range(20)])
    assert refused
    assert limits(reached) == {("store", peer.own.id): refused}


# providers of a key


@pytest.mark.scenario("P3")
async def test_one_peer_takes_one_of_the_places_of_a_key_however_often_it_comes(network: BehaviourNetwork) -> None:
    node, _, flood, other = await a_server(network, max_providers_per_key=2)
    await other.tell(AddProvider(content(1), (other.own,)))
    for _ in range(100):
        assert not await flood.is_refused(AddProvider(content(1), (flood.own, PeerInfo(node.id, flood.own.addresses))))
    reply = await other.ask(GetProviders(content(1)), GetProvidersReply)
    assert {info.id for info in reply.providers} == {flood.own.id, other.own.id}


# updates


async def test_the_record_of_a_key_changes_only_so_often(network: BehaviourNetwork) -> None:
    node, reached, one, other = await a_server(network, max_updates_per_key=3, update_refill=30.0)
    for value in (b"a", b"b", b"c", b"d"):
        assert not await one.is_refused(record(1, value))
    assert await other.is_refused(record(1, b"e")), "whoever sends it"
    assert not await other.is_refused(record(1, b"d"))
    assert not await other.is_refused(record(2, b"e"))
    assert limits(reached) == {("updates_per_key", other.own.id): 1}
    await trio.sleep(10.0)
    assert not await one.is_refused(record(1, b"e"))
    assert await one.is_refused(record(1, b"f"))
    assert await node.local_value(b"/v/1") == b"e"


async def test_what_is_refused_for_other_reasons_uses_nobodys_updates_up(network: BehaviourNetwork) -> None:
    _, reached, one, other = await a_server(network, max_updates_per_key=1, max_updates_per_publisher=1)
    assert not await one.is_refused(record(1, b"m"))
    for _ in range(10):
        assert await other.is_refused(record(1, b"a")), "it is worse"
    assert not reached
    assert not await one.is_refused(record(1, b"n"))


async def test_a_publisher_changes_its_records_only_so_often(network: BehaviourNetwork) -> None:
    _, reached, one, other = await a_server(network, max_updates_per_publisher=3, update_refill=30.0)
    for number in range(5):
        assert not await one.is_refused(record(number, b"a"))
    refused = [await one.is_refused(record(number, b"b")) for number in range(5)]
    assert refused == [False] * 3 + [True] * 2
    assert limits(reached) == {("updates_per_publisher", one.own.id): 2}
    assert not await other.is_refused(record(4, b"b"))
    await trio.sleep(10.0)
    assert not await one.is_refused(record(3, b"b"))


async def test_who_names_another_as_publisher_uses_up_its_own_updates_and_not_his(network: BehaviourNetwork) -> None:
    _, _, victim, liar = await a_server(network, max_updates_per_publisher=3)
    third = Asker(await network.start_peer(nothing), network.nodes[0])

    def named(number: int, value: bytes) -> PutValue:
        key = b"/v/%d" % number
        return PutValue(key, Record(key, value, publisher=bytes(victim.own.id)))

    for number in range(9):
        assert not await victim.is_refused(named(number, b"a"))
    assert [await liar.is_refused(named(number, b"b")) for number in range(4)] == [False] * 3 + [True]
    assert await third.is_refused(named(3, b"b")), "nor do many hands carry more of one publisher"
    assert [await victim.is_refused(named(number, b"c")) for number in range(4)] == [False] * 3 + [True]


# streams


async def test_a_stream_too_many_is_told_of(network: BehaviourNetwork) -> None:
    options = {"max_requests_per_peer": 1, "request_rate_per_peer": 2.0}  # so that what comes second waits for half a second
    _, reached, one, other = await a_server(network, max_streams_per_peer=2, max_inbound_streams=3, **options)
    refused: list[bool] = []

    async def ask(asker: Asker) -> None:
        refused.append(await asker.is_refused(Ping()))

    for asker in (one, other):
        await asker.ask(Ping(), PingReply)
    async with trio.open_nursery() as nursery:
        for asker in (one, one, one, other, other):
            nursery.start_soon(ask, asker)
            await trio.sleep(2 * LATENCY)
    assert sorted(refused) == [False] * 3 + [True] * 2
    told = limits(reached)
    assert (told["streams_per_peer", one.own.id], told["streams", other.own.id]) == (1, 1)


# what the node does itself


class Silent:
    """A peer that answers checks, and nothing else while it is `hushed`."""

    def __init__(self) -> None:
        self.hushed = False
        self.asked = self.most = 0

    async def answer(self, request: Request) -> AnyReply:
        if self.hushed and request.message != FindNode(bytes(request.peer)):
            self.asked += 1
            self.most = max(self.most, self.asked)
            try:
                await trio.sleep(1.0)
            finally:
                self.asked -= 1
        return FindNodeReply(())


async def among_slow_peers(
    network: BehaviourNetwork, count: int, **options: object
) -> tuple[KademliaService, Silent, list[LimitReached]]:
    """A node that knows so many peers, each of whom takes a second to answer from now on."""
    node = await network.start_one(request_timeout=5.0, late_after=5.0, **options)
    silent = Silent()
    for _ in range(count):
        peer = await network.start_peer(silent.answer)
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
        await network.until(lambda peer=peer: peer.id in table(node), "it is known")  # type: ignore[misc]
    await trio.sleep(5.0)
    silent.hushed = True
    reached: list[LimitReached] = []
    node.subscribe(reached.append, LimitReached)
    return node, silent, reached


async def test_so_many_lookups_run_at_a_time_and_the_others_wait_in_order(network: BehaviourNetwork) -> None:
    node, _, reached = await among_slow_peers(network, 1, max_lookups=2)
    started: list[bytes] = []
    node.subscribe(lambda event: started.append(event.key), LookupStarted)
    began, ended = trio.current_time(), []

    async def look_up(number: int) -> None:
        await node.closest_peers(b"%d" % number)
        ended.append(round(trio.current_time() - began))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(look_up, number)
            await trio.testing.wait_all_tasks_blocked()
    assert [set(started[at : at + 2]) for at in (0, 2, 4)] == [{b"0", b"1"}, {b"2", b"3"}, {b"4", b"5"}]
    assert ended == [1, 1, 2, 2, 3, 3]
    assert limits(reached) == {("lookups", None): 4}


async def test_a_lookup_whose_turn_does_not_come_in_time_says_so_and_leaves_no_trace(network: BehaviourNetwork) -> None:
    node, _, _ = await among_slow_peers(network, 1, max_lookups=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.closest_peers, b"first")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LocalLimit, match="lookups: the limit of 1 is reached"):
            await node.closest_peers(b"second", timeout=0.5)
        with trio.move_on_after(0.1):
            await node.closest_peers(b"third")
    began = trio.current_time()
    await node.closest_peers(b"fourth")
    assert trio.current_time() - began == pytest.approx(1.0, abs=0.1)


async def test_neither_callers_nor_chores_starve(network: BehaviourNetwork) -> None:
    node, _, _ = await among_slow_peers(network, 1, max_lookups=1, refresh_interval=1e6)
    order: list[str] = []

    async def call(number: int) -> None:
        await node.closest_peers(b"%d" % number)
        order.append("call")

    async def chore() -> None:
        await node.refresh()
        order.append("refreshed")

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(call, number)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(chore)
        await trio.testing.wait_all_tasks_blocked()
    assert order[0] == "call"
    assert "refreshed" in order[1:6], "though eight came before it"
    assert order.count("call") == 8


async def test_so_many_requests_are_under_way_and_nobody_is_blamed_for_the_wait(network: BehaviourNetwork) -> None:
    node, silent, reached = await among_slow_peers(network, 8, max_requests_in_flight=2)
    evicted: list[PeerEvicted] = []
    node.subscribe(evicted.append, PeerEvicted)
    found = await node.closest_peers(b"key")
    assert len(found) == 8
    assert silent.most == 2
    assert {event.limit for event in reached} == {"requests_in_flight"}
    assert evicted == []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.closest_peers, b"another")
        await trio.sleep(0.1)
        assert not (await node.closest_peers(b"in a hurry", timeout=0.3)).peers
    assert evicted == []
    assert len(table(node)) == 8
