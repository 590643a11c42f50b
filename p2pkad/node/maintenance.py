"""What a node does unasked: finds its network, keeps its table fresh, checks newcomers, sweeps what has expired.

job         when
checks      a newcomer identified itself, a peer of the table is under suspicion, or one was evicted
bootstrap   the table has fewer than LOW_TABLE peers that are not under suspicion; again at a fixed interval while it stays so
refresh     the table gets its first peer; SETTLING after it grew while it is small; then at a fixed interval
expire      at a fixed interval
"""

from __future__ import annotations

from contextlib import suppress
from random import Random

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import ClosestPeers
from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerId
from p2pkad.core.routing_table import name_in_bucket
from p2pkad.core.schedule import Schedule
from p2pkad.errors import NoPeers
from p2pkad.node.asking import Asking
from p2pkad.node.bootstrap import Bootstrap
from p2pkad.node.clock import Clock
from p2pkad.node.membership import Membership
from p2pkad.node.querying import Querying
from p2pkad.node.shared import SharedRun
from p2pkad.store.base import Store

LOW_TABLE = 3
"""Peers below which the bootstrap peers are asked again: so few may all be gone a moment later."""

SMALL_TABLE = 20
"""Peers below which each newcomer in the table starts a refresh: those who joined in the same moment were not yet known to
whom they asked, and in a small network nobody else would tell them of each other. The usual k."""

SETTLING = 1.0
"""Seconds between a newcomer and the refresh it starts, so that those who come together cost one. Checks take less."""


class Maintenance:
    """One task for an idle node: it sleeps until something is due, or somebody comes or goes."""

    def __init__(
        self,
        membership: Membership,
        asking: Asking,
        querying: Querying,
        bootstrap: Bootstrap,
        store: Store,
        config: KademliaConfig,
        clock: Clock,
        random: Random,
    ) -> None:
        self._membership = membership
        self._asking = asking
        self._querying = querying
        self._bootstrap = bootstrap
        self._store = store
        self._config = config
        self._clock = clock
        self._random = random
        self._refresh = SharedRun(self._refresh_all)

    async def run(self) -> None:
        """Until it is cancelled."""
        config, now = self._config, self._clock.monotonic()
        schedule = Schedule(
            {"bootstrap": config.bootstrap_interval, "expire": config.expire_interval, "refresh": config.refresh_interval}, now
        )
        schedule.run_at("bootstrap", now)
        jobs = {"bootstrap": self._ensure_peers, "expire": self._expire, "refresh": self._refresh_quietly}
        size = 0
        async with trio.open_nursery() as nursery:
            while True:
                for peer in self._membership.take_checks():
                    nursery.start_soon(self._check, peer)
                now = self._clock.monotonic()
                before, size = size, len(self._membership.table)
                if before < size < SMALL_TABLE:
                    schedule.run_at("refresh", now + SETTLING if before else now)
                for job in schedule.due(now):
                    schedule.done(job, now)
                    nursery.start_soon(jobs[job])
                with trio.move_on_at(schedule.next()):
                    await self._membership.changed.park()

    async def refresh(self) -> None:
        """Look up the own id, then a random name in each bucket. Two refreshes at once are one. Raises NoPeers."""
        await self._refresh()

    async def _refresh_all(self) -> None:
        own = self._membership.own
        await self._querying.run_lookup(ClosestPeers(bytes(own)))
        for prefix in self._membership.table.refresh_prefixes():
            await self._querying.run_lookup(ClosestPeers(await self._name_in(prefix)))

    async def _name_in(self, prefix: int) -> bytes:
        own = SHA256.key(self._membership.own)
        while True:
            name = name_in_bucket(own, prefix, self._random.getrandbits)
            if name is not None:
                return name
            await trio.lowlevel.checkpoint()  # names for deep buckets take thousands of tries: others must run meanwhile

    async def _refresh_quietly(self) -> None:
        with suppress(NoPeers):
            await self.refresh()

    async def _ensure_peers(self) -> None:
        before = len(self._membership.table)
        if self._membership.usable >= LOW_TABLE or not self._bootstrap.peers:
            return
        await self._bootstrap.attempt()
        if 0 < before < len(self._membership.table):
            await self._refresh_quietly()

    async def _expire(self) -> None:
        await self._store.expire(self._clock.wall())
        self._membership.book.expire(self._clock.monotonic())

    async def _check(self, peer: PeerId) -> None:
        await self._asking.check(peer, self._clock.monotonic() + self._config.request_timeout)
        self._membership.checked(peer)
