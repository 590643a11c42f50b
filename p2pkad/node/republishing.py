"""What a node publishes it publishes again, before its holders forget it. Holders never do so for others.

A record is looked up before it is put again, at the price of the lookup that a put needs anyway: where somebody else's better
one is found, this node keeps that, and publishes the key no more. What its validator refuses by now is not sent.
kad-dht r2, "Content provider advertisement"; the paper, section 2.5.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import trio

from p2pkad.errors import P2pkadError
from p2pkad.events import NodeEvent, Republished, RepublishFailed
from p2pkad.node.clock import Clock
from p2pkad.node.cycle import Cycle
from p2pkad.node.membership import Membership
from p2pkad.node.publishing import Publishing
from p2pkad.store.base import Due

AT_ONCE = 8
"""Entries that are being published at a time: a lookup and its puts have some 30 requests under way."""


class Republishing:
    """A chore: own records and provider records, each in its time."""

    def __init__(
        self,
        membership: Membership,
        publishing: Publishing,
        cycle: Cycle,
        clock: Clock,
        tell: Callable[[NodeEvent], None],
    ) -> None:
        self._membership = membership
        self._publishing = publishing
        self._cycle = cycle
        self._clock = clock
        self._tell = tell
        self._under_way: set[tuple[str, bytes]] = set()

    def due(self) -> float:
        # Without peers there is nobody to tell. When the first one comes the table wakes whoever waits.
        return self._cycle.look_at if len(self._membership.table) else inf

    async def run(self) -> None:
        free = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            while len(self._membership.table) and (entry := await self._cycle.take()) is not None:
                if (entry.kind, entry.key) not in self._under_way:
                    await free.acquire()
                    nursery.start_soon(self._publish, entry, free)
                await trio.sleep(self._cycle.spacing())
        await self._cycle.look()

    async def _publish(self, entry: Due, free: trio.Semaphore) -> None:
        self._under_way.add((entry.kind, entry.key))
        try:
            await self._try(entry)
        finally:
            self._under_way.discard((entry.kind, entry.key))
            free.release()

    async def _try(self, entry: Due) -> None:
        again = self._publishing.put_again if entry.kind == "record" else self._publishing.provide_again
        try:
            receipt = await again(entry.key)
        except P2pkadError as error:
            self._tell(RepublishFailed(at=self._clock.monotonic(), kind=entry.kind, key=entry.key, error=error))
        else:
            if receipt is not None:
                self._tell(Republished(at=self._clock.monotonic(), kind=entry.kind, key=entry.key, receipt=receipt))
