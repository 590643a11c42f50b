"""Turns, and what an honest peer gets."""

from __future__ import annotations

from hashlib import sha256

import pytest
import trio
import trio.testing

from p2pkad.config import KademliaConfig
from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record, StoredProvider, StoredRecord
from p2pkad.errors import LocalLimit, StoreError, StoreFailed, StoreFull
from p2pkad.events import LimitReached
from p2pkad.node.clock import SYSTEM
from p2pkad.node.limits import Lane, Limits, Turns
from p2pkad.node.rooms import store_of
from p2pkad.node.telling import Telling
from p2pkad.store.base import Decide
from p2pkad.store.memory import MemoryStore
from p2pkad.testing.stores import always
from tests.support.worlds import address, peer_id

pytestmark = pytest.mark.scenario("H4")

PUBLISHER = PeerInfo(peer_id(1), (address(1),))
KEYS = 10_000


@pytest.fixture
def limits() -> Limits:
    """Those of a node that nobody configured."""
    return Limits(KademliaConfig(), SYSTEM, Telling())


class HangingStore(MemoryStore):
    """Decides, and then is at work for ever."""

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        decide(None)
        return await trio.sleep_forever()

    async def add_provider(self, key: bytes, provider: StoredProvider) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize("kind", ["record", "provider"])
async def test_what_may_be_stored_counts_as_stored(autojump_clock: trio.testing.MockClock, kind: str) -> None:
    """Whatever is cancelled meanwhile; and peers can have their own requests given up."""
    limits = Limits(KademliaConfig(max_stored_per_peer=1), SYSTEM, Telling())
    store = HangingStore(SHA256.key(peer_id(0)), KademliaConfig().store_bounds)
    stored = StoredRecord(Record(b"/v/key", b"value"), received=0.0, expires=1e9)

    began = trio.current_time()

    async def send() -> None:
        if kind == "record":
            await limits.put(store, PUBLISHER.id, b"/v/key", always(stored))
        else:
            await limits.add_provider(store, b"key", StoredProvider(PUBLISHER, received=0.0, expires=1e9))

    with trio.move_on_after(1):
        await send()
    assert trio.current_time() - began == 1
    with trio.fail_after(1), pytest.raises(LocalLimit, match="stored_per_peer"):
        await send()


class BrokenStore(MemoryStore):
    """Decides, and raises then."""

    error: StoreError = StoreFailed("the disk is broken")
    trouble: str | None = "the disk is broken"  # type: ignore[assignment]

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        decide(None)
        raise self.error

    async def add_provider(self, key: bytes, provider: StoredProvider) -> None:
        raise self.error


def record(value: bytes = b"value") -> StoredRecord:
    return StoredRecord(Record(b"/v/key", value), received=0.0, expires=1e9)


@pytest.mark.parametrize("in_use", [False, True])
async def test_what_a_broken_disk_does_not_store_costs_nothing_and_what_it_may_yet_store_does(in_use: bool) -> None:
    limits = Limits(KademliaConfig(max_stored_per_peer=1), SYSTEM, Telling())
    store = BrokenStore(SHA256.key(peer_id(0)), KademliaConfig().store_bounds)
    store.error = StoreFailed("the disk is broken", in_use=in_use)
    again = LocalLimit if in_use else StoreFailed
    with pytest.raises(StoreFailed):
        await limits.put(store, PUBLISHER.id, b"/v/key", always(record()))
    with pytest.raises(again):
        await limits.add_provider(store, b"key", StoredProvider(PUBLISHER, received=0.0, expires=1e9))
    with pytest.raises(again):
        await limits.put(store, PUBLISHER.id, b"/v/key", always(record()))


@pytest.mark.parametrize("trouble", [None, "the disk is full"])
async def test_a_full_disk_is_no_full_store(trouble: str | None) -> None:
    told: list[str] = []
    tell = Telling()
    tell.subscribe(lambda event: told.append(event.limit), LimitReached)
    store = BrokenStore(SHA256.key(peer_id(0)), KademliaConfig().store_bounds)
    store.error, store.trouble = StoreFull("no room"), trouble
    with pytest.raises(StoreFull):
        await Limits(KademliaConfig(), SYSTEM, tell).put(store, PUBLISHER.id, b"/v/key", always(record()))
    assert told == ([] if trouble else ["store"])


async def test_changes_that_wait_for_one_commit_are_counted_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    """One stream for each: the disk has not moved when the next one comes."""
    limits = Limits(KademliaConfig(max_updates_per_key=3), SYSTEM, Telling())
    refused: list[bytes] = []

    class BusyStore(MemoryStore):
        async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
            chosen = await super().update(key, decide)
            await trio.sleep(0.1)
            return chosen

    store = BusyStore(SHA256.key(peer_id(0)), KademliaConfig().store_bounds)
    await store.update(b"/v/key", always(record(b"0")))

    async def change(value: bytes) -> None:
        try:
            await limits.put(store, PUBLISHER.id, b"/v/key", always(record(value)))
        except LocalLimit:
            refused.append(value)

    async with trio.open_nursery() as nursery:
        for number in range(1, 11):
            nursery.start_soon(change, b"%d" % number)
    assert len(refused) == 7


async def test_a_decision_that_is_made_again_is_paid_for_once() -> None:
    limits = Limits(KademliaConfig(max_stored_per_peer=1), SYSTEM, Telling())

    class UndecidedStore(MemoryStore):
        async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
            decide(None)
            return await super().update(key, decide)

    store = UndecidedStore(SHA256.key(peer_id(0)), KademliaConfig().store_bounds)
    assert await limits.put(store, PUBLISHER.id, b"/v/key", always(record())) == record()


async def test_an_announcement_that_grows_pays_for_that() -> None:
    limits = Limits(KademliaConfig(max_stored_bytes_per_peer=1024), SYSTEM, Telling())
    store = store_of(peer_id(0), KademliaConfig())
    places = tuple(address(number) for number in range(1, 101))

    async def announce(count: int) -> None:
        await limits.add_provider(store, b"key", StoredProvider(PeerInfo(PUBLISHER.id, places[:count]), 0.0, expires=1e9))

    await announce(1)
    for _ in range(10):
        await announce(len(places))
    await announce(1)
    with pytest.raises(LocalLimit, match="stored_bytes_per_peer"):
        await announce(len(places))


@pytest.mark.long
async def test_a_publisher_of_ten_thousand_provider_records_gets_through(limits: Limits) -> None:
    store = store_of(peer_id(0), KademliaConfig())
    for _ in range(3):  # and all of it again, and again
        for number in range(KEYS):
            key = b"\x12\x20" + sha256(b"%d" % number).digest()
            await limits.add_provider(store, key, StoredProvider(PUBLISHER, received=0.0, expires=1e9))
    assert store.stats().providers == KEYS


async def test_who_publishes_one_key_after_the_other_is_never_reset(
    limits: Limits, autojump_clock: trio.testing.MockClock
) -> None:
    for _ in range(2500):
        await limits.let_in(PUBLISHER.id)
    assert trio.current_time() == pytest.approx(2.5, abs=0.1)


async def test_go_has_its_lookup_checks_answered_at_once(limits: Limits, autojump_clock: trio.testing.MockClock) -> None:
    # go-libp2p-kad-dht: rtrefresh and lookupCheck queue up to 256 FIND_NODE for one peer, with k=3 behind each other.
    began = trio.current_time()
    for _ in range(256):
        await limits.let_in(PUBLISHER.id)
    assert trio.current_time() == began


async def test_who_would_have_to_wait_for_long_is_refused(limits: Limits, autojump_clock: trio.testing.MockClock) -> None:
    refused = 0

    async def ask() -> None:
        nonlocal refused
        try:
            await limits.let_in(PUBLISHER.id)
        except LocalLimit:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3000):
            nursery.start_soon(ask)
    assert refused == pytest.approx(800, abs=1)


async def wait_in(turns: Turns, lane: Lane, name: str, came: list[str]) -> None:
    if await turns.take_in_turn(trio.current_time() + 60, lane):
        came.append(name)


async def queue(turns: Turns, nursery: trio.Nursery, names: str, came: list[str]) -> None:
    """Those with a capital are chores."""
    for name in names:
        nursery.start_soon(wait_in, turns, Lane.CHORES if name.isupper() else Lane.CALLS, name, came)
        await trio.testing.wait_all_tasks_blocked()


async def test_both_lanes_have_their_turn_and_within_one_the_first_comes_first() -> None:
    turns, came = Turns(1), list[str]()
    assert turns.take_now()
    async with trio.open_nursery() as nursery:
        await queue(turns, nursery, "abcdXYe", came)
        for _ in range(7):
            turns.give_back()
            await trio.testing.wait_all_tasks_blocked()
    assert "".join(came) == "aXbYcde"
    turns.give_back()
    assert repr(turns) == "<Turns 0/1 waiting=0>"


async def test_who_gives_up_waiting_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    turns = Turns(1)
    assert turns.take_now()
    assert not await turns.take_in_turn(trio.current_time() + 1)
    with trio.move_on_after(1) as cancelled:
        await turns.take_in_turn(trio.current_time() + 60)
    assert cancelled.cancelled_caught
    turns.give_back()
    assert turns.take_now()
    assert not turns.take_now()


async def test_a_place_that_came_as_the_wait_ended_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    turns, came = Turns(1), list[str]()
    assert turns.take_now()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await queue(turns, nursery, "a", came)
            turns.give_back()
            scope.cancel()  # in the same moment
    assert came == ["a"], "it has the place, and gives it back as always"


async def test_of_a_long_key_little_is_remembered(limits: Limits) -> None:
    key, store = b"/v/" + b"k" * 2**20, store_of(peer_id(0), KademliaConfig())
    for value in (b"1", b"2", b"3"):
        await limits.put(store, peer_id(1), key, always(StoredRecord(Record(key, value), 0.0, 1e9)))
    names = [name for allowance in limits._allowed.values() for name in allowance._full_at]
    assert len(names) == 4  # two limits on what it stored, two on what it changed
    assert max(map(len, names)) < 100
