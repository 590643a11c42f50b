"""One lookup under way: the steps of `core.lookup.Lookup` go to the network, the answers come back.

Its requests run in one nursery. When it is over, the ones still in flight are cancelled, which frees their streams.

step    who takes it
Ask     the task that has read an answer: it asks the first of those named itself, and starts tasks for the others
Wait    the driver, when its time has passed and no answer came that moved it
Done    the driver
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import trio

from p2pkad.core.lookup import Ask, Done, Lookup, Outcome, Query, Wait
from p2pkad.node.asking import Asking, DidNotAnswer, failure_of
from p2pkad.node.chronicle import Chronicle
from p2pkad.node.clock import Clock
from p2pkad.node.membership import Membership


class Driving:
    """Drives one lookup. progress: who is parked there wakes after each answer."""

    def __init__(
        self,
        lookup: Lookup,
        asking: Asking,
        membership: Membership,
        chronicle: Chronicle,
        clock: Clock,
        progress: trio.lowlevel.ParkingLot | None,
    ) -> None:
        self._lookup = lookup
        self._asking = asking
        self._membership = membership
        self._chronicle = chronicle
        self._clock = clock
        self._progress = progress
        self._over = trio.Event()

    async def to_its_end(self) -> Outcome:
        """What it came to. Cancelled: streams of requests in flight are reset."""
        async with trio.open_nursery() as self._nursery:
            while True:
                # As long as answers come in time, each moves the deadline: they do not wake this task.
                with trio.CancelScope() as self._patience:
                    self._start(self._next())
                    await self._over.wait()
                    self._nursery.cancel_scope.cancel()
                    return self._outcome
                await self._make_up_for_oversleeping(self._patience.deadline)

    def _next(self) -> Sequence[Query]:
        """Whom to ask now; what is to be done otherwise is noted down."""
        queries: tuple[Query, ...] = ()
        while True:
            now = self._clock.monotonic()
            step = self._lookup.next(now)
            if self._chronicle.tells_of_late:
                self._chronicle.late(now, self._lookup.late)
            match step:
                case Ask():
                    queries = step.queries
                case Wait(until):
                    self._patience.deadline = until
                    return queries
                case Done(outcome):
                    self._outcome = outcome
                    self._over.set()
                    return ()
                case never:
                    assert_never(never)

    def _start(self, queries: Sequence[Query]) -> None:
        for query in queries:
            self._nursery.start_soon(self._ask_along, query)

    async def _make_up_for_oversleeping(self, until: float) -> None:
        # While this process was busy elsewhere answers may have come that nobody has read. They get the time that they
        # lost, before it is said who is late.
        await trio.sleep(max(0.0, self._clock.monotonic() - until))

    async def _ask_along(self, query: Query) -> None:
        """Ask, and whoever is to be asked after the answer, until there is nobody."""
        while True:
            await self._ask(query)
            # Overslept: what is next is said when that has been made up for.
            if self._over.is_set() or self._clock.monotonic() >= self._patience.deadline:
                return
            queries = self._next()
            if not queries:
                return
            query = queries[0]
            self._start(queries[1:])

    async def _ask(self, query: Query) -> None:
        lookup, chronicle = self._lookup, self._chronicle
        began = self._clock.monotonic()
        chronicle.asked(began, query.peer)
        try:
            reply = await self._asking.ask(self._membership.info(query.peer), lookup.goal.request, query.failed)
        except DidNotAnswer as error:
            now, reason = self._clock.monotonic(), failure_of(error)
            lookup.on_failure(query.peer, reason, now)
            chronicle.failed(now, query.peer, now - began, reason)
        else:
            now = self._clock.monotonic()
            lookup.on_reply(query.peer, reply, now)
            chronicle.answered(now, query.peer, now - began, reply)
        if self._progress is not None:
            self._progress.unpark_all()
