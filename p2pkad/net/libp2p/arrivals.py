"""What arrives on sockets, read by one task for all of them.

Where a task waits for each socket, each message wakes one, and that makes anew all that it waits with: some fifteen objects,
which live until the next message comes. In a node with many connections that is most of what the garbage collector goes
through. Here whoever reads waits once, for the life of its connection, and is handed what comes.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio
from outcome import Error, Outcome, Value

CHUNK = 64 * 1024
"""Bytes asked of the operating system at once."""

Take = Callable[[bytes], bool]
"""Is handed what came, at least one byte, and says whether it wants more now."""


@dataclass(slots=True, eq=False)
class _Reader:
    task: trio.lowlevel.Task
    take: Take


# Ctrl-C between two steps here would leave somebody asleep for ever: it is raised in the program's own task instead.
class Arrivals:
    """Only in `kept` there is that task, and only where there is epoll: `at_work`."""

    def __init__(self) -> None:
        self._readers: dict[int, _Reader] = {}
        self._epoll: select.epoll | None = None

    @property
    def at_work(self) -> bool:
        """Whether `feed` can be called."""
        return self._epoll is not None

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Read for those who are fed in here. Those that are still fed at its end find their sockets closed."""
        epoll = _epoll()
        if epoll is None:
            yield
            return
        with epoll as self._epoll:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read_all, epoll)
                    try:
                        yield
                    finally:
                        nursery.cancel_scope.cancel()
            finally:
                for fd in list(self._readers):
                    self.closing(fd)
                self._epoll = None

    @trio.lowlevel.enable_ki_protection
    async def feed(self, fd: int, take: Take) -> bool:
        """Hand what arrives on a socket to `take`, until that wants no more. False: the other end has closed it.

        `take` is called in another task, and must not wait. Raises OSError, ClosedResourceError after `closing`, and what
        `take` raises.
        """
        assert self._epoll is not None
        reader = _Reader(trio.lowlevel.current_task(), take)
        self.closing(fd)  # somebody whose socket was closed, and nobody said so: the number is another one's now
        self._epoll.register(fd, select.EPOLLIN)
        self._readers[fd] = reader

        def aborted(_: object) -> trio.lowlevel.Abort:
            self._leave(fd, reader)
            return trio.lowlevel.Abort.SUCCEEDED

        more: bool = await trio.lowlevel.wait_task_rescheduled(aborted)
        return more

    @trio.lowlevel.enable_ki_protection
    def closing(self, fd: int) -> None:
        """This end is about to close a socket, which may be fed from."""
        if fd in self._readers:
            self._end(fd, self._readers[fd], Error(trio.ClosedResourceError()))

    @trio.lowlevel.enable_ki_protection
    async def _read_all(self, epoll: select.epoll) -> None:
        while True:
            await trio.lowlevel.wait_readable(epoll.fileno())
            for fd, _ in epoll.poll(0):
                # What came before on another socket may have closed this one.
                if reader := self._readers.get(fd):
                    self._read(fd, reader)

    def _read(self, fd: int, reader: _Reader) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(fd, reader, Error(error))
            return
        try:
            if data and reader.take(data):
                return
        except Exception as error:  # whoever reads has to deal with it
            self._end(fd, reader, Error(error))
        else:
            self._end(fd, reader, Value(bool(data)))

    def _end(self, fd: int, reader: _Reader, result: Outcome[bool]) -> None:
        if self._leave(fd, reader):
            trio.lowlevel.reschedule(reader.task, result)

    def _leave(self, fd: int, reader: _Reader) -> bool:
        """False: it has left already, cancelled by what it took, or made way for the next one with this number."""
        if self._readers.get(fd) is not reader:
            return False
        assert self._epoll is not None
        del self._readers[fd]
        with suppress(OSError, ValueError):  # closed by somebody who did not say so, or the epoll is: it is forgotten already
            self._epoll.unregister(fd)
        return True


def _epoll() -> select.epoll | None:
    if sys.platform != "linux":
        return None
    with suppress(OSError):  # no descriptor is left for it: there are other ways to read
        return select.epoll()
    return None
