"""What one task waits for and others ring.

Each message of each connection ends a wait and begins the next. A `trio.Event` for each wait is a dozen objects that live
until the next message comes: long enough for the garbage collector to count them among the old ones, all of which it goes
through whenever enough have been added.
"""

from __future__ import annotations

import trio


class Bell:
    """One task waits at a time. What rang while nobody waited is not heard: look first, then wait."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: trio.lowlevel.Task | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits."""
        return self._waiting is not None

    async def wait(self) -> None:
        """Wait until it rings. Raises trio.BusyResourceError: another task does."""
        if self._waiting is not None:
            raise trio.BusyResourceError("another task waits for the same")
        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._aborted)

    def ring(self) -> None:
        """Wake whoever waits."""
        if self._waiting is not None:
            task, self._waiting = self._waiting, None
            trio.lowlevel.reschedule(task)

    def _aborted(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED
