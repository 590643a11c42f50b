"""What a service has under way, its calls and what goes on behind them: all of it can be ended at once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from p2pkad.errors import NodeClosed

log = logging.getLogger(__name__)


class Work:
    """Each piece has a scope of its own: to cancel a nursery instead would cancel the block in which that was opened, too."""

    def __init__(self) -> None:
        self._scopes: dict[trio.CancelScope, None] = {}

    def end(self) -> None:
        """Cancel all of it."""
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def piece(self) -> Iterator[trio.CancelScope]:
        """Whatever is done in this block is part of it. The block catches that it was cancelled, and its scope says so."""
        with trio.CancelScope() as scope:
            self._scopes[scope] = None
            try:
                yield scope
            finally:
                del self._scopes[scope]

    async def run(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """A task of it. Raises what the function does."""
        with self.piece():
            await function(*arguments)

    async def run_contained(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """A task behind a caller's back: it may fail, and must not take the service with it."""
        with self.piece():
            try:
                await function(*arguments)
            except* NodeClosed:
                pass  # this service, or its host
            except* Exception:
                log.exception("a background task failed")
