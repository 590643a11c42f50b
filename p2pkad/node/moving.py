"""A node that is somewhere else says so to those who tell others where to find what it provides.

Holders of a provider record that are connected to the provider tell its present address. The others tell the one of its last
announcement, which may be most of a day old, and whoever they send there finds nobody. With each own entry the store keeps at
which addresses it was announced, so that a node sees, also in its next life, which of them the world is wrong about. Those
go out with the backlog, one a `Cycle.spacing`.

looked at   when the table gets its first peer: this life may be elsewhere than the last one
            SETTLING after the own addresses changed, but not before PAUSE is over
            PAUSE after a look that found something, until nothing is found
"""

from __future__ import annotations

from math import inf

from p2pkad.net.base import Network
from p2pkad.node.clock import Clock
from p2pkad.node.cycle import Cycle
from p2pkad.node.membership import Membership

SETTLING = 5.0
"""Seconds between a change and the look: a machine gets its addresses one after the other."""

PAUSE = 300.0
"""Seconds after which entries are found due again, at the soonest. A machine whose address comes and goes asks no more of the
network than two announcements of an entry in that time: RETRY keeps what is soon due from being made due again."""


class Moving:
    """A chore: finds out what has been announced elsewhere."""

    def __init__(self, network: Network, membership: Membership, cycle: Cycle, clock: Clock) -> None:
        self._network = network
        self._membership = membership
        self._cycle = cycle
        self._clock = clock
        self._look_at = clock.monotonic()
        self._not_before = self._look_at

    def own_addresses_changed(self) -> None:
        """The node can be reached elsewhere, or at one address more or less."""
        self._look_at = min(self._look_at, max(self._clock.monotonic() + SETTLING, self._not_before))
        self._membership.changed.unpark_all()

    def due(self) -> float:
        return self._look_at if len(self._membership.table) else inf

    async def run(self) -> None:
        self._look_at = inf
        if await self._cycle.moved(self._network.local_addresses()):
            self._look_at = self._not_before = self._clock.monotonic() + PAUSE
