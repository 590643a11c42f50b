"""What a store holds, in memory, and the rules that every store keeps: bounds, lifetimes, the agenda. No waiting, no files.

Each call is atomic: it has changed everything it says, or raised and changed nothing. Every key is found by its hash, what
expires next and who leaves first by a heap: no call looks at all that is stored, but for the one after a clock went back.

Whoever keeps a copy elsewhere is told of each change (`Change`), and can take it back. Some changes nobody has asked for, and
they are true whatever becomes of the copy: the dead are dead, and a time that was set is set. They are marked `firm`.

The clock may go back. What had expired before that is dead all the same, so it is removed first: whoever asks next, for
whatever key, at an earlier time than anybody before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

from p2pkad.config import StoreBounds
from p2pkad.core.keyspace import Key, KeySpace, distance
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.records import StoredProvider, StoredRecord, provider_at
from p2pkad.errors import StoreFull, key_text
from p2pkad.store.agenda import Agenda
from p2pkad.store.base import MAX_PEERS, Decide, Due, KeptPeer, Kind, StoreStats
from p2pkad.store.eviction import Ranking, Shelf, Shelves

# What Python takes beside the bytes themselves for one of each, with its places in the dictionaries and heaps here.
# Measured with tracemalloc on CPython 3.11: 760, 520, 465 and 215 bytes; tests/store/test_memory.py holds them to the truth.
# The place of an own entry on the agenda is about what it saves in the ranking of those that may have to leave.
RECORD_OVERHEAD = 800
PROVIDER_KEY_OVERHEAD = 550
PROVIDER_OVERHEAD = 500
ADDRESS_OVERHEAD = 220

# Entries removed at once when something comes in, or between two pauses: some milliseconds.
BATCH = 250

NOBODY = PeerId()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry is: a record under its key, a provider under key and peer. A record has no peer: NOBODY."""

    kind: Kind
    key: bytes
    peer: PeerId = NOBODY


@dataclass(frozen=True, slots=True)
class Change:
    """An entry came, went or became another one. before: what was there. firm: it is not to be taken back."""

    place: Place
    before: StoredRecord | StoredProvider | None
    firm: bool


class Contents:
    """Records, providers and peers. tell: called with each change, after it."""

    def __init__(
        self, own_key: Key, space: KeySpace, bounds: StoreBounds, tell: Callable[[Change], None] | None = None
    ) -> None:
        self.latest = -inf
        """The latest time that anybody asked at, in wall seconds."""
        self.peers: tuple[KeptPeer, ...] = ()
        self._records: dict[bytes, StoredRecord] = {}
        self._providers: dict[bytes, dict[PeerId, StoredProvider]] = {}
        self._guests: dict[bytes, int] = {}  # what the providers of a key weigh that are not own
        self._provider_count = 0
        self._max_providers_per_key = bounds.max_providers_per_key
        self._shelves = Shelves(
            bounds.max_records,
            bounds.max_provider_keys,
            distance=lambda key: distance(own_key, space.key(key)),
            max_bytes=bounds.max_bytes,
        )
        self._record_shelf, self._provider_shelf = self._shelves.all
        self._record_ends: Ranking[bytes] = Ranking()
        self._provider_ends: Ranking[tuple[bytes, PeerId]] = Ranking()
        self._agenda = Agenda()
        self._tell = tell

    def __repr__(self) -> str:
        counts = f"records={len(self._records)} provider_keys={len(self._providers)} providers={self._provider_count}"
        return f"{counts} bytes={self._shelves.weight}"

    # What `Store` promises, but for the waiting

    def get(self, key: bytes, now: float) -> StoredRecord | None:
        """See `Store.get`."""
        self.see(now)
        stored = self._records.get(key)
        return stored if stored is not None and stored.expires > now else None

    def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        """See `Store.update`."""
        stored = self._records.get(key)
        chosen = decide(stored)
        if chosen is None:
            if stored is not None:
                self._set_record(key, None)
        elif chosen is not stored:
            self._arrives(chosen.received)
            self._make_room(self._record_shelf, key, _record_weight(chosen), own=chosen.own)
            self._set_record(key, chosen)
        return chosen

    def add_provider(self, key: bytes, provider: StoredProvider) -> None:
        """See `Store.add_provider`."""
        self._arrives(provider.received)
        known, peer = self._providers.get(key, {}), provider.provider.id
        gone = known.get(peer) or self._crowded_out(key, known)
        weight = self._provider_shelf.weights.get(key, PROVIDER_KEY_OVERHEAD + len(key))
        weight += _provider_weight(provider) - _provider_weight(gone)
        self._make_room(
            self._provider_shelf, key, weight, own=provider.own, guests=self._guests.get(key, 0) - _guest_weight(gone)
        )
        if gone is not None and gone.provider.id != peer and gone.provider.id in self._providers.get(key, {}):
            self._set_provider(key, gone.provider.id, None)
        self._set_provider(key, peer, provider)

    def providers(self, key: bytes, now: float) -> tuple[StoredProvider, ...]:
        """See `Store.providers`."""
        self.see(now)
        known = self._providers.get(key, {})
        return tuple(alive for stored in known.values() if (alive := provider_at(stored, now)) is not None)

    def remove_provider(self, key: bytes, peer: PeerId) -> bool:
        """See `Store.remove_provider`."""
        if peer not in self._providers.get(key, {}):
            return False
        self._set_provider(key, peer, None)
        return True

    def due(self, now: float, horizon: float, limit: int) -> tuple[Due, ...]:
        """See `Store.due`."""
        return self._agenda.due(now, horizon, limit)

    def next_due(self) -> float:
        """See `Store.next_due`."""
        return self._agenda.next()

    def set_due(self, kind: Kind, key: bytes, at: float) -> bool:
        """See `Store.set_due`."""
        if kind == "record":
            record = self._records.get(key)
            if record is None or not record.own:
                return False
            self._set_record(key, replace(record, due=at), firm=True)
        else:
            own = self._own_provider(key)
            if own is None:
                return False
            self._set_provider(key, own.provider.id, replace(own, due=at), firm=True)
        return True

    def set_addresses(self, key: bytes, addresses: Sequence[Address], now: float) -> bool:
        """See `Store.set_addresses`."""
        own = self._own_provider(key)
        if own is None:
            return False
        self.add_provider(key, replace(own, provider=PeerInfo(own.provider.id, tuple(addresses)), received=now))
        return True

    def save_peers(self, peers: Sequence[KeptPeer]) -> None:
        """See `Store.save_peers`. It is no `Change`."""
        self.peers = tuple(peers[:MAX_PEERS])

    def stats(self) -> StoreStats:
        """See `Store.stats`."""
        return StoreStats(
            records=len(self._records),
            provider_keys=len(self._providers),
            providers=self._provider_count,
            own=sum(shelf.own for shelf in self._shelves.all),
            provided=self._provider_shelf.own,
            bytes=self._shelves.weight,
        )

    # Time

    def see(self, now: float) -> None:
        """Somebody asks at this time."""
        if now < self.latest:
            self.sweep(self.latest)
        self.latest = now

    def sweep(self, now: float, most: float = inf) -> int:
        """Remove what has expired, `most` entries at most; returns how many that were."""
        removed = 0
        while removed < most and (record := self._record_ends.first()) is not None and record[0] <= now:
            self._set_record(record[1], None, firm=True)
            removed += 1
        while removed < most and (provider := self._provider_ends.first()) is not None and provider[0] <= now:
            self._set_provider(*provider[1], None, firm=True)
            removed += 1
        return removed

    # For whoever keeps a copy

    def at(self, place: Place) -> StoredRecord | StoredProvider | None:
        """What is there now, dead or alive."""
        if place.kind == "record":
            return self._records.get(place.key)
        return self._providers.get(place.key, {}).get(place.peer)

    def put_back(self, place: Place, entry: StoredRecord | StoredProvider | None) -> None:
        """Let there be what there was, or what a copy has, whatever the bounds say."""
        match entry:
            case StoredRecord():
                self._set_record(place.key, entry)
            case StoredProvider():
                self._set_provider(place.key, place.peer, entry)
            case None if place.kind == "record":
                self._set_record(place.key, None)
            case None:
                self._set_provider(place.key, place.peer, None)

    def trim(self) -> None:
        """Drop what is too much, because it came in by `put_back` and the bounds are narrower than they were."""
        for key in [key for key, known in self._providers.items() if len(known) > self._max_providers_per_key]:
            known = sorted(self._providers[key].values(), key=lambda stored: (stored.own, stored.expires), reverse=True)
            for stored in known[self._max_providers_per_key :]:
                if not stored.own:
                    self._set_provider(key, stored.provider.id, None, firm=True)
        while (surplus := self._shelves.surplus()) is not None:
            self._drop(*surplus, firm=True)

    def clear(self) -> None:
        """Forget all of it."""
        self._records.clear()
        self._providers.clear()
        self._guests.clear()
        self._agenda.clear()
        self.peers = ()

    # Inside

    def _arrives(self, now: float) -> None:
        # What comes in takes the place of the dead before that of the living.
        self.see(now)
        self.sweep(now, BATCH)

    def _make_room(self, shelf: Shelf, key: bytes, weight: int, *, own: bool, guests: int = 0) -> None:
        for left, gone in self._shelves.make_room(shelf, key, weight, own=own, guests=guests):
            self._drop(left, gone)

    def _drop(self, shelf: Shelf, key: bytes, *, firm: bool = False) -> None:
        if shelf is self._record_shelf:
            self._set_record(key, None, firm=firm)
            return
        for peer in [peer for peer, stored in self._providers[key].items() if not stored.own]:
            self._set_provider(key, peer, None, firm=firm)

    def _set_record(self, key: bytes, then: StoredRecord | None, *, firm: bool = False) -> None:
        before = self._records.get(key)
        if then is not None:
            self._shelves.put(self._record_shelf, key, _record_weight(then), own=then.own)
            self._records[key] = then
            self._record_ends.set(key, then.expires)
        elif before is not None:
            self._record_shelf.drop(key)
            del self._records[key]
            self._record_ends.discard(key)
        self._agenda.set("record", key, then.due if then is not None and then.own else inf)
        if self._tell is not None:
            self._tell(Change(Place("record", key), before, firm))

    def _set_provider(self, key: bytes, peer: PeerId, then: StoredProvider | None, *, firm: bool = False) -> None:
        known, shelf = self._providers.setdefault(key, {}), self._provider_shelf
        before = known.pop(peer, None)
        self._provider_ends.discard((key, peer))
        if then is not None:
            known[peer] = then
            self._provider_ends.set((key, peer), then.expires)
        self._provider_count += (then is not None) - (before is not None)
        if known:
            weight = shelf.weights.get(key, PROVIDER_KEY_OVERHEAD + len(key))
            weight += _provider_weight(then) - _provider_weight(before)
            guests = self._guests.get(key, 0) + _guest_weight(then) - _guest_weight(before)
            self._guests[key] = guests
            own = weight > PROVIDER_KEY_OVERHEAD + len(key) + guests
            self._shelves.put(shelf, key, weight, own=own, guests=guests)
        else:
            del self._providers[key]
            self._guests.pop(key, None)
            if key in shelf.weights:
                shelf.drop(key)
        self._agenda.set("provider", key, min((stored.due for stored in known.values() if stored.own), default=inf))
        if self._tell is not None:
            self._tell(Change(Place("provider", key, peer), before, firm))

    def _own_provider(self, key: bytes) -> StoredProvider | None:
        return next((stored for stored in self._providers.get(key, {}).values() if stored.own), None)

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


def _guest_weight(stored: StoredProvider | None) -> int:
    return 0 if stored is None or stored.own else _provider_weight(stored)


def _provider_weight(stored: StoredProvider | None) -> int:
    if stored is None:
        return 0
    weight = PROVIDER_OVERHEAD + len(stored.provider.id)
    return weight + sum(ADDRESS_OVERHEAD + len(each.raw) + len(each.text) for each in stored.provider.addresses)
