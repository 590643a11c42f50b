"""A task that waits for something in a simulated world: for a reply, or for a dial to end."""

from __future__ import annotations

from typing import Any

import trio


class Late(Exception):
    """The deadline of a wait has passed."""


class LineLost(Exception):
    """The connection ended before the reply came."""


class Parked:
    """One wait of the task that makes it. The first `wake` counts; after that, or when the wait is cancelled, it is `over`."""

    __slots__ = ("_result", "_task", "over")

    def __init__(self) -> None:
        self.over = False
        self._task: trio.lowlevel.Task | None = None
        self._result: Any = None

    async def wait(self) -> Any:
        """What `wake` is given. Raises it when it is an exception."""
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._cancelled)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    def wake(self, result: Any) -> None:
        """End the wait, unless it is over."""
        if not self.over:
            assert self._task is not None
            self.over, self._result = True, result
            trio.lowlevel.reschedule(self._task)

    def too_late(self) -> None:
        """Its deadline has passed."""
        self.wake(Late())

    def _cancelled(self, _: Any) -> trio.lowlevel.Abort:
        self.over = True
        return trio.lowlevel.Abort.SUCCEEDED
