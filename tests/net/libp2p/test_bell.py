"""Waiting for what another task does."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from p2pkad.net.libp2p.bell import Bell


async def test_who_waits_is_woken_and_a_ring_that_nobody_waits_for_is_not_heard():
    bell = Bell()
    bell.ring()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bell.wait)
        await wait_all_tasks_blocked()
        assert bell.awaited
        bell.ring()
        bell.ring()
    assert not bell.awaited


async def test_who_is_cancelled_waits_no_more():
    bell = Bell()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bell.wait()
    assert scope.cancelled_caught
    assert not bell.awaited
    bell.ring()


async def test_all_who_wait_are_woken():
    bell = Bell()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(bell.wait)
            await wait_all_tasks_blocked()
        bell.ring()


async def test_others_wait_on_when_the_first_one_is_cancelled():
    bell = Bell()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                first.start_soon(bell.wait)
                await wait_all_tasks_blocked()
                nursery.start_soon(bell.wait)
                await wait_all_tasks_blocked()
                scope.cancel()
        bell.ring()
