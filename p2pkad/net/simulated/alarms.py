"""How the dispatcher of a world sleeps until something is due."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf

import trio


class Alarm(ABC):
    """One sleeper. A clock of trio's that is an Alarm, too, wakes it in a fraction of the time that a deadline takes."""

    @abstractmethod
    async def sleep_until(self, when: float) -> None:
        """Sleep until this time, or one that `sooner` has named meanwhile."""

    @abstractmethod
    def sooner(self, when: float) -> None:
        """Wake the sleeper at this time already. Nothing happens when nobody sleeps, or only until then anyway."""


class Deadlines(Alarm):
    """For every clock: sleeps by a deadline of trio's."""

    def __init__(self) -> None:
        self._scope: trio.CancelScope | None = None

    async def sleep_until(self, when: float) -> None:
        with trio.CancelScope(deadline=when) as self._scope:
            await trio.sleep_forever()
        self._scope = None

    def sooner(self, when: float) -> None:
        if self._scope is not None and when < self._scope.deadline:
            self._scope.deadline = when


class Waking(Alarm):
    """For clocks that know when nothing is to be done: they look at `due`, set themselves to it, and call `wake`."""

    def __init__(self) -> None:
        self.due = inf
        self._sleeper: trio.lowlevel.Task | None = None

    async def sleep_until(self, when: float) -> None:
        self.due, self._sleeper = when, trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._cancelled)

    def sooner(self, when: float) -> None:
        if self._sleeper is not None and when < self.due:
            self.due = when

    def wake(self) -> None:
        """It is time."""
        assert self._sleeper is not None
        trio.lowlevel.reschedule(self._sleeper)
        self._forget()

    def _cancelled(self, _: object) -> trio.lowlevel.Abort:
        self._forget()
        return trio.lowlevel.Abort.SUCCEEDED

    def _forget(self) -> None:
        self.due, self._sleeper = inf, None
