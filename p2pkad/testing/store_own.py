"""What every store promises: the node's own entries, and when they are to be published again."""

from __future__ import annotations

from p2pkad.core.peers import PeerId
from p2pkad.core.records import NEVER
from p2pkad.store.base import Due, Store
from p2pkad.testing.stores import FAR, MIDDLE, NEAR, MakeStore, Suite, always, opened, provider, put, record
from p2pkad.wire.addresses import parse_address

SUITE = Suite()


async def due(store: Store, now: float, horizon: float = 1000, limit: int = 10) -> list[tuple[str, bytes, float]]:
    return [(each.kind, each.key, each.at) for each in await store.due(now, horizon, limit)]


@SUITE.promise
async def own_entries_are_due_at_their_time_the_first_first(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, own=True, due=30), record(FAR, own=True, due=20))
        await store.add_provider(MIDDLE, provider(b"own", own=True, due=10))
        assert await due(store, now=9.9) == []
        assert await due(store, now=20) == [("provider", MIDDLE, 10), ("record", FAR, 20)]
        assert await store.due(now=99, horizon=1000, limit=1) == (Due("provider", MIDDLE, 10),)
        assert len(await due(store, now=99)) == 3
        assert await store.next_due() == 10


@SUITE.promise
async def when_they_are_due_survives_with_them(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, own=True, due=30))
        await store.add_provider(NEAR, provider(b"own", own=True, due=10))
        assert await store.get(NEAR, now=2) == record(NEAR, own=True, due=30)
        assert await store.providers(NEAR, now=2) == (provider(b"own", own=True, due=10),)


@SUITE.promise
async def what_is_due_after_the_horizon_is_told_after_what_is_due_now(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        for key, at in ((b"a", 10), (b"b", 49), (b"c", 51), (b"d", 1e9), (b"e", 50)):
            await put(store, record(key, own=True, due=at))
        assert [key for _, key, _ in await due(store, now=20, horizon=50)] == [b"a", b"c", b"d"]
        assert [key for _, key, _ in await due(store, now=20, horizon=50, limit=2)] == [b"a", b"c"]
        assert [key for _, key, _ in await due(store, now=60, horizon=40, limit=9)] == [b"a", b"b", b"e", b"c", b"d"]


@SUITE.promise
async def what_is_never_due_and_what_is_not_own_is_never_told(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, own=True), record(MIDDLE, due=5))
        await store.add_provider(NEAR, provider(b"one", due=5))
        assert await due(store, now=1e12, horizon=0) == []
        assert await store.next_due() == NEVER


@SUITE.promise
async def when_an_own_entry_is_due_can_be_changed_alone(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, own=True, due=10))
        await store.add_provider(NEAR, provider(b"own", own=True, due=20))
        await store.add_provider(NEAR, provider(b"one"))
        before = store.stats()
        assert await store.set_due("record", NEAR, 40)
        assert await store.set_due("provider", NEAR, 30)
        assert await due(store, now=99) == [("provider", NEAR, 30), ("record", NEAR, 40)]
        assert await store.get(NEAR, now=2) == record(NEAR, own=True, due=40)
        told = sorted(await store.providers(NEAR, now=2), key=lambda each: each.provider.id)
        assert told == [provider(b"one"), provider(b"own", own=True, due=30)]
        assert store.stats() == before


@SUITE.promise
async def where_an_own_provider_is_said_to_be_can_be_changed_alone(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await store.add_provider(NEAR, provider(b"own", own=True, due=20))
        await store.add_provider(NEAR, provider(b"one"))
        there = (parse_address("/ip4/192.0.2.7/tcp/1"),)
        assert await store.set_addresses(NEAR, there, now=3)
        own, one = sorted(await store.providers(NEAR, now=4), key=lambda each: not each.own)
        assert (own.provider.id, own.provider.addresses, own.received) == (b"own", there, 3)
        assert one == provider(b"one")
        assert await due(store, now=99) == [("provider", NEAR, 20)]
        assert not await store.set_addresses(FAR, there, now=4)
        await store.add_provider(FAR, provider(b"one"))
        assert not await store.set_addresses(FAR, there, now=4)
        await store.remove_provider(NEAR, PeerId(b"own"))
        assert not await store.set_addresses(NEAR, there, now=4)
        assert await store.providers(NEAR, now=4) == (provider(b"one"),)


@SUITE.promise
async def only_an_own_entry_is_ever_due(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR))
        await store.add_provider(NEAR, provider(b"one"))
        assert not await store.set_due("record", NEAR, 5)
        assert not await store.set_due("record", FAR, 5)
        assert not await store.set_due("provider", NEAR, 5)
        assert not await store.set_due("provider", FAR, 5)
        assert await due(store, now=99) == []


@SUITE.promise
async def what_is_removed_replaced_or_expired_is_due_no_more(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        keys = (b"removed", b"replaced", b"expired")
        await put(store, *(record(key, own=True, due=10, expires=50) for key in keys))
        await store.add_provider(NEAR, provider(b"own", own=True, due=10))
        await store.update(b"removed", always(None))
        await put(store, record(b"replaced", b"better", expires=90))
        await store.remove_provider(NEAR, PeerId(b"own"))
        assert [key for _, key, _ in await due(store, now=49)] == [b"expired"]
        await store.expire(now=50)
        assert await due(store, now=99) == []
        assert await store.next_due() == NEVER


@SUITE.promise
async def own_entries_are_counted(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await put(store, record(NEAR, own=True, due=10), record(FAR, own=True), record(MIDDLE))
        await store.add_provider(NEAR, provider(b"own", own=True, due=10))
        await store.add_provider(NEAR, provider(b"one"))
        await store.add_provider(FAR, provider(b"one"))
        assert (store.stats().own, store.stats().provided) == (3, 1)
        await put(store, record(FAR))
        await store.remove_provider(NEAR, PeerId(b"own"))
        assert (store.stats().own, store.stats().provided) == (1, 0)
