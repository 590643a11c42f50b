"""What every store promises: nothing that has expired is told, whatever the clock does."""

from __future__ import annotations

from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.testing.stores import (
    FAR,
    MIDDLE,
    NEAR,
    PLACE,
    MakeStore,
    Suite,
    kept,
    names,
    opened,
    provider,
    put,
    record,
)

SUITE = Suite()


@SUITE.promise
async def an_expired_record_is_not_served(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, expires=50), record(FAR, expires=50, own=True))
        assert await store.get(NEAR, now=49.9) is not None
        assert await store.get(NEAR, now=50) is None
        assert await store.get(FAR, now=1e12) is None


@SUITE.promise
async def an_expired_provider_is_not_told(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await store.add_provider(NEAR, provider(b"one", expires=50))
        await store.add_provider(NEAR, provider(b"two", expires=60))
        assert await names(store, NEAR, now=49.9) == [b"one", b"two"]
        assert await names(store, NEAR, now=50) == [b"two"]


@SUITE.promise
async def expired_addresses_are_left_out(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await store.add_provider(NEAR, provider(b"one", addresses_expire=50))
        assert [each.provider.addresses for each in await store.providers(NEAR, now=49.9)] == [(PLACE,)]
        assert [each.provider for each in await store.providers(NEAR, now=50)] == [PeerInfo(PeerId(b"one"))]


@SUITE.promise
async def expire_removes_what_has_expired_and_counts_it(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, expires=50), record(FAR, expires=51))
        await store.add_provider(NEAR, provider(b"one", expires=50))
        await store.add_provider(NEAR, provider(b"two", expires=51))
        await store.add_provider(FAR, provider(b"one", expires=50))
        assert await store.expire(now=50) == 3
        assert await store.expire(now=50) == 0
        stats = store.stats()
        assert (stats.records, stats.provider_keys, stats.providers) == (1, 1, 1)
        assert await store.expire(now=51) == 2
        assert store.stats().bytes == 0


@SUITE.promise
async def expire_removes_any_number(make_store: MakeStore) -> None:
    async with opened(make_store, max_records=3000, max_bytes=2**26) as store:
        await put(store, *(record(b"%d" % number, b"", expires=50) for number in range(3000)))
        assert await store.expire(now=50) == 3000
        assert store.stats().records == 0


@SUITE.promise
async def what_was_put_again_expires_at_its_new_time(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, expires=50), record(NEAR, expires=80))
        await store.add_provider(NEAR, provider(b"one", expires=50))
        await store.add_provider(NEAR, provider(b"one", expires=80))
        assert await store.expire(now=60) == 0
        assert await store.get(NEAR, now=60) == record(NEAR, expires=80)
        assert await names(store, NEAR, now=60) == [b"one"]
        assert await store.expire(now=80) == 2


@SUITE.promise
async def a_clock_that_goes_back_revives_nothing(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, expires=50), record(MIDDLE, expires=50), record(FAR, expires=90))
        await store.add_provider(NEAR, provider(b"one", expires=50))
        assert await store.get(NEAR, now=60) is None
        assert await store.get(FAR, now=40) is not None
        assert await kept(store, NEAR, MIDDLE) == []
        assert await names(store, NEAR, now=40) == []


@SUITE.promise
async def after_the_clock_went_back_new_records_live(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        assert await store.get(NEAR, now=1e9) is None
        assert await store.expire(now=1e9) == 0
        await put(store, record(NEAR, expires=50))
        await store.add_provider(NEAR, provider(b"one", expires=50))
        assert await store.get(NEAR, now=40) is not None
        assert await names(store, NEAR, now=40) == [b"one"]
