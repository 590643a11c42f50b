"""When each of the node's own entries is to be published again.

An entry's time stands in the store beside it, so that with the same store a restart, or a day without power, changes nothing:

stored                in RETRY, should its first publication come to nothing, or the process end in the middle of it
taken to be published the same
nobody to tell        at once, and that is when somebody is there (republishing.py)
published             one interval later, or up to a quarter of it earlier
announced elsewhere   at once: the node has an address that it had not when it said last that it provides this (`moved`)

The dice keep what was published together from coming due together for ever. Where much is due at once all the same, because
the node was away or 10,000 keys were new in one minute, it goes out one a `spacing`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import inf
from random import Random

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.peers import Address
from p2pkad.node.clock import Clock
from p2pkad.store.base import Due, Kind, Store

SPREAD = 0.25
"""The part of an interval over which what is due at its end is spread, and in which any backlog is worked off."""

RETRY = 600.0
"""Seconds after which what did not reach enough peers is tried again, at most; a quarter of short intervals."""

PACE = 1.0
"""Seconds between two entries of a backlog, unless there are so many that they would take longer than they may."""

NOTED_WITHIN = 1.0
"""Seconds that a caller waits until a time is on disk. It counts at once, and is written when the disk moves."""

LOOK_AGAIN = 3600.0
"""Seconds after which the store is asked again, whatever it said: the clock on the wall may have been set meanwhile, and the
monotonic one stands still while a machine sleeps."""


class Cycle:
    """The times of own entries. wake: called when something may be due earlier than was thought."""

    def __init__(self, store: Store, config: KademliaConfig, clock: Clock, random: Random, wake: Callable[[], object]) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._wake = wake
        self._intervals: dict[Kind, float] = {"record": config.republish_interval, "provider": config.reprovide_interval}
        self.look_at = clock.monotonic()
        """When something is due, or may be; monotonic seconds. The first look, at what an earlier life left, is at once."""

    def first(self, kind: Kind) -> float:
        """The time, in wall seconds, with which a new own entry is stored."""
        return self._clock.wall() + self._retry(kind)

    def stored(self, kind: Kind) -> None:
        """A new entry was stored with its first time, or may have been."""
        self._expect(self.first(kind))

    async def held_up(self, kind: Kind, key: bytes) -> None:
        """There was nobody to be told of a new own entry."""
        await self._set(kind, key, self._clock.wall())

    async def published(self, kind: Kind, key: bytes) -> None:
        """An own entry has been published; nothing happens when it is none any more."""
        await self._set(kind, key, self._clock.wall() + self._intervals[kind] * (1 - SPREAD * self._random.random()))

    async def _set(self, kind: Kind, key: bytes, at: float) -> None:
        known = True
        try:
            with trio.move_on_after(NOTED_WITHIN):
                known = await self._store.set_due(kind, key, at)
        finally:
            if known:
                self._expect(at)

    async def moved(self, addresses: Collection[Address]) -> bool:
        """The node can be reached at these addresses; whether it provides anything that it announced without one of them.

        That is due now, unless it is in RETRY anyway. An address less is no reason: of several some are always dead.
        """
        found, here = False, frozenset(addresses)
        for entry in await self._store.due(inf, inf, limit=self._store.stats().own):
            await trio.lowlevel.checkpoint()  # there may be tens of thousands
            if entry.kind == "provider" and not here <= await self._announced_at(entry.key):
                found, now = True, self._clock.wall()
                if entry.at > now + self._retry("provider") and await self._store.set_due("provider", entry.key, now):
                    self._expect(now)
        return found

    async def _announced_at(self, key: bytes) -> frozenset[Address]:
        known = await self._store.providers(key, self._clock.wall())
        return frozenset(address for stored in known if stored.own for address in stored.provider.addresses)

    async def take(self) -> Due | None:
        """The entry that has been due for longest, or None; until it has been published it is due again in RETRY."""
        now = self._clock.wall()
        # No time lies farther ahead than an interval, unless the clock was set back, or an interval made shorter.
        found = await self._store.due(now, now + max(self._intervals.values()), limit=1)
        if not found:
            return None
        await self._store.set_due(found[0].kind, found[0].key, now + self._retry(found[0].kind))
        return found[0]

    async def look(self) -> None:
        """Find out when `take` will have something."""
        self.look_at = inf
        self._expect(await self._store.next_due())

    def spacing(self) -> float:
        """Seconds between two entries: PACE, or less, so that all own entries take no longer than the spread."""
        return min(PACE, SPREAD * min(self._intervals.values()) / max(1, self._store.stats().own))

    def _retry(self, kind: Kind) -> float:
        return min(RETRY, SPREAD * self._intervals[kind])

    def _expect(self, at: float) -> None:
        if at < inf:
            ahead = min(max(0.0, at - self._clock.wall()), LOOK_AGAIN)
            look_at = self._clock.monotonic() + ahead
            if look_at < self.look_at:
                self.look_at = look_at
                self._wake()
