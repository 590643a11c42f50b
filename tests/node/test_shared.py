from __future__ import annotations

import pytest
import trio
import trio.testing

from p2pkad.errors import NodeClosed
from p2pkad.node.shared import SharedRun


class Work:
    """Counts its runs; each ends when it is told to, with its number, or with this error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.runs = 0
        self.cancelled = 0
        self.error = error
        self.gates: list[trio.Event] = []

    async def __call__(self) -> int:
        self.runs += 1
        number = self.runs
        self.gates.append(trio.Event())
        try:
            await self.gates[-1].wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return number


@pytest.mark.scenario("L4")
async def test_who_comes_while_it_runs_shares_the_run(nursery: trio.Nursery) -> None:
    work = Work()
    shared = SharedRun(work, nursery.start_soon)
    results: list[int] = []

    async def call() -> None:
        results.append(await shared())

    for _ in range(3):
        nursery.start_soon(call)
    await trio.testing.wait_all_tasks_blocked()
    work.gates[0].set()
    await trio.testing.wait_all_tasks_blocked()
    assert (results, work.runs) == ([1, 1, 1], 1)
    nursery.start_soon(call)
    await trio.testing.wait_all_tasks_blocked()
    work.gates[1].set()
    await trio.testing.wait_all_tasks_blocked()
    assert results == [1, 1, 1, 2]


@pytest.mark.scenario("L4")
async def test_who_is_cancelled_takes_it_from_nobody_and_the_last_one_ends_it(nursery: trio.Nursery) -> None:
    work = Work()
    shared = SharedRun(work, nursery.start_soon)
    results: list[int] = []
    scopes = [trio.CancelScope() for _ in range(3)]

    async def call(scope: trio.CancelScope) -> None:
        with scope:
            results.append(await shared())

    for scope in scopes:
        nursery.start_soon(call, scope)
    await trio.testing.wait_all_tasks_blocked()
    for scope in scopes[:2]:
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
    assert (work.runs, work.cancelled) == (1, 0)
    scopes[2].cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert (work.runs, work.cancelled, results) == (1, 1, [])
    nursery.start_soon(call, trio.CancelScope())
    await trio.testing.wait_all_tasks_blocked()
    work.gates[1].set()
    await trio.testing.wait_all_tasks_blocked()
    assert (work.runs, results) == (2, [2])


async def test_what_it_fails_with_is_everybodys_and_nobody_begins_anew(nursery: trio.Nursery) -> None:
    work = Work(ValueError("no"))
    shared = SharedRun(work, nursery.start_soon)
    failed: list[str] = []

    async def call() -> None:
        with pytest.raises(ValueError, match="no") as caught:
            await shared()
        failed.append(str(caught.value))

    for _ in range(3):
        nursery.start_soon(call)
    await trio.testing.wait_all_tasks_blocked()
    work.gates[0].set()
    await trio.testing.wait_all_tasks_blocked()
    assert (failed, work.runs) == (["no"] * 3, 1)


async def test_when_whoever_owns_the_tasks_closes_nobody_waits_for_ever(nursery: trio.Nursery) -> None:
    async with trio.open_nursery() as owner:
        shared = SharedRun(Work(), owner.start_soon)
        ended = trio.Event()

        async def call() -> None:
            with pytest.raises(NodeClosed):
                await shared()
            ended.set()

        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        owner.cancel_scope.cancel()
    with trio.fail_after(5):
        await ended.wait()
