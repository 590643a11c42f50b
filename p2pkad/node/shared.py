"""Work that is worth doing once, however many want it at the same moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class SharedRun(Generic[T]):
    """Calls of one async function, joined: who comes while it runs waits for that run and gets its result.

    The first caller's task runs it. When that caller is cancelled, or the run fails, one of those who wait begins anew.
    """

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._over: trio.Event | None = None
        self._results: list[T] = []

    async def __call__(self) -> T:
        while self._over is not None:
            results = self._results
            await self._over.wait()
            if results:
                return results[0]
        self._over, self._results = trio.Event(), []
        try:
            result = await self._function()
            self._results.append(result)
        finally:
            self._over.set()
            self._over = None
        return result
