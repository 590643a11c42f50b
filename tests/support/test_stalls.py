"""The stall watcher sees what it is there for, and nothing else."""

from __future__ import annotations

import time

import trio

from tests.support.stalls import StallWatcher


async def watched(*steps: object) -> StallWatcher:
    watcher = StallWatcher(busy=0.02, blocked=0.05)
    trio.lowlevel.add_instrument(watcher)
    try:
        async with trio.open_nursery() as nursery:
            for step in steps:
                nursery.start_soon(step)
    finally:
        trio.lowlevel.remove_instrument(watcher)
    return watcher


async def computes() -> None:
    end = time.thread_time() + 0.03
    while time.thread_time() < end:
        pass


async def blocks() -> None:
    time.sleep(0.06)  # noqa: ASYNC251  # the very thing


async def behaves() -> None:
    for _ in range(50):
        await trio.sleep(0.002)


async def test_a_step_that_computes_too_long_is_found() -> None:
    (stall,) = (await watched(computes, behaves)).found
    assert "computes" in stall.task
    assert not stall.waited


async def test_a_step_that_waits_outside_trio_is_found() -> None:
    (stall,) = (await watched(blocks, behaves)).found
    assert "blocks" in stall.task
    assert stall.waited


async def test_tasks_that_behave_are_not_found() -> None:
    assert (await watched(behaves, behaves)).found == []
