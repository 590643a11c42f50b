"""Whom a node knew, kept in the store, so that its next life is back in its network without a bootstrap peer.

Members of the routing table are kept, nearest first, and those who are missed there (core/awaited.py), with their addresses.
At the start all of them are missed: the members are tried at once, MAX_CHECKS at a time, who was missed before when its turn
comes. Who answers enters the table as everybody does; who does not stays missed. Nothing is believed that may have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import trio

from p2pkad.core.awaited import AwaitedPeer
from p2pkad.events import NodeEvent
from p2pkad.node.clock import Clock
from p2pkad.node.membership import MAX_AWAITED, Membership
from p2pkad.store.base import KeptPeer, Store

FIRST = 5.0
"""Seconds from the start to the first time that the table is saved: a node may be killed as soon as it has joined."""

EVERY = 300.0
"""Seconds between two savings of a table that changes. A table of 300 peers takes 50 kB."""

AT_CLOSE = 5.0
"""Seconds that saving may take when the node closes."""


class Remembering:
    """A chore: saves whom the node knows, when that has changed."""

    def __init__(self, membership: Membership, store: Store, clock: Clock) -> None:
        self._membership = membership
        self._store = store
        self._clock = clock
        self._not_before = clock.monotonic() + FIRST
        self._changed = False

    def on_event(self, event: NodeEvent) -> None:
        """Who is in the table has changed."""
        self._changed = True

    def due(self) -> float:
        return self._not_before if self._changed else inf

    async def run(self) -> None:
        self._not_before = self._clock.monotonic() + EVERY
        await self._save()

    async def save_at_close(self) -> None:
        """Save it for the last time, also while everything is being cancelled."""
        # Of a life in which nobody answered there is nothing to tell that the last one did not know better.
        if len(self._membership.table):
            with trio.move_on_after(AT_CLOSE) as patience:
                patience.shield = True
                await self._save()

    async def recall(self) -> None:
        """Miss everybody whom the store remembers. Before the node does anything else."""
        kept = (await self._store.saved_peers())[:MAX_AWAITED]
        now, ago = self._clock.monotonic(), self._clock.wall() - self._clock.monotonic()
        missed = [each for each in kept if each.since is not None]
        for each in sorted(missed, key=lambda each: each.tried):
            since = min(now, (each.since or 0.0) - ago)
            tried = min(now, each.tried - ago)
            self._membership.recall(each.peer, AwaitedPeer(each.peer.id, since, each.stayed, tried, each.tries))
        for each in kept:
            if each.since is None:
                self._membership.recall(each.peer, AwaitedPeer(each.peer.id, now, each.stayed, tried=now))
                self._membership.awaited.call(each.peer.id)

    async def _save(self) -> None:
        self._changed = False
        await self._store.save_peers([*self._members(), *self._missed()])

    def _members(self) -> Sequence[KeptPeer]:
        now, table = self._clock.monotonic(), self._membership.table
        added = {entry.peer: entry.added for bucket in table.buckets() for entry in bucket.entries}
        nearest = self._membership.seeds(self._membership.own, len(table))
        return [KeptPeer(peer=self._membership.info(peer), stayed=now - added[peer]) for peer in nearest]

    def _missed(self) -> Sequence[KeptPeer]:
        """Those who had been in the table for longest come first. Who has not been tried since is to be tried at once, too."""
        ahead = self._clock.wall() - self._clock.monotonic()
        missed = sorted(self._membership.awaited, key=lambda each: each.stayed, reverse=True)
        return [
            KeptPeer(
                peer=self._membership.info(each.peer),
                since=each.since + ahead if each.tries else None,
                stayed=each.stayed,
                tried=each.tried + ahead,
                tries=each.tries,
            )
            for each in missed
        ]
