"""Work of nobody in particular: done once, however many want it at the same moment, and failing for nobody else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

from p2pkad.errors import NodeClosed

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Run(Generic[T]):
    """results, errors: one of them has one entry when it is over; neither, when it was cancelled."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)
    callers: int = 0
    results: list[T] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


class SharedRun(Generic[T]):
    """Calls of one async function, joined: who comes while it runs waits for that run, and gets its result or its error.

    spawn: starts a task that no caller owns. That runs the function, so that a caller who is cancelled takes it from nobody;
    with the last caller it is cancelled itself.
    """

    def __init__(self, function: Callable[[], Awaitable[T]], spawn: Callable[..., None]) -> None:
        self._function = function
        self._spawn = spawn
        self._current: _Run[T] | None = None

    async def __call__(self) -> T:
        """Raises what the function does. NodeClosed: whoever owns the tasks is closing."""
        run = self._current
        if run is None:
            run = _Run()
            self._spawn(self._carry_out, run)  # it may raise; nothing of the run happens yet
            self._current = run
        run.callers += 1
        try:
            await run.over.wait()
        finally:
            run.callers -= 1
            if not run.callers:
                run.scope.cancel()
                self._forget(run)
        if run.errors:
            raise run.errors[0].with_traceback(None)  # each caller's own: one error is raised in all of their tasks
        if not run.results:
            raise NodeClosed
        return run.results[0]

    async def _carry_out(self, run: _Run[T]) -> None:
        try:
            with run.scope:
                run.results.append(await self._function())
        except Exception as error:  # it is the callers'
            run.errors.append(error)
        finally:
            self._forget(run)
            run.over.set()

    def _forget(self, run: _Run[T]) -> None:
        if self._current is run:
            self._current = None
