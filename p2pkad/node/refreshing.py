"""The routing table is kept fresh by looking into its buckets: whoever is near a random name there is met, or missed.

each bucket  an interval after it was last looked into. Any lookup looks into the bucket that its key falls in, so those
             that are used anyway are left alone. Which buckets, and where that ends: `RoutingTable.refresh_prefixes`
the own id   at the same interval. The k nearest are found by it, so nobody is missing in the buckets that are nearer than the
             farthest of them, and those are left alone; when there are fewer than k, that is everybody
everything   when the table gets its first peer, and SETTLING after it grew, the first time included, if it is still small
the own id   SETTLING after several who were missed have returned together, or the own addresses changed
a peer       that no lookup has come by for long is asked whether it is still there

kad-dht r2, "Bootstrap process", and go's routing table refresh.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import ClosestPeers
from p2pkad.core.keyspace import SHA256
from p2pkad.core.lookup import Ending, Outcome
from p2pkad.core.routing_table import MAX_REFRESH_PREFIX, name_in_bucket
from p2pkad.core.schedule import Schedule
from p2pkad.errors import LocalLimit, NoPeers
from p2pkad.events import LookupEnded, NodeEvent, PeerAdmitted, PeerReturned
from p2pkad.node.clock import Clock
from p2pkad.node.limits import Lane
from p2pkad.node.membership import Membership
from p2pkad.node.querying import Querying
from p2pkad.node.shared import SharedRun

SMALL_TABLE = 20
"""Peers below which each newcomer in the table starts a refresh: those who joined in the same moment were not yet known to
whom they asked, and in a small network nobody else would tell them of each other. The usual k."""

SETTLING = 1.0
"""Seconds between a newcomer and the refresh it starts, so that those who come together cost one. Checks take less."""

TOGETHER = 10.0
"""Seconds between two who return, below which they count as a part of the network and not as two restarted programs."""

# go checks whom it has not heard of for so long that one refresh after the other should have come by: with alpha 10 each asks
# half of a bucket of 20, and 20 * (1/2)**n is below 1 with n = 4.3.
UNSEEN_INTERVALS = 4
"""Refresh intervals after which a peer of the table is checked that no lookup has come by."""

OWN_ID = SHA256.bits
"""The job beside the buckets, numbered by common prefix: the own key shares all of its bits with itself."""

JOBS = (OWN_ID, *range(MAX_REFRESH_PREFIX + 1))


class Refreshing:
    """A chore: looks into those buckets whose time has come. Tell it what happens through `on_event`.

    spawn: as for `Bootstrap`.
    """

    def __init__(
        self,
        membership: Membership,
        querying: Querying,
        config: KademliaConfig,
        clock: Clock,
        dice: Random,
        spawn: Callable[..., None],
    ) -> None:
        self._membership = membership
        self._querying = querying
        self._k = config.k
        self._interval = config.refresh_interval
        self._clock = clock
        self._dice = dice
        self._own_key = SHA256.key(membership.own)
        self._schedule = Schedule(dict.fromkeys(JOBS, config.refresh_interval), clock.monotonic(), dice.random)
        self._known_from = MAX_REFRESH_PREFIX + 1
        self._grew = float("inf")
        self._once_more = float("inf")
        self._last_return = float("-inf")
        self._all = SharedRun(self._refresh_all, spawn)
        self._one_at_a_time = trio.Lock()

    def due(self) -> float:
        if not len(self._membership.table):
            return float("inf")
        grew = self._grew if len(self._membership.table) < SMALL_TABLE else float("inf")
        return min(grew, self._schedule.soonest(self._current_jobs()))

    async def run(self) -> None:
        now = self._clock.monotonic()
        if self._grew <= now:
            self._grew, self._once_more = self._once_more, float("inf")
            if len(self._membership.table) < SMALL_TABLE:
                self._all_due_at(now)
        self._membership.recheck(now - UNSEEN_INTERVALS * self._interval)
        with suppress(NoPeers, LocalLimit):
            await self._refresh_due()

    async def refresh(self) -> None:
        """Look into everything now. Two refreshes at once are one. Raises NoPeers, LocalLimit."""
        await self._all()

    def on_event(self, event: NodeEvent) -> None:
        """Something happened that makes a refresh due, or spares one."""
        match event:
            case LookupEnded(key=key, outcome=outcome) if outcome.answered and outcome.ending is Ending.CONVERGED:
                self._looked_into(SHA256.common_prefix(self._own_key, SHA256.key(key)), outcome, event.at)
            case PeerAdmitted(at=at) if len(self._membership.table) < SMALL_TABLE:
                first = len(self._membership.table) == 1
                self._once_more = at + SETTLING if first else self._once_more
                self._grew = min(self._grew, at if first else at + SETTLING)
            case PeerReturned(at=at):
                if at - self._last_return < TOGETHER:
                    self._schedule.run_at(OWN_ID, at + SETTLING)
                self._last_return = at
            case _:
                pass

    def own_addresses_changed(self) -> None:
        """Those who are near are to learn where this node is now: looking for them tells them."""
        self._schedule.run_at(OWN_ID, self._clock.monotonic() + SETTLING)
        self._membership.changed.unpark_all()

    async def _refresh_all(self) -> None:
        self._all_due_at(self._clock.monotonic())
        await self._refresh_due()

    async def _refresh_due(self) -> None:
        async with self._one_at_a_time:
            began = self._clock.monotonic()
            # Asked after each bucket: one that was a gap may be filled now.
            while (job := next((job for job in self._current_jobs() if self._schedule.at(job) <= began), None)) is not None:
                name = bytes(self._membership.own) if job == OWN_ID else await self._name_in(job)
                # Before the lookup, which may fail: then, too, the next one is due an interval later.
                self._schedule.done(job, self._clock.monotonic())
                await self._querying.run_lookup(ClosestPeers(name), lane=Lane.CHORES)

    def _current_jobs(self) -> tuple[int, ...]:
        return (OWN_ID, *self._membership.table.refresh_prefixes()[: self._known_from])

    def _all_due_at(self, at: float) -> None:
        for job in JOBS:
            self._schedule.run_at(job, at)

    def _looked_into(self, prefix: int, outcome: Outcome, now: float) -> None:
        if prefix in JOBS:  # deeper buckets are those of the nearest neighbours, whom a lookup of the own id finds
            self._schedule.done(prefix, now)
        if prefix == OWN_ID:
            everybody = len(outcome.closest) < self._k
            self._known_from = 0 if everybody else self._membership.table.bucket_of(outcome.closest[-1]) + 1

    async def _name_in(self, prefix: int) -> bytes:
        while True:
            name = name_in_bucket(self._own_key, prefix, self._dice.getrandbits)
            if name is not None:
                return name
            await trio.lowlevel.checkpoint()  # names for deep buckets take thousands of tries: others must run meanwhile
