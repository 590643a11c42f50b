"""Deadlines of what nearly always ends long before them.

A scope of trio's that has a deadline is kept until that has passed, or until there are a thousand of them, whatever has
become of it. Requests end in milliseconds and have seconds. Those of a node that asks much would be most of what the garbage
collector goes through, and most of what makes it begin.
"""

from __future__ import annotations

from math import inf

import trio


class Deadlines:
    """Cancels scopes that have no deadline of their own: one task sleeps for all of them, and those that end leave nothing.

    Times: trio's seconds.
    """

    def __init__(self) -> None:
        self._due: dict[trio.CancelScope, float] = {}
        self._sleep = trio.CancelScope()

    async def keep(self) -> None:
        """Cancel each scope when it is due. Runs until it is cancelled, and has to run for that long."""
        while True:
            # Of the first one when it began; whether that is still there is seen when its time has come.
            with trio.CancelScope(deadline=min(self._due.values(), default=inf)) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            for scope in [scope for scope, deadline in self._due.items() if deadline <= now]:
                self.remove(scope)
                scope.cancel()

    def add(self, scope: trio.CancelScope, deadline: float) -> None:
        """Cancel this scope at its deadline, at once where that has passed."""
        if deadline <= trio.current_time():
            scope.cancel()
            return
        self._due[scope] = deadline
        if deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    def remove(self, scope: trio.CancelScope) -> None:
        """This one has ended."""
        self._due.pop(scope, None)
