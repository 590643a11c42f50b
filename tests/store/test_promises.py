"""The suite for stores finds what is wrong with a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import pytest
import trio

from p2pkad.config import StoreBounds
from p2pkad.core.keyspace import KeySpace
from p2pkad.core.peers import Address, PeerId
from p2pkad.core.records import NEVER, StoredProvider, StoredRecord
from p2pkad.errors import StoreFull
from p2pkad.store.base import Decide, Due, KeptPeer, Kind
from p2pkad.store.contents import Place
from p2pkad.store.memory import MemoryStore
from p2pkad.testing import STORE_PROMISES, MakeStore

UNBOUNDED = 2**40


async def broken_promises(make_store: MakeStore) -> set[str]:
    broken = set()
    for promise in STORE_PROMISES:
        try:
            await promise(make_store)
        except Exception:
            broken.add(getattr(promise, "__name__", ""))
    return broken


async def test_the_suite_finds_nothing_wrong_with_a_good_one() -> None:
    assert await broken_promises(MemoryStore) == set()


class LosesUpdates(MemoryStore):
    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        stored = self._contents.at(Place("record", key))
        assert not isinstance(stored, StoredProvider)
        chosen = decide(stored)
        await trio.lowlevel.checkpoint()
        return await super().update(key, lambda _: chosen)


async def test_the_suite_finds_a_store_that_loses_updates() -> None:
    assert await broken_promises(LosesUpdates) == {
        "no_update_is_lost_when_many_run_at_once",
        "of_puts_at_once_the_best_stays_whatever_their_order",
    }


class ServesTheDead(MemoryStore):
    async def get(self, key: bytes, now: float) -> StoredRecord | None:
        return await super().get(key, min(now, 49))


async def test_the_suite_finds_a_store_that_serves_expired_records() -> None:
    assert "an_expired_record_is_not_served" in await broken_promises(ServesTheDead)


class RevivesTheDead(MemoryStore):
    def _check_open(self) -> None:
        super()._check_open()
        self._contents.latest = -inf


async def test_the_suite_finds_a_store_that_believes_a_clock_that_goes_back() -> None:
    assert await broken_promises(RevivesTheDead) == {"a_clock_that_goes_back_revives_nothing"}


class BelievesTheLatestClock(MemoryStore):
    async def get(self, key: bytes, now: float) -> StoredRecord | None:
        return await super().get(key, max(now, self._contents.latest))

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        latest = self._contents.latest
        chosen = await super().update(key, decide)
        self._contents.latest = max(latest, self._contents.latest)
        return chosen


async def test_the_suite_finds_a_store_that_a_wrong_clock_kills_for_good() -> None:
    assert "after_the_clock_went_back_new_records_live" in await broken_promises(BelievesTheLatestClock)


class ForgetsWhoseItIs(MemoryStore):
    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        stored = await super().update(key, decide)
        shelves, shelf = self._contents._shelves, self._contents._record_shelf
        if key in shelf.weights:
            shelf.loose.set(key, -shelves._distance(key))
        return stored


async def test_the_suite_finds_a_store_that_lets_own_records_go() -> None:
    assert "own_records_never_leave_and_others_leave_for_them" in await broken_promises(ForgetsWhoseItIs)


class TellsTwice(MemoryStore):
    async def providers(self, key: bytes, now: float) -> tuple[StoredProvider, ...]:
        once = await super().providers(key, now)
        return once + tuple(each for each in once if len(each.provider.addresses) > 1)


async def test_the_suite_finds_a_store_that_tells_a_provider_twice() -> None:
    assert await broken_promises(TellsTwice) == {"a_provider_that_comes_again_is_told_once_and_as_it_came_last"}


class ForgetsItsAgenda(MemoryStore):
    async def set_due(self, kind: Kind, key: bytes, at: float) -> bool:
        return await super().set_due(kind, key, NEVER)


async def test_the_suite_finds_a_store_that_forgets_when_own_entries_are_due() -> None:
    assert await broken_promises(ForgetsItsAgenda) == {"when_an_own_entry_is_due_can_be_changed_alone"}


class StaysWhereItWas(MemoryStore):
    async def set_addresses(self, key: bytes, addresses: Sequence[Address], now: float) -> bool:
        return await super().set_addresses(key, (), now)


async def test_the_suite_finds_a_store_that_does_not_keep_where_its_own_providers_are() -> None:
    assert await broken_promises(StaysWhereItWas) == {"where_an_own_provider_is_said_to_be_can_be_changed_alone"}


class NeverLooksBeyond(MemoryStore):
    async def due(self, now: float, horizon: float, limit: int) -> tuple[Due, ...]:
        return await super().due(now, NEVER, limit)


async def test_the_suite_finds_a_store_whose_own_entries_stay_in_a_future_that_is_none() -> None:
    assert await broken_promises(NeverLooksBeyond) == {"what_is_due_after_the_horizon_is_told_after_what_is_due_now"}


class KeepsAllPeers(MemoryStore):
    async def save_peers(self, peers: Sequence[KeptPeer]) -> None:
        self._contents.peers += tuple(peers)


async def test_the_suite_finds_a_store_whose_peers_pile_up() -> None:
    assert await broken_promises(KeepsAllPeers) == {
        "the_peers_that_were_saved_last_are_kept_in_their_order",
        "no_more_peers_are_kept_than_allowed_and_the_first_stay",
    }


class KeepsTheRemoved(MemoryStore):
    async def remove_provider(self, key: bytes, peer: PeerId) -> bool:
        return self._contents.at(Place("provider", key, peer)) is not None


async def test_the_suite_finds_a_store_that_keeps_removed_providers() -> None:
    assert "a_removed_provider_is_gone" in await broken_promises(KeepsTheRemoved)


@pytest.mark.parametrize(
    ("bound", "promise"),
    [
        ("max_records", "there_are_never_more_records_than_allowed_and_the_nearest_stay"),
        ("max_provider_keys", "of_too_many_provider_keys_the_farthest_leaves_but_never_one_that_the_node_provides"),
        ("max_providers_per_key", "of_too_many_providers_the_first_to_expire_leaves_but_never_an_own_one"),
        ("max_bytes", "records_stay_within_the_bytes_and_the_nearest_stay"),
        ("max_bytes", "providers_stay_within_the_bytes_and_the_nearest_keys_stay"),
    ],
)
async def test_the_suite_finds_a_store_that_ignores_a_bound(bound: str, promise: str) -> None:
    def without_it(own_key: int, bounds: StoreBounds, /, *, space: KeySpace) -> MemoryStore:
        return MemoryStore(own_key, replace(bounds, **{bound: UNBOUNDED}), space=space)

    assert promise in await broken_promises(without_it)


class LetsTheFarthestIn(MemoryStore):
    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        try:
            return await super().update(key, decide)
        except StoreFull:
            self._contents.put_back(Place("record", next(iter(self._contents._records))), None)
            return await super().update(key, decide)


async def test_the_suite_finds_a_store_where_the_oldest_leave() -> None:
    assert "a_record_that_is_the_farthest_is_refused_by_a_full_store" in await broken_promises(LetsTheFarthestIn)


class StaysOpen(MemoryStore):
    def _check_open(self) -> None:
        pass


async def test_the_suite_finds_a_store_that_answers_when_closed() -> None:
    assert await broken_promises(StaysOpen) == {"a_closed_store_says_so_and_closes_again"}
