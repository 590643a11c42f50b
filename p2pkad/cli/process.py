"""Running a command in the event loop, until it is done or somebody stops it."""

from __future__ import annotations

import gc
import signal
from collections.abc import Awaitable, Callable

import trio


def execute(work: Callable[[], Awaitable[int]], *, stopped: int | None = None) -> int:
    """Run `work` to its exit code. SIGINT and SIGTERM cancel it, so that everything it opened is closed.

    stopped: the exit code then; None says with which signal, as shells expect it.
    """
    # From here on there may be garbage, and what is loaded is none.
    gc.freeze()
    gc.enable()
    return trio.run(_until_signal, work, stopped)


async def _until_signal(work: Callable[[], Awaitable[int]], stopped: int | None) -> int:
    caught: list[int] = []

    async def watch() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            listening.set()
            async for number in signals:
                caught.append(number)
                nursery.cancel_scope.cancel()

    listening = trio.Event()
    code = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await listening.wait()
        code = await work()
        nursery.cancel_scope.cancel()
    if not caught:
        return code
    return 128 + caught[0] if stopped is None else stopped
