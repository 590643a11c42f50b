"""Running a command in the event loop, until it is done or somebody stops it."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Awaitable, Callable

import trio
import trio.lowlevel

from p2pkad.cli.exits import INTERRUPTED


def execute(work: Callable[[], Awaitable[int]], *, stopped: int | None = None) -> int:
    """Run `work` to its exit code. SIGINT and SIGTERM cancel it, so that everything it opened is closed.

    Told again while it closes, it goes on closing; a further Ctrl-C ends the process as it is.
    stopped: the exit code then; None says with which signal, as shells expect it.
    """
    # From here on there may be garbage, and what is loaded is none.
    gc.freeze()
    gc.enable()
    return trio.run(_until_signal, work, stopped)


async def _until_signal(work: Callable[[], Awaitable[int]], stopped: int | None) -> int:
    caught: list[int] = []
    scope, loop = trio.CancelScope(), trio.lowlevel.current_trio_token()

    def told(number: int, _: object) -> None:
        if caught and number == signal.SIGINT:
            os._exit(INTERRUPTED)
        caught.append(number)
        loop.run_sync_soon(scope.cancel)

    code = 0
    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with scope:
            code = await work()
    finally:
        for number, handler in before.items():
            # What is over ends as it was told first, however often it is told until the process is gone.
            signal.signal(number, signal.SIG_IGN if caught else handler)
    if not caught:
        return code
    return 128 + caught[0] if stopped is None else stopped
