"""A world of simulated hosts: what is due next, and who does it.

Everything that takes time here is an entry in one heap: a message on its way, a handshake, a deadline. One task, the
dispatcher, sleeps until the first of them is due and does what is due. A request has no task of its own: the task that asked
is parked, the dispatcher runs the other end's handler and wakes it. Only a handler that waits for something keeps a task: the
dispatcher becomes it, and another one takes over.

Time is trio's. With a clock that jumps (`trio.testing.MockClock(autojump_threshold=0)`, or the faster one in `p2pkad.testing`)
an hour passes as fast as what happens in it.
"""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import trio

from p2pkad.core.messages import AnyRequest
from p2pkad.core.peers import PeerId
from p2pkad.net.simulated.alarms import Alarm, Deadlines
from p2pkad.net.simulated.links import Latency, Links
from p2pkad.net.simulated.trace import Trace, gist

if TYPE_CHECKING:
    from p2pkad.net.simulated.host import SimulatedHost


GIVE_UP = 40.0
"""Seconds after which a host closes a connection whose other end is silent: go's yamux asks every 30 s and waits 10 s."""


class Errand(NamedTuple):
    """Work that may have to wait. waits: called when it does so for the first time; from then on it runs beside the rest."""

    work: Coroutine[Any, Any, None]
    waits: Callable[[], None]


Action = Callable[..., Errand | None]
"""What is done when its time has come."""


Listener = Callable[[PeerId, PeerId, AnyRequest], None]
"""Hears who asked whom what."""


class Grave(NamedTuple):
    """What stays at the address of a host that has crashed and is forgotten: silence."""

    number: int
    up: bool = False


class World:
    """The hosts of one simulation, and everything between them.

    hosts: those that are up, by peer id. places: who is, or was until it crashed, at an address.
    messages, dials: how many requests and announcements arrived so far, and how many dials were begun. listeners: are told of
    each of those messages, and must be quick.
    """

    def __init__(self, seed: int, latency: Latency, loss: float) -> None:
        self.hosts: dict[PeerId, SimulatedHost] = {}
        self.places: dict[bytes, SimulatedHost | Grave] = {}
        self.trace = Trace()
        self.messages = 0
        self.dials = 0
        self.listeners: list[Listener] = []
        self.links = Links(seed, latency, loss, Random(f"{seed}/loss"))  # noqa: S311 - a simulation has no secrets
        self._due: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._order = count()
        self._stands_still = False
        clock = trio.lowlevel.current_clock()
        self.now: Callable[[], float] = clock.current_time
        """Seconds, as trio's: the same as `trio.current_time`, which has farther to go."""
        self._alarm = clock if isinstance(clock, Alarm) else Deadlines()
        self._dispatcher: object = None
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<World hosts={len(self.hosts)} messages={self.messages} due={len(self._due)}>"

    @classmethod
    @asynccontextmanager
    async def open(cls, *, seed: int = 1, latency: Latency = 0.0, loss: float = 0.0) -> AsyncIterator[Self]:
        """A world that turns while the block lasts; its hosts have to be closed before."""
        world = cls(seed, latency, loss)
        async with trio.open_nursery() as nursery:
            world._nursery = nursery
            nursery.start_soon(world._dispatch)
            try:
                yield world
            finally:
                world._nursery = None
                nursery.cancel_scope.cancel()

    def cut(self, one: Iterable[SimulatedHost], other: Iterable[SimulatedHost]) -> None:
        """From now on nothing passes between these two groups. Connections across are given up in time."""
        one, other = list(one), list(other)
        self.links.cut([host.number for host in one], [host.number for host in other])
        for host in one:
            for held in list(host.connections):
                if held.handle.silent:
                    for end in (host, held.handle.other(host)):
                        self.at(self.now() + GIVE_UP, end.gives_up_if_silent, held.handle)

    def bury(self, host: SimulatedHost) -> None:
        """Keep nothing of a host that has crashed but the silence at its address."""
        for address in host.addresses:
            if self.places.get(address.raw) is host:
                self.places[address.raw] = Grave(host.number)

    def started_anew(self, host: SimulatedHost, seen_by: SimulatedHost) -> bool:
        """Whether `host` has crashed, and its machine is back: it knows nothing of the connections before."""
        anew = self.hosts.get(host.id)
        return anew is not None and anew is not host and not self.links.severed(seen_by.number, anew.number)

    def arrived(self, asker: SimulatedHost, there: SimulatedHost, message: AnyRequest | None) -> None:
        """A request has arrived; None is libp2p's ping."""
        if message is not None:
            self.messages += 1
            for listener in self.listeners:
                listener(asker.id, there.id, message)
        name = "ping" if message is None else type(message).__name__
        self.trace.add(f"{self.now():.6f} {asker.number} > {there.number} {name} {gist(message)}")

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """While this lasts nothing arrives and nothing is due. Time passes only for those who wait for it."""
        self._stands_still = True
        try:
            yield
        finally:
            self._stands_still = False
            self._alarm.sooner(self._next)

    def at(self, when: float, action: Action, *arguments: Any) -> None:
        """Do this at a time, in trio's seconds. What is due at the same time is done in the order of these calls."""
        heappush(self._due, (when, next(self._order), action, arguments))
        if not self._stands_still:
            self._alarm.sooner(when)

    @property
    def _next(self) -> float:
        return self._due[0][0] if self._due and not self._stands_still else inf

    async def _dispatch(self) -> None:
        me = self._dispatcher = object()
        while self._dispatcher is me:
            now = self.now()
            while self._next <= now:
                _, _, action, arguments = heappop(self._due)
                errand = action(*arguments)
                if errand is not None:
                    await _run(errand, self._hand_over)
                    if self._dispatcher is not me:
                        return
            await self._alarm.sleep_until(self._next)

    def _hand_over(self) -> None:
        self._dispatcher = None
        if self._nursery is not None:
            self._nursery.start_soon(self._dispatch)


@types.coroutine
def _run(errand: Errand, hand_over: Callable[[], None]) -> Generator[Any, Any, None]:
    """Run it to its end in this task, and hand over when it has to wait for the first time."""
    work = errand.work
    try:
        trap = work.send(None)
    except StopIteration:
        return
    hand_over()
    errand.waits()
    while True:
        try:
            value = yield trap
        except BaseException as error:
            step = partial(work.throw, error)
        else:
            step = partial(work.send, value)
        try:
            trap = step()
        except StopIteration:
            return
