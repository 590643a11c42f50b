"""What one task waits for, as a rule, and others ring.

Each message of each connection ends a wait and begins the next. A `trio.Event` for each wait is a dozen objects that live
until the next message comes: long enough for the garbage collector to count them among the old ones, all of which it goes
through whenever enough have been added.
"""

from __future__ import annotations

import trio


class Bell:
    """What rang while nobody waited is not heard: look first, then wait."""

    __slots__ = ("_others", "_waiting")

    def __init__(self) -> None:
        self._waiting: trio.lowlevel.Task | None = None
        self._others: trio.lowlevel.ParkingLot | None = None
        """Those who came while somebody waited: there are seldom any."""

    @property
    def awaited(self) -> bool:
        """Whether somebody waits."""
        return self._waiting is not None or bool(self._others)

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> None:
        """Wait until it rings."""
        if self._waiting is not None:
            if self._others is None:
                self._others = trio.lowlevel.ParkingLot()
            await self._others.park()
            return
        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._aborted)

    @trio.lowlevel.enable_ki_protection
    def ring(self) -> None:
        """Wake all who wait."""
        if self._waiting is not None:
            task, self._waiting = self._waiting, None
            trio.lowlevel.reschedule(task)
        if self._others is not None:
            self._others.unpark_all()
            self._others = None

    def _aborted(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED
