"""Sockets that one task reads for all."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2pkad.net.libp2p.arrivals import Arrivals


class Fed:
    """Somebody who reads a socket. wanted: bytes after which it wants no more for now."""

    def __init__(self, arrivals: Arrivals, wanted: float = float("inf")) -> None:
        self.far, self.near = socket.socketpair()
        self.near.setblocking(False)
        self.taken = b""
        self.more: bool | None = None
        self.then: Callable[[], None] = lambda: None
        self._arrivals = arrivals
        self._wanted = wanted

    async def read(self) -> None:
        self.more = await self._arrivals.feed(self.near.fileno(), self.take)

    def take(self, data: bytes) -> bool:
        self.taken += data
        self.then()
        return len(self.taken) < self._wanted

    def close(self) -> None:
        self._arrivals.closing(self.near.fileno())
        self.near.close()


async def moved() -> None:
    """Until what was written has been read: what the system holds ready is news to the scheduler."""
    for _ in range(3):
        await trio.sleep(0.001)
        await wait_all_tasks_blocked()


@pytest.fixture
async def arrivals() -> AsyncIterator[Arrivals]:
    made = Arrivals()
    async with made.kept():
        yield made


async def test_what_arrives_is_handed_on_until_no_more_is_wanted(arrivals):
    fed = Fed(arrivals, wanted=6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fed.read)
        await wait_all_tasks_blocked()
        for part in (b"one", b"two"):
            fed.far.sendall(part)
            await moved()
        fed.far.sendall(b"three")
        await moved()
    assert (fed.taken, fed.more) == (b"onetwo", True)
    assert fed.near.recv(100) == b"three"


async def test_whoever_reads_sleeps_while_it_is_fed(arrivals):
    fed, woken = Fed(arrivals, wanted=10), []

    class Watch(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task.name.endswith("Fed.read"):
                woken.append(len(fed.taken))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fed.read)
        await wait_all_tasks_blocked()
        watch = Watch()
        trio.lowlevel.add_instrument(watch)
        for _ in range(10):
            fed.far.sendall(b"x")
            await moved()
        trio.lowlevel.remove_instrument(watch)
    assert woken == [10]


async def test_the_end_is_told(arrivals):
    fed = Fed(arrivals)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fed.read)
        await wait_all_tasks_blocked()
        fed.far.sendall(b"last")
        fed.far.close()
    assert (fed.taken, fed.more) == (b"last", False)


async def test_what_goes_wrong_with_one_is_raised_where_that_reads_and_the_others_are_fed_on(arrivals):
    broken, whole = Fed(arrivals), Fed(arrivals, wanted=2)

    def breaks() -> None:
        raise ValueError("what came")

    async def reads() -> None:
        with pytest.raises(ValueError, match="what came"):
            await broken.read()

    broken.then = breaks
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reads)
        nursery.start_soon(whole.read)
        await wait_all_tasks_blocked()
        for _ in range(2):
            broken.far.sendall(b"x")
            whole.far.sendall(b"x")
            await moved()
    assert whole.more


async def test_who_is_cancelled_is_fed_no_more_and_can_be_again(arrivals):
    fed = Fed(arrivals, wanted=5)
    with trio.CancelScope() as scope:
        scope.cancel()
        await fed.read()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fed.read)
        fed.far.sendall(b"again")
    assert fed.taken == b"again"


async def test_what_is_taken_may_cancel_whoever_reads(arrivals):
    fed = Fed(arrivals)
    async with trio.open_nursery() as nursery:
        fed.then = nursery.cancel_scope.cancel
        nursery.start_soon(fed.read)
        fed.far.sendall(b"enough")
    assert (fed.taken, fed.more) == (b"enough", None)


@pytest.mark.parametrize("told", [True, False])
async def test_what_one_takes_may_close_the_socket_of_another_on_which_something_has_come(arrivals, told):
    one, other = Fed(arrivals), Fed(arrivals)

    def closes() -> None:
        # Whichever comes first closes the other one, and is closed here by nobody.
        victim = other if one.taken else one
        if not victim.taken:
            victim.close() if told else victim.near.close()

    one.then = other.then = closes
    ended: list[type[BaseException]] = []

    async def read(fed: Fed) -> None:
        try:
            await fed.read()
        except (trio.ClosedResourceError, OSError) as error:
            ended.append(type(error))

    with trio.move_on_after(0.2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, one)
            nursery.start_soon(read, other)
            await wait_all_tasks_blocked()
            for fed in (one, other):
                fed.far.sendall(b"x")
    assert len(one.taken + other.taken) == 1
    assert ended == [trio.ClosedResourceError if told else OSError]


async def test_a_number_that_another_socket_has_by_now_is_that_ones(arrivals):
    old, new = Fed(arrivals), Fed(arrivals, wanted=3)
    ended: list[str] = []

    async def reads_what_is_gone() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await old.read()
        ended.append("old")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reads_what_is_gone)
        await wait_all_tasks_blocked()
        # Closed, and nobody was told; the system gives its number to the next one.
        os.dup2(new.near.fileno(), old.near.fileno())
        new.near.close()
        new.near = old.near
        nursery.start_soon(new.read)
        await wait_all_tasks_blocked()
        assert ended == ["old"]
        new.far.sendall(b"new")
    assert (new.taken, new.more) == (b"new", True)


async def test_a_socket_that_cannot_be_waited_for_leaves_nothing_behind(arrivals):
    fed = Fed(arrivals)
    number = fed.near.fileno()
    fed.near.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await arrivals.feed(number, fed.take)
    arrivals.closing(number)
    await trio.lowlevel.checkpoint()


async def test_where_there_is_no_epoll_everybody_reads_for_himself(monkeypatch):
    def none_left() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(select, "epoll", none_left)
    arrivals = Arrivals()
    async with arrivals.kept():
        assert not arrivals.at_work


async def test_at_the_end_all_sockets_are_closed_to_those_who_read():
    arrivals = Arrivals()
    assert not arrivals.at_work
    fed = Fed(arrivals)

    async def reads() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await fed.read()

    async with trio.open_nursery() as nursery, arrivals.kept():
        nursery.start_soon(reads)
        await wait_all_tasks_blocked()
    assert not arrivals.at_work
