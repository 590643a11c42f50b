"""What every store promises: records and updates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import permutations

import trio

from p2pkad.core.peers import PeerId
from p2pkad.core.records import Record, StoredRecord, keep
from p2pkad.errors import NodeClosed, StaleRecord
from p2pkad.store.base import Store
from p2pkad.testing.stores import (
    FAR,
    NEAR,
    PLACE,
    LargestWins,
    MakeStore,
    Suite,
    always,
    kept,
    opened,
    provider,
    put,
    raises,
    record,
)

SUITE = Suite()


@SUITE.promise
async def what_was_stored_is_there_as_it_was(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR), record(FAR, own=True))
        assert await store.get(NEAR, now=2) == record(NEAR)
        assert await store.get(FAR, now=2) == record(FAR, own=True)


@SUITE.promise
async def what_was_not_stored_is_none(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR))
        assert await store.get(FAR, now=2) is None


@SUITE.promise
async def keys_and_values_are_any_bytes(make_store: MakeStore) -> None:
    records = [record(key, key) for key in (b"", b"\0", b"\0\0", b"\xff\xfe", b"/ns/\x80", b"'; --", b"k" * 5000)]
    async with opened(make_store) as store:
        await put(store, *records)
        for each in records:
            assert await store.get(each.record.key, now=2) == each


@SUITE.promise
async def update_shows_what_is_stored_and_returns_what_is_there_now(make_store: MakeStore) -> None:
    seen: list[StoredRecord | None] = []
    old, new = record(NEAR, b"old"), record(NEAR, b"new")

    def decide(stored: StoredRecord | None) -> StoredRecord:
        seen.append(stored)
        return new if stored == old else old

    async with opened(make_store) as store:
        assert await store.update(NEAR, decide) == old
        assert set(seen) == {None}
        assert await store.update(NEAR, decide) == new
        assert seen[-1] == old


@SUITE.promise
async def update_with_none_removes(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR))
        assert await store.update(NEAR, always(None)) is None
        assert await store.update(FAR, always(None)) is None
        assert await kept(store, NEAR, FAR) == []
        assert store.stats().bytes == 0


@SUITE.promise
async def a_decision_that_raises_changes_nothing(make_store: MakeStore) -> None:
    def refuse(stored: StoredRecord | None) -> StoredRecord | None:
        raise StaleRecord(NEAR, "no")

    async with opened(make_store) as store:
        with raises(StaleRecord):
            await store.update(NEAR, refuse)
        await put(store, record(NEAR))
        with raises(StaleRecord):
            await store.update(NEAR, refuse)
        assert await store.get(NEAR, now=2) == record(NEAR)


@SUITE.promise
async def no_update_is_lost_when_many_run_at_once(make_store: MakeStore) -> None:
    def one_more(stored: StoredRecord | None) -> StoredRecord:
        return record(NEAR, b"%d" % (1 if stored is None else int(stored.record.value) + 1))

    async with opened(make_store) as store:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(store.update, NEAR, one_more)
        assert await store.get(NEAR, now=2) == record(NEAR, b"50")


@SUITE.promise
async def of_puts_at_once_the_best_stays_whatever_their_order(make_store: MakeStore) -> None:
    async def put(store: Store, key: bytes, value: bytes) -> None:
        with suppress(StaleRecord):
            await store.update(key, keep(Record(key, value), now=1, lifetime=99, rules=LargestWins()))

    async with opened(make_store) as store:
        orders = list(permutations((b"1", b"2", b"3", b"4")))
        async with trio.open_nursery() as nursery:
            for number, order in enumerate(orders):
                for value in order:
                    nursery.start_soon(put, store, b"%d" % number, value)
        for number in range(len(orders)):
            stored = await store.get(b"%d" % number, now=2)
            assert stored is not None
            assert stored.record.value == b"4"


@SUITE.promise
async def stats_count_what_is_stored(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        assert (store.stats().records, store.stats().providers, store.stats().bytes) == (0, 0, 0)
        await put(store, record(NEAR), record(FAR))
        await store.add_provider(NEAR, provider(b"one"))
        await store.add_provider(NEAR, provider(b"two"))
        stats = store.stats()
        assert (stats.records, stats.provider_keys, stats.providers) == (2, 1, 2)
        assert stats.bytes >= 2 * len(b"value") + 2 * len(PLACE.raw)
        assert store.trouble is None


@SUITE.promise
async def a_closed_store_says_so_and_closes_again(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR))
        await store.aclose()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.get(NEAR, now=2),
            lambda: store.update(NEAR, always(None)),
            lambda: store.add_provider(NEAR, provider(b"one")),
            lambda: store.providers(NEAR, now=2),
            lambda: store.remove_provider(NEAR, PeerId(b"one")),
            lambda: store.expire(now=2),
            lambda: store.due(now=2, horizon=9, limit=1),
            store.next_due,
            lambda: store.set_due("record", NEAR, 5),
        ]
        for call in calls:
            with raises(NodeClosed):
                await call()
        with raises(NodeClosed):
            store.stats()
