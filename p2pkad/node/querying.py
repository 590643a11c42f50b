"""Drives lookups: takes the steps of `core.lookup.Lookup` to the network and the answers back.

A lookup's requests run in one nursery. When it is over, the ones still in flight are cancelled, which frees their streams.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Protocol

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import Goal, OnePeer
from p2pkad.core.lookup import Ask, Done, Lookup, LookupLimits, Outcome, Query, Wait
from p2pkad.core.patience import Patience
from p2pkad.core.peers import PeerId
from p2pkad.errors import LocalLimit, LocalProtocolError, NodeClosed, NoPeers, key_text
from p2pkad.node.asking import Asking, DidNotAnswer, Errand, failure_of
from p2pkad.node.chronicle import Chronicle
from p2pkad.node.clock import Clock
from p2pkad.node.limits import Lane, Limits
from p2pkad.node.membership import Membership
from p2pkad.node.telling import Telling

SEEDS = 3
"""Times k peers of the own table a lookup begins with. Those beyond k are asked only where nearer ones are dead: then
the answers of the living, who tell of k peers each, dead ones among them, may not lead to k that live."""

AROUND_KEY = 16
"""Bytes of a request besides its key, at most."""


class Bootstrapping(Protocol):
    """What a lookup does that has nobody to ask."""

    async def attempt(self) -> int:
        """Try the bootstrap peers; returns how many answered."""
        ...


class Querying:
    """Runs lookups for everybody in the node. running: how many there are at the moment."""

    def __init__(
        self,
        asking: Asking,
        membership: Membership,
        bootstrap: Bootstrapping,
        limits: Limits,
        config: KademliaConfig,
        clock: Clock,
        tell: Telling,
    ) -> None:
        self.running = 0
        self._numbers = count(1)
        self._asking = asking
        self._membership = membership
        self._bootstrap = bootstrap
        self._limits = limits
        self._config = config
        self._clock = clock
        self._tell = tell

    async def run_lookup(
        self,
        goal: Goal,
        *,
        timeout: float | None = None,
        progress: trio.lowlevel.ParkingLot | None = None,
        lane: Lane = Lane.CALLS,
    ) -> Outcome:
        """Look `goal` up; what was found is in the goal.

        timeout: seconds for all of it; None takes `config.lookup_timeout`. progress: who is parked there wakes after each
        answer. lane: where it waits while `config.max_lookups` are under way.
        Raises LocalProtocolError: the key is too large. NoPeers: there is nobody to ask, and bootstrap peers, if any, did not
        answer in time. LocalLimit: others had all the turns until then. NodeClosed.
        Cancelled: streams of requests in flight are reset.
        """
        if len(goal.key) + AROUND_KEY > self._config.max_message:
            raise LocalProtocolError(
                f"a key of {len(goal.key)} bytes: no message holds it (max_message={self._config.max_message})"
            )
        began = self._clock.monotonic()
        deadline = began + (self._config.lookup_timeout if timeout is None else timeout)
        await self._find_somebody(goal, deadline)
        turns = self._limits.lookups
        if not turns.take_now():
            self._limits.reached("lookups", None)
            # One that began later would have nobody's answer in time.
            if not await turns.take_in_turn(deadline - min(self._config.late_after, (deadline - began) / 2), lane):
                raise LocalLimit("lookups", turns.most)
        try:
            return await self._look_up(goal, began, deadline, progress)
        finally:
            turns.give_back()

    async def _look_up(self, goal: Goal, began: float, deadline: float, progress: trio.lowlevel.ParkingLot | None) -> Outcome:
        config = self._config
        seeds = self._membership.seeds(goal.key, SEEDS * max(config.k, config.alpha, config.disjoint_paths))
        now = self._clock.monotonic()
        own = self._membership.own
        errands: dict[PeerId, Errand] = {}

        def patience(peer: PeerId, asked_at: float) -> tuple[float, Patience]:
            return self._asking.patience(peer, asked_at, errands.get(peer))

        lookup = Lookup(goal, seeds, self._bounds(deadline), own, now, patience=patience)
        chronicle = Chronicle(next(self._numbers), goal, began, self._tell)
        chronicle.started(now, len(seeds))
        self.running += 1
        outcome: Outcome | None = None
        try:
            # Not `or`: a parking lot is false while nobody is parked there.
            lot = trio.lowlevel.ParkingLot() if progress is None else progress
            outcome = await self._drive(lookup, chronicle, lot, errands)
            return outcome
        finally:
            self.running -= 1
            chronicle.over(self._clock.monotonic(), outcome)
            # Their requests are cancelled now, so that nobody else will ever learn whether they are dead.
            for peer in lookup.late:
                self._membership.doubt(peer)

    async def _find_somebody(self, goal: Goal, deadline: float) -> None:
        if len(self._membership.table):
            return
        closed: list[NodeClosed] = []
        with trio.move_on_at(deadline):
            async with trio.open_nursery() as nursery:
                # One that answers is enough to begin with: the silent ones are not waited for.
                nursery.start_soon(self._bootstrap_once, nursery.cancel_scope, closed)
                while not len(self._membership.table):
                    await self._membership.changed.park()
                nursery.cancel_scope.cancel()
        if closed:
            raise closed[0]
        if not len(self._membership.table):
            raise NoPeers(f"peer {PeerId(goal.key)}" if isinstance(goal, OnePeer) else key_text(goal.key))

    async def _bootstrap_once(self, over: trio.CancelScope, closed: list[NodeClosed]) -> None:
        try:
            await self._bootstrap.attempt()
        except NodeClosed as error:  # carried around the nursery, which would wrap it
            closed.append(error)
        over.cancel()

    def _bounds(self, deadline: float) -> LookupLimits:
        config = self._config
        return LookupLimits(
            k=config.k,
            alpha=config.alpha,
            beta=config.beta,
            disjoint_paths=config.disjoint_paths,
            soft=config.late_after,
            hard=config.request_timeout,
            duration=max(0.0, deadline - self._clock.monotonic()),
        )

    async def _drive(
        self, lookup: Lookup, chronicle: Chronicle, progress: trio.lowlevel.ParkingLot, errands: dict[PeerId, Errand]
    ) -> Outcome:
        async with trio.open_nursery() as nursery:

            def ask(query: Query) -> None:
                errand = errands[query.peer] = Errand()
                nursery.start_soon(self._ask, lookup, chronicle, progress, query, errand)

            while True:
                # One scope until the first wait in vain: nearly all of them end with an answer.
                with trio.CancelScope() as patience:
                    while isinstance(step := self._start_asking(lookup, chronicle, ask), Wait):
                        # Not when it is later than before: to wake in vain now and then is cheaper than to move it each time.
                        if step.until < patience.deadline:
                            patience.deadline = step.until
                        await progress.park()
                    nursery.cancel_scope.cancel()
                    return step.outcome
                await self._make_up_for_oversleeping(step.until)

    def _start_asking(self, lookup: Lookup, chronicle: Chronicle, ask: Callable[[Query], None]) -> Wait | Done:
        """Ask whoever is to be asked now; returns what comes after that."""
        while True:
            now = self._clock.monotonic()
            step = lookup.next(now)
            if chronicle.tells_of_late:
                chronicle.late(now, lookup.late)
            if not isinstance(step, Ask):
                return step
            for query in step.queries:
                ask(query)

    async def _make_up_for_oversleeping(self, until: float) -> None:
        # While this process was busy elsewhere answers may have come that nobody has read. They get the time that they
        # lost, before it is said who is late.
        await trio.sleep(max(0.0, self._clock.monotonic() - until))

    async def _ask(
        self, lookup: Lookup, chronicle: Chronicle, progress: trio.lowlevel.ParkingLot, query: Query, errand: Errand
    ) -> None:
        began = self._clock.monotonic()
        chronicle.asked(began, query.peer)
        try:
            reply = await self._asking.ask(self._membership.info(query.peer), lookup.goal.request, query.failed, errand)
        except DidNotAnswer as error:
            now, reason = self._clock.monotonic(), failure_of(error)
            lookup.on_failure(query.peer, reason, now)
            chronicle.failed(now, query.peer, now - began, reason)
        else:
            now = self._clock.monotonic()
            lookup.on_reply(query.peer, reply, now)
            chronicle.answered(now, query.peer, now - began, reply)
        progress.unpark_all()
