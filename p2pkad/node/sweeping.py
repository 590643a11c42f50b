"""What has expired is dropped now and then. It is never served, swept or not: this frees its memory."""

from __future__ import annotations

from random import Random

from p2pkad.core.schedule import Schedule
from p2pkad.node.clock import Clock
from p2pkad.node.membership import Membership
from p2pkad.store.base import Store


class Sweeping:
    """A chore: expired records, providers, addresses and memories. interval: seconds."""

    def __init__(self, membership: Membership, store: Store, interval: float, clock: Clock, dice: Random) -> None:
        self._membership = membership
        self._store = store
        self._clock = clock
        self._schedule = Schedule({"sweep": interval}, clock.monotonic(), dice.random)

    def due(self) -> float:
        return self._schedule.at("sweep")

    async def run(self) -> None:
        self._schedule.done("sweep", self._clock.monotonic())
        self._membership.expire()
        await self._store.expire(self._clock.wall())
