"""What every store promises: who provides what."""

from __future__ import annotations

from p2pkad.core.peers import PeerId
from p2pkad.testing.stores import (
    FAR,
    MIDDLE,
    NEAR,
    MakeStore,
    Suite,
    names,
    opened,
    provider,
)

SUITE = Suite()


@SUITE.promise
async def providers_are_told_as_they_came(make_store: MakeStore) -> None:
    one, two = provider(b"one", addresses_expire=70), provider(b"two", expires=60, own=True)
    async with opened(make_store) as store:
        await store.add_provider(NEAR, one)
        await store.add_provider(NEAR, two)
        await store.add_provider(FAR, one)
        assert sorted(await store.providers(NEAR, now=2), key=lambda each: each.provider.id) == [one, two]
        assert await store.providers(FAR, now=2) == (one,)
        assert await store.providers(MIDDLE, now=2) == ()


@SUITE.promise
async def a_provider_that_comes_again_is_told_once_and_as_it_came_last(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await store.add_provider(NEAR, provider(b"one", addresses=1))
        await store.add_provider(NEAR, provider(b"one", addresses=2, expires=90))
        assert await store.providers(NEAR, now=2) == (provider(b"one", addresses=2, expires=90),)
        assert store.stats().providers == 1


@SUITE.promise
async def a_removed_provider_is_gone(make_store: MakeStore) -> None:
    async with opened(make_store) as store:
        await store.add_provider(NEAR, provider(b"one", own=True))
        await store.add_provider(NEAR, provider(b"two"))
        assert await store.remove_provider(NEAR, PeerId(b"one"))
        assert await names(store, NEAR) == [b"two"]
        assert not await store.remove_provider(NEAR, PeerId(b"one"))
        assert not await store.remove_provider(FAR, PeerId(b"two"))
        assert await store.remove_provider(NEAR, PeerId(b"two"))
        assert store.stats().bytes == 0
