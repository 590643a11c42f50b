"""A store in memory: gone with the process, quick, and without threads.

No call waits, so each is atomic by itself; only `expire` makes pauses.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from p2pkad.config import StoreBounds
from p2pkad.core.keyspace import SHA256, Key, KeySpace
from p2pkad.core.peers import Address, PeerId
from p2pkad.core.records import StoredProvider, StoredRecord
from p2pkad.errors import NodeClosed
from p2pkad.store.base import Decide, Due, KeptPeer, Kind, StoreStats
from p2pkad.store.contents import BATCH, Contents


class MemoryStore:
    """A `p2pkad.store.base.Store` in memory. own_key: the key of the node's id in `space`."""

    def __init__(self, own_key: Key, bounds: StoreBounds, *, space: KeySpace = SHA256) -> None:
        self._contents = Contents(own_key, space, bounds)
        self._closed = False

    def __repr__(self) -> str:
        return f"<MemoryStore {self._contents!r}{' closed' if self._closed else ''}>"

    async def get(self, key: bytes, now: float) -> StoredRecord | None:
        """The record under `key`; None when there is none or it has expired."""
        self._check_open()
        return self._contents.get(key, now)

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        """Replace what is under `key` by what `decide` makes of it; returns what is there now.

        Raises what `decide` raises, and StoreFull, with nothing changed.
        """
        self._check_open()
        return self._contents.update(key, decide)

    async def add_provider(self, key: bytes, provider: StoredProvider) -> None:
        """Remember who provides `key`; a peer that is known for it is replaced. Raises StoreFull, with nothing changed.

        At the limit of providers per key the one that expires first makes room; an own one never does.
        """
        self._check_open()
        self._contents.add_provider(key, provider)

    async def providers(self, key: bytes, now: float) -> tuple[StoredProvider, ...]:
        """Who provides `key` and has not expired; addresses that have are left out."""
        self._check_open()
        return self._contents.providers(key, now)

    async def remove_provider(self, key: bytes, peer: PeerId) -> bool:
        """Forget that `peer` provides `key`; False when it did not."""
        self._check_open()
        return self._contents.remove_provider(key, peer)

    async def due(self, now: float, horizon: float, limit: int) -> tuple[Due, ...]:
        """Own entries whose `due` is at or before `now`, or after `horizon`."""
        self._check_open()
        return self._contents.due(now, horizon, limit)

    async def next_due(self) -> float:
        """The earliest `due` of all own entries; infinite when there is none."""
        self._check_open()
        return self._contents.next_due()

    async def set_due(self, kind: Kind, key: bytes, at: float) -> bool:
        """Change when an own entry is due; False when there is no such own entry."""
        self._check_open()
        return self._contents.set_due(kind, key, at)

    async def set_addresses(self, key: bytes, addresses: Sequence[Address], now: float) -> bool:
        """Change where the node's own provider of `key` is said to be; False when there is no such own entry."""
        self._check_open()
        return self._contents.set_addresses(key, addresses, now)

    async def expire(self, now: float) -> int:
        """Remove everything that has expired; returns how many records and providers that were.

        Cancelled: the rest is removed by the next call.
        """
        self._check_open()
        self._contents.see(now)
        removed = batch = self._contents.sweep(now, BATCH)
        while batch == BATCH:
            await trio.lowlevel.checkpoint()
            self._check_open()
            batch = self._contents.sweep(now, BATCH)
            removed += batch
        return removed

    async def save_peers(self, peers: Sequence[KeptPeer]) -> None:
        """Keep these peers instead of those that were kept, the first MAX_PEERS."""
        self._check_open()
        self._contents.save_peers(peers)

    async def saved_peers(self) -> tuple[KeptPeer, ...]:
        """The peers that were saved last."""
        self._check_open()
        return self._contents.peers

    def stats(self) -> StoreStats:
        """What is stored at this moment, what has expired but was not removed yet included."""
        self._check_open()
        return self._contents.stats()

    @property
    def trouble(self) -> None:
        """None: there is no disk."""

    async def aclose(self) -> None:
        """Let go of what is stored. Idempotent. Every later call raises NodeClosed."""
        self._closed = True
        self._contents.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise NodeClosed
