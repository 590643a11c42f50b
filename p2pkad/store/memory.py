"""A store in memory: gone with the process, quick, and without threads.

No call waits, so each is atomic by itself; only `expire` makes pauses. Every key is found by its hash, what expires next and
who leaves first by a heap: no call looks at all that is stored.

The clock may go back. What had expired before that is dead all the same, so it is removed first: whoever asks next, for
whatever key, at an earlier time than anybody before.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import trio

from p2pkad.core.keyspace import SHA256, Key, KeySpace, distance
from p2pkad.core.peers import PeerId
from p2pkad.core.records import StoredProvider, StoredRecord, provider_at
from p2pkad.errors import NodeClosed, StoreFull, key_text
from p2pkad.store.agenda import Agenda
from p2pkad.store.base import Decide, Due, Kind, StoreStats
from p2pkad.store.eviction import Ranking, Shelf, Shelves

# What Python takes beside the bytes themselves for one of each, with its places in the dictionaries and heaps here.
# Measured with tracemalloc on CPython 3.11: 760, 520, 465 and 215 bytes; tests/store/test_memory.py holds them to the truth.
# The place of an own entry on the agenda is about what it saves in the ranking of those that may have to leave.
RECORD_OVERHEAD = 800
PROVIDER_KEY_OVERHEAD = 550
PROVIDER_OVERHEAD = 500
ADDRESS_OVERHEAD = 220

# Entries removed between two pauses: some milliseconds.
BATCH = 250


class MemoryStore:
    """A `p2pkad.store.base.Store` in memory.

    own_key: the key of the node's id in `space`. max_records, max_provider_keys: how many keys of each kind.
    max_providers_per_key: how many providers of one. max_bytes: about the memory that all of it takes.
    """

    def __init__(
        self,
        own_key: Key,
        *,
        space: KeySpace = SHA256,
        max_records: int,
        max_provider_keys: int,
        max_providers_per_key: int,
        max_bytes: int,
    ) -> None:
        self._records: dict[bytes, StoredRecord] = {}
        self._providers: dict[bytes, dict[PeerId, StoredProvider]] = {}
        self._provider_count = 0
        self._max_providers_per_key = max_providers_per_key
        self._shelves = Shelves(
            max_records,
            max_provider_keys,
            distance=lambda key: distance(own_key, space.key(key)),
            max_bytes=max_bytes,
        )
        self._record_shelf, self._provider_shelf = self._shelves.all
        self._record_ends: Ranking[bytes] = Ranking()
        self._provider_ends: Ranking[tuple[bytes, PeerId]] = Ranking()
        self._agenda = Agenda()
        self._latest = -inf
        self._closed = False

    def __repr__(self) -> str:
        counts = f"records={len(self._records)} provider_keys={len(self._providers)} providers={self._provider_count}"
        return f"<MemoryStore {counts} bytes={self._shelves.weight}{' closed' if self._closed else ''}>"

    async def get(self, key: bytes, now: float) -> StoredRecord | None:
        """The record under `key`; None when there is none or it has expired."""
        self._at(now)
        stored = self._records.get(key)
        return stored if stored is not None and stored.expires > now else None

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        """Replace what is under `key` by what `decide` makes of it; returns what is there now.

        Raises what `decide` raises, and StoreFull, with nothing changed.
        """
        self._check_open()
        stored = self._records.get(key)
        chosen = decide(stored)
        if chosen is None:
            if stored is not None:
                self._remove(self._record_shelf, key)
        elif chosen is not stored:
            self._arrives(chosen.received)
            self._put(self._record_shelf, key, _record_weight(chosen), own=chosen.own)
            self._records[key] = chosen
            self._record_ends.set(key, chosen.expires)
            self._agenda.set("record", key, chosen.due if chosen.own else inf)
        return chosen

    async def add_provider(self, key: bytes, provider: StoredProvider) -> None:
        """Remember who provides `key`; a peer that is known for it is replaced. Raises StoreFull, with nothing changed.

        At the limit of providers per key the one that expires first makes room; an own one never does.
        """
        self._arrives(provider.received)
        known = self._providers.get(key, {})
        self._exchange_provider(key, known.get(provider.provider.id) or self._crowded_out(key, known), provider)

    async def providers(self, key: bytes, now: float) -> tuple[StoredProvider, ...]:
        """Who provides `key` and has not expired; addresses that have are left out."""
        self._at(now)
        known = self._providers.get(key, {})
        return tuple(alive for stored in known.values() if (alive := provider_at(stored, now)) is not None)

    async def remove_provider(self, key: bytes, peer: PeerId) -> bool:
        """Forget that `peer` provides `key`; False when it did not."""
        self._check_open()
        gone = self._providers.get(key, {}).get(peer)
        if gone is None:
            return False
        self._exchange_provider(key, gone, None)
        return True

    async def due(self, now: float, horizon: float, limit: int) -> tuple[Due, ...]:
        """Own entries whose `due` is at or before `now`, or after `horizon`."""
        self._check_open()
        return self._agenda.due(now, horizon, limit)

    async def next_due(self) -> float:
        """The earliest `due` of all own entries; infinite when there is none."""
        self._check_open()
        return self._agenda.next()

    async def set_due(self, kind: Kind, key: bytes, at: float) -> bool:
        """Change when an own entry is due; False when there is no such own entry."""
        self._check_open()
        if kind == "record":
            record = self._records.get(key)
            if record is None or not record.own:
                return False
            self._records[key] = replace(record, due=at)
        else:
            known = self._providers.get(key, {})
            own = next((stored for stored in known.values() if stored.own), None)
            if own is None:
                return False
            known[own.provider.id] = replace(own, due=at)
        self._agenda.set(kind, key, at)
        return True

    async def expire(self, now: float) -> int:
        """Remove everything that has expired; returns how many records and providers that were.

        Cancelled: the rest is removed by the next call.
        """
        self._at(now)
        removed = batch = self._sweep(now, BATCH)
        while batch == BATCH:
            await trio.lowlevel.checkpoint()
            self._check_open()
            batch = self._sweep(now, BATCH)
            removed += batch
        return removed

    def stats(self) -> StoreStats:
        """What is stored at this moment, what has expired but was not removed yet included."""
        self._check_open()
        return StoreStats(
            records=len(self._records),
            provider_keys=len(self._providers),
            providers=self._provider_count,
            own=sum(len(shelf.weights) - len(shelf.loose) for shelf in self._shelves.all),
            bytes=self._shelves.weight,
        )

    async def aclose(self) -> None:
        """Let go of what is stored. Idempotent. Every later call raises NodeClosed."""
        self._closed = True
        self._records.clear()
        self._providers.clear()
        self._agenda.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise NodeClosed

    def _at(self, now: float) -> None:
        self._check_open()
        if now < self._latest:
            self._sweep(self._latest)
        self._latest = now

    def _arrives(self, now: float) -> None:
        # What comes in takes the place of the dead before that of the living.
        self._at(now)
        self._sweep(now, BATCH)

    def _sweep(self, now: float, most: float = float("inf")) -> int:
        removed = 0
        while removed < most and (record := self._record_ends.first()) is not None and record[0] <= now:
            self._remove(self._record_shelf, record[1])
            removed += 1
        while removed < most and (provider := self._provider_ends.first()) is not None and provider[0] <= now:
            key, peer = provider[1]
            self._exchange_provider(key, self._providers[key][peer], None)
            removed += 1
        return removed

    def _put(self, shelf: Shelf, key: bytes, weight: int, *, own: bool) -> None:
        for left, gone in self._shelves.make_room(shelf, key, weight, own=own):
            self._remove(left, gone)
        self._shelves.put(shelf, key, weight, own=own)

    def _remove(self, shelf: Shelf, key: bytes) -> None:
        shelf.drop(key)
        if shelf is self._record_shelf:
            del self._records[key]
            self._record_ends.discard(key)
            self._agenda.set("record", key, inf)
            return
        gone = self._providers.pop(key)
        self._provider_count -= len(gone)
        self._agenda.set("provider", key, inf)
        for peer in gone:
            self._provider_ends.discard((key, peer))

    def _exchange_provider(self, key: bytes, gone: StoredProvider | None, came: StoredProvider | None) -> None:
        shelf = self._provider_shelf
        then = {peer: stored for peer, stored in self._providers.get(key, {}).items() if stored is not gone}
        if came is not None:
            then[came.provider.id] = came
        if then:
            weight = shelf.weights.get(key, PROVIDER_KEY_OVERHEAD + len(key))
            weight += _provider_weight(came) - _provider_weight(gone)
            self._put(shelf, key, weight, own=any(stored.own for stored in then.values()))
            self._providers[key] = then
        else:
            shelf.drop(key)
            del self._providers[key]
        self._agenda.set("provider", key, min((stored.due for stored in then.values() if stored.own), default=inf))
        if gone is not None:
            self._provider_ends.discard((key, gone.provider.id))
            self._provider_count -= 1
        if came is not None:
            self._provider_ends.set((key, came.provider.id), came.expires)
            self._provider_count += 1

    def _crowded_out(self, key: bytes, known: dict[PeerId, StoredProvider]) -> StoredProvider | None:
        # Who makes room for one more: nobody, as long as there is some.
        if len(known) < self._max_providers_per_key:
            return None
        loose = [stored for stored in known.values() if not stored.own]
        if not loose:
            raise StoreFull(f"{key_text(key)}: no room; all of its providers are the node's own")
        return min(loose, key=lambda stored: stored.expires)


def _record_weight(stored: StoredRecord) -> int:
    record = stored.record
    return RECORD_OVERHEAD + len(record.key) + len(record.value) + len(record.publisher)


def _provider_weight(stored: StoredProvider | None) -> int:
    if stored is None:
        return 0
    weight = PROVIDER_OVERHEAD + len(stored.provider.id)
    return weight + sum(ADDRESS_OVERHEAD + len(each.raw) + len(each.text) for each in stored.provider.addresses)
