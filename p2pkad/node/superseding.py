"""Own records that have to give way: somebody else has a better one, and this node publishes the key no more.

However it comes to know of that, by a put of a peer, by reading, or when it is about to publish its own one again, it says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from p2pkad.core.records import StoredRecord
from p2pkad.errors import NodeClosed, RecordError, StaleRecord, StoreFull
from p2pkad.events import NodeEvent, RepublishFailed
from p2pkad.node.clock import Clock
from p2pkad.store.base import Decide, Store

LOOKED_WITHIN = 1.0
"""Seconds that a store has for a look at one of its records when nobody waits for it any more."""


class Superseding:
    """Around whatever puts a record of somebody else into the store of a node."""

    def __init__(self, store: Store, clock: Clock, tell: Callable[[NodeEvent], None]) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell

    async def keep(self, key: bytes, decision: Callable[[], Decide]) -> None:
        """Have the store decide. What does not win is nothing; one that wins and finds no room ends the own one all the same.

        Raises StoreFull, StoreFailed: of the disk. One that hangs may have it in use by then.
        """
        # What came meanwhile may be better still, and a record that is passed on can die on the way.
        with suppress(RecordError):
            decide = decision()
            try:
                async with self.told(key, decide) as seen:
                    await self._store.update(key, seen)
            except StoreFull:
                async with self.told(key, partial(_given_up, decide)) as seen:
                    await self._store.update(key, seen)

    @asynccontextmanager
    async def told(self, key: bytes, decide: Decide) -> AsyncIterator[Decide]:
        """Around an update of the store with what this gives, which decides as `decide`: tells when the own record is gone."""
        now, superseded = self._clock.wall(), None

        def decide_and_see(stored: StoredRecord | None) -> StoredRecord | None:
            nonlocal superseded
            chosen = decide(stored)
            own = stored is not None and stored.own and stored.expires > now
            superseded = stored if own and (chosen is None or not chosen.own) else None
            return chosen

        try:
            yield decide_and_see
        finally:  # what is cancelled, or takes the disk too long, may be stored all the same
            if superseded is not None and await self._is_gone(superseded):
                error = StaleRecord(key, "somebody else has published a better record; this node publishes its own no more")
                self._tell(RepublishFailed(at=self._clock.monotonic(), kind="record", key=key, error=error))

    async def _is_gone(self, own: StoredRecord) -> bool:
        """Whether the own record is, and not by its own end meanwhile. What replaced it may be gone by now, too."""
        with suppress(NodeClosed), trio.CancelScope(deadline=trio.current_time() + LOOKED_WITHIN, shield=True):
            now = self._clock.wall()
            stored = await self._store.get(own.record.key, now)
            return not stored.own if stored is not None else own.expires > now
        return False


def _given_up(decide: Decide, stored: StoredRecord | None) -> StoredRecord | None:
    """The decision to store nothing in the place of an own record that, by `decide`, has to give way."""
    if stored is None or not stored.own:
        return stored
    chosen = decide(stored)
    return chosen if chosen is None or chosen.own else None
