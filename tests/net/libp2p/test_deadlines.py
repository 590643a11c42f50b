"""One task sleeps for the deadlines of all requests."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from math import inf

import pytest
import trio

from p2pkad.core.messages import FindNode
from p2pkad.net.libp2p.deadlines import Deadlines
from tests.net.libp2p.ends import an_end, soon


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    made = Deadlines()
    async with made.kept():
        yield made


async def cancelled_after(deadlines: Deadlines, seconds: float) -> float:
    """When a scope with this deadline was cancelled, in seconds from now."""
    began = trio.current_time()
    with trio.CancelScope() as scope:
        deadlines.add(scope, began + seconds)
        await trio.sleep_forever()
    return trio.current_time() - began


async def test_each_is_cancelled_when_it_is_due_whichever_came_first(deadlines: Deadlines, autojump_clock: object) -> None:
    ended = dict.fromkeys([3.0, 1.0, 2.0, 1.5], inf)

    async def wait(seconds: float) -> None:
        ended[seconds] = await cancelled_after(deadlines, seconds)

    async with trio.open_nursery() as nursery:
        for seconds in ended:
            nursery.start_soon(wait, seconds)
    assert list(ended.values()) == pytest.approx([3.0, 1.0, 2.0, 1.5])


async def test_the_next_ones_are_cancelled_when_all_were_due(deadlines: Deadlines, autojump_clock: object) -> None:
    assert [await cancelled_after(deadlines, seconds) for seconds in (2.0, 1.0)] == pytest.approx([2.0, 1.0])


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_what_is_past_is_cancelled_before_anything_else_happens(deadlines: Deadlines, seconds: float) -> None:
    scope = trio.CancelScope()
    deadlines.add(scope, trio.current_time() + seconds)
    assert scope.cancel_called


async def test_one_that_has_ended_is_left_alone_and_the_others_are_not(deadlines: Deadlines, autojump_clock: object) -> None:
    over = trio.CancelScope()
    deadlines.add(over, trio.current_time() + 1)
    deadlines.remove(over)
    assert await cancelled_after(deadlines, 2.0) == pytest.approx(2.0)
    assert not over.cancel_called
    deadlines.remove(over)


@pytest.mark.parametrize("kept", [0.0, 1.0])
async def test_those_that_nobody_sleeps_for_any_more_are_cancelled_all_the_same(kept: float, autojump_clock: object) -> None:
    made = Deadlines()
    began = trio.current_time()

    async def keep() -> None:
        async with made.kept():
            await trio.sleep(kept)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        with trio.CancelScope() as scope:
            made.add(scope, began + 3.0)
            await trio.sleep_forever()
    assert trio.current_time() - began == pytest.approx(3.0)
    assert await cancelled_after(made, 2.0) == pytest.approx(2.0)


async def test_nothing_is_left_of_requests_that_were_answered() -> None:
    def scopes() -> int:
        return sum(type(each) is trio.CancelScope for each in gc.get_objects())

    async with an_end() as asker, an_end() as server:
        await asker.network.request(server.info, FindNode(b"key"), soon())
        gc.disable()
        try:
            before = scopes()
            for _ in range(50):
                await asker.network.request(server.info, FindNode(b"key"), soon())
            assert scopes() < before + 25
        finally:
            gc.enable()
