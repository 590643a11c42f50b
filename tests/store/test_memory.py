"""The store in memory: the promises of every store, and what is its own."""

from __future__ import annotations

import os
import time
import tracemalloc
from contextlib import suppress
from itertools import count

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.config import StoreBounds
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.core.records import NEVER, Record, StoredProvider, StoredRecord, keep
from p2pkad.errors import NodeClosed, StaleRecord, StoreFull
from p2pkad.store.contents import BATCH
from p2pkad.store.memory import MemoryStore
from p2pkad.testing import STORE_PROMISES, Promise
from p2pkad.testing.stores import LargestWins


def memory_store(max_records: int = 10**6, max_bytes: int = 2**40) -> MemoryStore:
    bounds = StoreBounds(max_records=max_records, max_provider_keys=10**6, max_providers_per_key=200, max_bytes=max_bytes)
    return MemoryStore(0, bounds)


async def put(
    store: MemoryStore, key: bytes, value: bytes = b"", *, received: float = 0, expires: float = 100, due: float = NEVER
) -> None:
    stored = StoredRecord(Record(key, value), received, expires, due < NEVER, due)
    await store.update(key, lambda _: stored)


@pytest.mark.scenario("V8", "V15")
@pytest.mark.parametrize("promise", STORE_PROMISES)
async def test_it_keeps_its_promises(promise: Promise) -> None:
    await promise(MemoryStore)


@pytest.mark.scenario("V3", "V15")
@given(puts=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1))
async def test_the_best_of_concurrent_puts_stays_whatever_the_interleaving(puts: list[tuple[int, int]]) -> None:
    async def arrive(value: int, after: int) -> None:
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        came = Record(b"k", b"%d" % value)
        best = max(arrived, default=0)
        arrived.append(value)
        try:
            await store.update(b"k", keep(came, now=0, lifetime=9, rules=LargestWins()))
            assert value >= best
        except StaleRecord:
            assert value < best

    store = memory_store()
    arrived: list[int] = []
    async with trio.open_nursery() as nursery:
        for value, after in puts:
            nursery.start_soon(arrive, value, after)
    stored = await store.get(b"k", now=1)
    assert stored is not None
    assert stored.record.value == b"%d" % max(value for value, _ in puts)


async def test_the_dead_make_room_before_the_living() -> None:
    store = memory_store(max_records=2)
    await put(store, b"one", expires=10)
    await put(store, b"two", expires=10)
    for key in (b"three", b"four"):
        await put(store, key, received=10)
    assert await store.get(b"three", now=10)
    assert await store.get(b"four", now=10)


async def test_expiring_much_lets_others_run_in_between() -> None:
    store = memory_store()
    for number in range(10 * BATCH):
        await put(store, b"%d" % number)
    left: list[int] = []

    async def watch() -> None:
        while store.stats().records:
            left.append(store.stats().records)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        assert await store.expire(now=100) == 10 * BATCH
    assert len(left) >= 5


async def test_a_store_that_is_closed_while_it_expires_says_so() -> None:
    store = memory_store()
    for number in range(10 * BATCH):
        await put(store, b"%d" % number)

    async def expire() -> None:
        with pytest.raises(NodeClosed):
            await store.expire(now=100)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expire)
        while store.stats().records == 10 * BATCH:
            await trio.lowlevel.checkpoint()
        await store.aclose()


async def test_it_shows_its_state_on_one_line() -> None:
    store = memory_store()
    await put(store, b"k", b"v")
    await store.add_provider(b"k", StoredProvider(PeerInfo(PeerId(b"p")), 0, 9))
    assert repr(store) == f"<MemoryStore records=1 provider_keys=1 providers=1 bytes={store.stats().bytes}>"
    await store.aclose()
    assert "closed" in repr(store)


def seconds_for(number: int, size: int) -> float:
    """How long that many puts take at the bound of a full store."""

    async def fill_and_put() -> float:
        store = memory_store(max_records=size)
        for _ in range(size):
            await put(store, os.urandom(32))
        begin = time.perf_counter()
        for _ in range(number):
            with suppress(StoreFull):
                await put(store, os.urandom(32))
        return time.perf_counter() - begin

    return trio.run(fill_and_put)


@pytest.mark.long
def test_a_put_into_a_full_store_of_50_000_records_costs_about_what_it_costs_into_one_of_500() -> None:
    large = min(seconds_for(1000, size=50_000) for _ in range(2))
    assert large < 10 * min(seconds_for(1000, size=500) for _ in range(3))


def peer(number: int, addresses: int) -> PeerInfo:
    places = (
        Address(os.urandom(8), f"/ip4/1.2.{number % 256}.{each}/tcp/4001", Scope.PUBLIC, "1.2") for each in range(addresses)
    )
    return PeerInfo(PeerId(os.urandom(38)), tuple(places))


@pytest.mark.parametrize(("per_key", "own"), [(1, False), (1, True), (100, False)])
@pytest.mark.parametrize("addresses", [None, 0, 4])
async def test_the_bytes_that_it_counts_are_the_bytes_that_it_takes(addresses: int | None, per_key: int, own: bool) -> None:
    numbers = count(1_700_000_000)
    tracemalloc.start()
    try:
        store = memory_store()
        for _ in range(3000 // per_key):
            key = os.urandom(34)
            for number in range(per_key):
                received, expires = next(numbers) / 7, next(numbers) / 3
                due = expires + 0.25 if own else NEVER
                if addresses is None:
                    await put(store, key + b"%d" % number, os.urandom(200), received=received, expires=expires, due=due)
                else:
                    stored = StoredProvider(peer(number, addresses), received, expires, expires + 0.5, own, due)
                    await store.add_provider(key, stored)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 < store.stats().bytes / taken < 1.3, store.stats().bytes / taken
