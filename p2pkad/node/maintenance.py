"""The one task of an idle node: it sleeps until a chore is due, or until there is somebody to check.

chore         node/...         what it does
bootstrap     bootstrap.py     asks the bootstrap peers, while the routing table is empty or nearly so
refreshing    refreshing.py    looks into each bucket of the table, and up the own id
lookout       lookout.py       tries those who are missed, one at a time
moving        moving.py        finds out what was announced elsewhere than the node is
republishing  republishing.py  publishes what is the node's own again, before others forget it
sweeping      sweeping.py      drops what has expired
remembering   remembering.py   saves whom the node knows, for its next life

A chore says itself when it is due; there is no polling. Checks are not a chore: they are due at once, since it is others
who come and go (node/membership.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.peers import PeerId
from p2pkad.errors import NodeClosed
from p2pkad.node.asking import Asking
from p2pkad.node.clock import Clock
from p2pkad.node.membership import Membership


class Chore(Protocol):
    """Work that comes due by itself."""

    def due(self) -> float:
        """When it is to run, in monotonic seconds: in the past is at once, infinity not as things are.

        Asked whenever `membership.changed` wakes: quick, and without any effect.
        """
        ...

    async def run(self) -> None:
        """Do it. Afterwards `due` says when again. It raises nothing that can be expected to happen."""
        ...


class Maintenance:
    """Runs chores and checks. A chore is not started again while it runs. end: ends the service."""

    def __init__(
        self,
        membership: Membership,
        asking: Asking,
        chores: Sequence[Chore],
        config: KademliaConfig,
        clock: Clock,
        end: Callable[[], None],
    ) -> None:
        self._membership = membership
        self._asking = asking
        self._resting = list(chores)
        self._config = config
        self._clock = clock
        self._end = end

    async def run(self) -> None:
        """Until it is cancelled, or the host or the store is no more: then it says so, and ends."""
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    with trio.CancelScope() as sleep:
                        while True:
                            sleep.deadline = self._start_what_is_due(nursery)
                            await self._membership.changed.park()
        except* NodeClosed:
            self._end()

    def _start_what_is_due(self, nursery: trio.Nursery) -> float:
        """Returns when there is something to do again, unless something changes before."""
        for peer in self._membership.take_checks():
            nursery.start_soon(self._check, peer)
        now, next_due = self._clock.monotonic(), float("inf")
        for chore in list(self._resting):
            due = chore.due()
            if due <= now:
                self._resting.remove(chore)
                nursery.start_soon(self._do, chore)
            else:
                next_due = min(next_due, due)
        return next_due

    async def _do(self, chore: Chore) -> None:
        await chore.run()
        self._resting.append(chore)
        self._membership.changed.unpark_all()

    async def _check(self, peer: PeerId) -> None:
        await self._asking.check(peer, self._clock.monotonic() + self._config.request_timeout)
        self._membership.checked(peer)
