from __future__ import annotations

import pytest
import trio
import trio.testing

from p2pkad.node.shared import SharedRun


class Work:
    """Counts its runs; each ends when it is told to, with its number."""

    def __init__(self) -> None:
        self.runs = 0
        self.gates: list[trio.Event] = []

    async def __call__(self) -> int:
        self.runs += 1
        number = self.runs
        self.gates.append(trio.Event())
        await self.gates[-1].wait()
        return number


@pytest.mark.scenario("L4")
async def test_who_comes_while_it_runs_shares_the_run(nursery: trio.Nursery) -> None:
    work = Work()
    shared = SharedRun(work)
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


async def test_when_the_one_who_runs_it_is_cancelled_another_begins_anew(nursery: trio.Nursery) -> None:
    work = Work()
    shared = SharedRun(work)
    results: list[int] = []
    first = trio.CancelScope()

    async def call(scope: trio.CancelScope) -> None:
        with scope:
            results.append(await shared())

    nursery.start_soon(call, first)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(2):
        nursery.start_soon(call, trio.CancelScope())
    await trio.testing.wait_all_tasks_blocked()
    first.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert work.runs == 2
    work.gates[1].set()
    await trio.testing.wait_all_tasks_blocked()
    assert results == [2, 2]
