"""The nodes of a simulated week: who comes and goes, who publishes, and whether everything is found.

The options are those that whoever runs such a network would choose for it. With sessions of half an hour the usual 22 hours
between two rounds of republishing are far too long; `churn.py` says how many holders survive which time. A routing table needs
less care than one would think: each newcomer asks a hundred others, who learn of it by that, and who is gone is noticed by
whoever asks him next. And with alpha 3 a lookup costs a fifth less, and finds the same (`sim_lookups.py` measures it).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from random import Random
from typing import Any

import trio
from churn import Sessions

from p2pkad import KademliaService, content_key
from p2pkad.core.keyspace import SHA256
from p2pkad.errors import NodeClosed, P2pkadError
from p2pkad.testing import SimulatedNodes
from p2pkad.validators.opaque import OpaqueValidator

HOUR = 3600.0
BOOTSTRAP = 3
"""Publishers that newcomers are told of."""
SETTLED = 60.0
"""Seconds after which a newcomer has found its place and asks for something."""
YOUNGEST = 30
"""Nodes among which the one that asks is chosen: those that have settled last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to happen. republish, refresh: seconds. alpha: as the option."""

    nodes: int
    publishers: int
    keys: int
    days: float
    sessions: Sessions
    republish: float
    refresh: float
    alpha: int = 3
    k: int = 20

    @property
    def hours(self) -> int:
        """How many times everything is asked for."""
        return round(self.days * 24)

    @property
    def options(self) -> dict[str, Any]:
        """Of every node."""
        return {
            "validators": {"week": OpaqueValidator()},
            "republish_interval": self.republish,
            "reprovide_interval": self.republish,
            "refresh_interval": self.refresh,
            "alpha": self.alpha,
        }


@dataclass(slots=True)
class Day:
    """What happened in 24 hours. seconds: that it took in reality."""

    found: int = 0
    missed: int = 0
    messages: int = 0
    dials: int = 0
    joins: int = 0
    leaves: int = 0
    seconds: float = 0.0

    def __add__(self, other: Day) -> Day:
        return Day(*(getattr(self, name) + getattr(other, name) for name in Day.__slots__))

    def __str__(self) -> str:
        counts = f"{self.found:9,}{self.missed:8,}{self.messages:12,}{self.dials:10,}"
        return f"{counts}{self.joins:8,}{self.leaves:8,}{self.seconds:9.1f}"


@dataclass(frozen=True, slots=True)
class Miss:
    """Something that was there and was not found. near, holders: of the k nearest who are up, and of all, so many hold it."""

    hour: float
    what: str
    why: str
    age: float
    table: int
    near: int
    holders: int

    def __str__(self) -> str:
        return (
            f"{self.hour:.3f} h, {self.what}: {self.why}; asked by a node {self.age:.0f} s old with {self.table} in its table; "
            f"{self.holders} hold it, {self.near} of the k nearest"
        )


@dataclass(slots=True)
class Diary:
    """What has happened so far."""

    days: list[Day] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    hours: int = 0
    lines: int = 0
    digest: str = ""
    interrupted: bool = False

    @property
    def total(self) -> Day:
        return sum(self.days, Day())

    @property
    def found(self) -> int:
        return self.total.found

    @property
    def messages(self) -> int:
        return self.total.messages


@dataclass(frozen=True, slots=True)
class Published:
    """A value, or, without one, a content that its publisher provides."""

    publisher: KademliaService
    key: bytes
    value: bytes | None

    def __str__(self) -> str:
        return f"value {self.key.decode()}" if self.value is not None else f"provider of {self.key.hex()[:16]}"


class Village:
    """A network in which all but the publishers come and go. hourly: told after each check."""

    def __init__(
        self, net: SimulatedNodes, plan: Plan, seed: int, diary: Diary, hourly: Callable[[Diary], None] = lambda diary: None
    ) -> None:
        self._net = net
        self._plan = plan
        self._diary = diary
        self._hourly = hourly
        self._random = Random(f"{seed}/village")
        self._began = trio.current_time()
        self._publishers = net.nodes[: plan.publishers]
        self._bootstrap = tuple(address for node in self._publishers[:BOOTSTRAP] for address in node.addresses)
        self._came: dict[KademliaService, float] = {}  # those that will leave, oldest first
        self._leaving: list[tuple[float, int, KademliaService]] = []
        self._joins = 0
        self._published: list[Published] = []
        self._today = Day()
        self._marks = (0, 0, time.monotonic())

    async def live(self) -> None:
        """All the hours of the plan."""
        for node in self._net.nodes[self._plan.publishers :]:
            self._expect_to_leave(node, self._plan.sessions.rest(self._random))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._come_and_go)
            await self._publish()
            for hour in range(1, self._plan.hours + 1):
                await trio.sleep_until(self._began + hour * HOUR)
                for each in self._published:
                    await self._check(each)
                self._note(hour)
            nursery.cancel_scope.cancel()

    # who comes and goes

    async def _come_and_go(self) -> None:
        heapify(self._leaving)
        while True:
            at, _, node = heappop(self._leaving)
            await trio.sleep_until(at)
            del self._came[node]
            leave = self._net.crash if self._random.random() < 0.5 else self._net.stop
            await leave(node)
            self._net.forget(node)
            self._today.leaves += 1
            newcomer = await self._net.open(bootstrap=self._bootstrap)
            self._today.joins += 1
            self._expect_to_leave(newcomer, self._plan.sessions.whole(self._random))

    def _expect_to_leave(self, node: KademliaService, after: float) -> None:
        self._joins += 1
        self._came[node] = trio.current_time()
        heappush(self._leaving, (trio.current_time() + after, self._joins, node))

    # what is published, and asked for

    async def _publish(self) -> None:
        for number in range(self._plan.keys):
            publisher = self._publishers[number % len(self._publishers)]
            key = f"/week/{number}".encode()
            self._published.append(Published(publisher, key, b"value %d" % number))
            self._published.append(Published(publisher, content_key(b"content %d" % number), None))
        async with trio.open_nursery() as nursery:
            for publisher in self._publishers:
                nursery.start_soon(self._publish_all_of, publisher)

    async def _publish_all_of(self, publisher: KademliaService) -> None:
        for each in self._published:
            if each.publisher is not publisher:
                continue
            if each.value is None:
                await publisher.provide(each.key)
            else:
                await publisher.put_value(each.key, each.value)

    async def _check(self, each: Published) -> None:
        while True:
            asker = await self._asker(each)
            try:
                why = await self._why_not(each, asker)
            except NodeClosed:
                continue  # it has left meanwhile
            if not why:
                self._today.found += 1
            else:
                self._today.missed += 1
                self._diary.misses.append(await self._missed(each, asker, why))
            return

    async def _asker(self, each: Published) -> KademliaService:
        """A newcomer that does not hold what it asks for."""
        settled = [node for node, came in self._came.items() if came <= trio.current_time() - SETTLED]
        settled = settled[-YOUNGEST:] or self._publishers
        while True:
            node = settled.pop(self._random.randrange(len(settled)))
            if not settled or not await self._holds(each, node):
                return node

    async def _why_not(self, each: Published, asker: KademliaService) -> str:
        """Empty: it was found."""
        try:
            if each.value is not None:
                return "" if await asker.get_value(each.key, quorum=1) == each.value else "another value"
            found = await asker.find_providers(each.key, count=1)
            return "" if each.publisher.id in [info.id for info in found] else f"{len(found)} others"
        except NodeClosed:
            raise
        except P2pkadError as error:
            return f"{type(error).__name__}: {error}"

    # what is noted down

    async def _holds(self, each: Published, node: KademliaService) -> bool:
        if each.value is not None:
            return await node.local_value(each.key) is not None
        return bool(await node.local_providers(each.key))

    async def _missed(self, each: Published, asker: KademliaService, why: str) -> Miss:
        holders = [node for node in self._net.nodes if node is not each.publisher and await self._holds(each, node)]
        key = SHA256.key(each.key)
        nearest = sorted(self._net.nodes, key=lambda node: SHA256.key(node.id) ^ key)[: self._plan.k]
        now = trio.current_time()
        return Miss(
            hour=(now - self._began) / HOUR,
            what=str(each),
            why=why,
            age=now - self._came.get(asker, self._began),
            table=len(asker.routing_table()),
            near=len([node for node in nearest if node in holders]),
            holders=len(holders),
        )

    def _note(self, hour: int) -> None:
        messages, dials, real = self._marks
        self._marks = self._net.messages, self._net.dials, time.monotonic()
        self._today.messages, self._today.dials = self._marks[0] - messages, self._marks[1] - dials
        self._today.seconds = self._marks[2] - real
        if (hour - 1) % 24 == 0:
            self._diary.days.append(Day())
        self._diary.days[-1] += self._today
        self._today = Day()
        self._diary.hours = hour
        self._diary.lines, self._diary.digest = self._net.trace.count, self._net.trace.digest()
        self._hourly(self._diary)
