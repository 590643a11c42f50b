"""Deadlines of what nearly always ends long before them.

A scope of trio's that has a deadline is kept until that has passed, or until there are a thousand of them, whatever has
become of it. Requests end in milliseconds and have seconds. Those of a node that asks much would be most of what the garbage
collector goes through, and most of what makes it begin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import trio


class Deadlines:
    """Cancels scopes when they are due: one task sleeps for all of them, and those that end before leave nothing.

    Only in `kept` there is that task; without it each scope has its own deadline. Times: trio's seconds.
    """

    def __init__(self) -> None:
        self._due: dict[trio.CancelScope, float] = {}
        self._sleep: trio.CancelScope | None = None

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Sleep for those that are added in here. Those that outlive it go on with deadlines of their own."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._keep)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()

    def add(self, scope: trio.CancelScope, deadline: float) -> None:
        """Cancel this scope at its deadline, at once where that has passed. The deadline is not NaN."""
        if deadline <= trio.current_time():
            scope.cancel()
        elif self._sleep is None:
            scope.deadline = deadline
        else:
            self._due[scope] = deadline
            if deadline < self._sleep.deadline:
                self._sleep.deadline = deadline

    def remove(self, scope: trio.CancelScope) -> None:
        """This one has ended."""
        self._due.pop(scope, None)

    async def _keep(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        self._sleep = trio.CancelScope()
        task_status.started()
        try:
            while True:
                # Of the first one when it began; whether that is still there is seen when its time has come.
                with trio.CancelScope(deadline=min(self._due.values(), default=inf)) as self._sleep:
                    await trio.sleep_forever()
                now = trio.current_time()
                for scope in [scope for scope, deadline in self._due.items() if deadline <= now]:
                    self.remove(scope)
                    scope.cancel()
        finally:
            self._sleep = None
            for scope, deadline in self._due.items():
                scope.deadline = deadline
            self._due.clear()
