"""What every store promises: it never grows beyond its bounds, and what leaves is the right one."""

from __future__ import annotations

from contextlib import suppress

from p2pkad.core.peers import PeerId
from p2pkad.errors import StoreFull
from p2pkad.testing.stores import (
    FAR,
    MIDDLE,
    NEAR,
    MakeStore,
    Suite,
    always,
    kept,
    names,
    opened,
    provider,
    put,
    raises,
    record,
)

SUITE = Suite()


@SUITE.promise
async def there_are_never_more_records_than_allowed_and_the_nearest_stay(make_store: MakeStore) -> None:
    async with opened(make_store, max_records=3) as store:
        for number in (9, 200, 3, 100, 7, 5, 250, 1):
            with suppress(StoreFull):
                await put(store, record(bytes([number])))
            assert store.stats().records <= 3
        assert await kept(store, *(bytes([number]) for number in range(256))) == [b"\x01", b"\x03", b"\x05"]


@SUITE.promise
async def a_record_that_is_the_farthest_is_refused_by_a_full_store(make_store: MakeStore) -> None:
    async with opened(make_store, max_records=2) as store:
        await put(store, record(NEAR), record(MIDDLE))
        before = store.stats()
        with raises(StoreFull):
            await put(store, record(FAR))
        assert await kept(store, NEAR, MIDDLE, FAR) == [NEAR, MIDDLE]
        assert store.stats() == before


@SUITE.promise
async def a_full_store_replaces_what_it_has(make_store: MakeStore) -> None:
    async with opened(make_store, max_records=2) as store:
        await put(store, record(NEAR), record(FAR), record(FAR, b"again"), record(NEAR, b"again"))
        assert await store.get(FAR, now=2) == record(FAR, b"again")
        assert await store.get(NEAR, now=2) == record(NEAR, b"again")


@SUITE.promise
async def what_is_replaced_counts_no_more(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, b"new"))
        await store.add_provider(NEAR, provider(b"one", addresses=2))
        once = store.stats()
        await put(store, record(NEAR, b"something long"), record(NEAR, b"new"))
        await store.add_provider(NEAR, provider(b"one", addresses=3))
        await store.add_provider(NEAR, provider(b"one", addresses=2))
        assert store.stats() == once


@SUITE.promise
async def what_leaves_makes_room(make_store: MakeStore) -> None:
    async with opened(make_store, max_records=1, max_provider_keys=1) as store:
        await put(store, record(NEAR))
        await store.update(NEAR, always(None))
        await put(store, record(FAR, expires=50))
        await store.add_provider(NEAR, provider(b"one"))
        await store.remove_provider(NEAR, PeerId(b"one"))
        await store.add_provider(FAR, provider(b"one"))
        assert await kept(store, FAR) == [FAR]
        assert await names(store, FAR) == [b"one"]
        await store.expire(now=50)
        await put(store, record(FAR))


@SUITE.promise
async def own_records_never_leave_and_others_leave_for_them(make_store: MakeStore) -> None:
    async with opened(make_store, max_records=2) as store:
        await put(store, record(FAR, own=True), record(NEAR))
        await put(store, record(MIDDLE, own=True))
        for number in range(30):
            with raises(StoreFull):
                await put(store, record(bytes([number])))
        assert await kept(store, NEAR, MIDDLE, FAR) == [MIDDLE, FAR]
        with raises(StoreFull):
            await put(store, record(NEAR, own=True))
        assert await kept(store, NEAR, MIDDLE, FAR) == [MIDDLE, FAR]


@SUITE.promise
async def a_record_that_becomes_own_is_safe_and_one_that_no_longer_is_may_leave(make_store: MakeStore) -> None:
    async with opened(make_store, max_records=1) as store:
        await put(store, record(FAR), record(FAR, own=True))
        with raises(StoreFull):
            await put(store, record(NEAR))
        await put(store, record(FAR), record(NEAR))
        assert await kept(store, NEAR, FAR) == [NEAR]


@SUITE.promise
async def records_stay_within_the_bytes_and_the_nearest_stay(make_store: MakeStore) -> None:
    async with opened(make_store, max_bytes=20_000) as store:
        for number in (*range(100, 150), *range(50)):
            with suppress(StoreFull):
                await put(store, record(bytes([number]), b"v" * 1000))
            assert store.stats().bytes <= 20_000
        left = await kept(store, *(bytes([number]) for number in range(256)))
        assert len(left) >= 5, "an allowance of 3,000 bytes for a record of 1,000 is too much"
        assert left == [bytes([number]) for number in range(len(left))]


@SUITE.promise
async def providers_stay_within_the_bytes_and_the_nearest_keys_stay(make_store: MakeStore) -> None:
    async with opened(make_store, max_bytes=20_000) as store:
        for number in (*range(100, 150), *range(50)):
            with suppress(StoreFull):
                await store.add_provider(bytes([number]), provider(b"one", addresses=3))
            assert store.stats().bytes <= 20_000
        left = [number for number in range(256) if await names(store, bytes([number]))]
        assert len(left) >= 5, "an allowance of 4,000 bytes for a key with a provider is too much"
        assert left == list(range(len(left)))


@SUITE.promise
async def records_and_providers_leave_for_each_other_the_farthest_first(make_store: MakeStore) -> None:
    async with opened(make_store, max_bytes=20_000) as store:
        await store.add_provider(FAR, provider(b"one"))
        await put(store, record(MIDDLE, b"v" * 8000), record(NEAR, b"v" * 8000))
        await put(store, record(NEAR, b"v" * 10_000))
        await put(store, record(b"\x00", b"v" * 5000))
        assert await names(store, FAR) == []
        assert await kept(store, b"\x00", NEAR, MIDDLE) == [b"\x00", NEAR]


@SUITE.promise
async def what_is_too_large_is_refused_and_nothing_leaves_for_it(make_store: MakeStore) -> None:
    async with opened(make_store, max_bytes=20_000) as store:
        await put(store, record(NEAR), record(MIDDLE), record(FAR))
        before = store.stats()
        for own in (False, True):
            with raises(StoreFull):
                await put(store, record(MIDDLE, b"v" * 20_001, own=own))
            with raises(StoreFull):
                await put(store, record(b"\x00", b"v" * 20_001, own=own))
        with raises(StoreFull):
            await store.add_provider(NEAR, provider(b"one", addresses=20_000))
        assert store.stats() == before
        assert await store.get(MIDDLE, now=2) == record(MIDDLE)
        await put(store, *(record(bytes([number]), own=True) for number in (2, 3)))
        assert await kept(store, NEAR, MIDDLE, FAR) == [NEAR, MIDDLE, FAR]


@SUITE.promise
async def of_too_many_providers_the_first_to_expire_leaves_but_never_an_own_one(make_store: MakeStore) -> None:
    async with opened(make_store, max_providers_per_key=3) as store:
        for name, expires, own in ((b"own", 10, True), (b"b", 70, False), (b"c", 60, False), (b"d", 80, False)):
            await store.add_provider(NEAR, provider(name, expires=expires, own=own))
            assert store.stats().providers <= 3
        assert await names(store, NEAR) == [b"b", b"d", b"own"]
        await store.add_provider(NEAR, provider(b"b", expires=90))
        await store.add_provider(NEAR, provider(b"e", expires=85))
        assert await names(store, NEAR) == [b"b", b"e", b"own"]


@SUITE.promise
async def no_provider_takes_the_place_of_the_own_one(make_store: MakeStore) -> None:
    async with opened(make_store, max_providers_per_key=1) as store:
        await store.add_provider(NEAR, provider(b"own", own=True))
        with raises(StoreFull):
            await store.add_provider(NEAR, provider(b"one"))
        assert await names(store, NEAR) == [b"own"]


@SUITE.promise
async def of_too_many_provider_keys_the_farthest_leaves_but_never_one_that_the_node_provides(make_store: MakeStore) -> None:
    async with opened(make_store, max_provider_keys=2) as store:
        await store.add_provider(FAR, provider(b"own", own=True))
        await store.add_provider(FAR, provider(b"one"))
        await store.add_provider(MIDDLE, provider(b"one"))
        await store.add_provider(NEAR, provider(b"one"))
        assert [await names(store, key) for key in (NEAR, MIDDLE, FAR)] == [[b"one"], [], [b"one", b"own"]]
        with raises(StoreFull):
            await store.add_provider(MIDDLE, provider(b"one"))
        await store.remove_provider(FAR, PeerId(b"own"))
        await store.add_provider(MIDDLE, provider(b"one"))
        assert [await names(store, key) for key in (NEAR, MIDDLE, FAR)] == [[b"one"], [b"one"], []]
        assert store.stats().provider_keys == 2


@SUITE.promise
async def what_others_have_under_an_own_key_leaves_as_anything_else(make_store: MakeStore) -> None:
    async with opened(make_store, max_bytes=20_000) as store:
        await store.add_provider(NEAR, provider(b"own", own=True))
        with raises(StoreFull):
            for number in range(200):
                await store.add_provider(NEAR, provider(b"%d" % number, addresses=2))
        assert len(await names(store, NEAR)) > 10
        await put(store, record(FAR, b"v" * 10_000, own=True))
        assert set(await names(store, NEAR)) == {b"own"}
        assert store.stats().bytes <= 20_000
        with raises(StoreFull):
            for number in range(200):
                await store.add_provider(NEAR, provider(b"%d" % number, addresses=2))
        await store.add_provider(NEAR, provider(b"own", own=True, addresses=10))
        assert set(await names(store, NEAR)) == {b"own"}, "under the same key, too"
        await put(store, record(MIDDLE, b"v" * 1_000))
        with raises(StoreFull):  # they are as far away as the key that is the node's own
            await store.add_provider(b"\xfe", provider(b"own", own=True))
            for number in range(200):
                await store.add_provider(b"\xfe", provider(b"%d" % number, addresses=2))
        assert await kept(store, MIDDLE) == [MIDDLE]
