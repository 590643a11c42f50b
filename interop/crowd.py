"""A network of twenty peers, five of each implementation, and what happens to it.

  gather    the first one starts, then all others, which begin with it
  write     random members put values and provide things; `settle` waits until all of that has arrived
  lose      a third is killed, at least one of each implementation
  renew     as many of the same implementations come in, which nobody knows, through one that lives
  read      members read what was written by others, and what they do not hold: it has to come over the network

Whatever is random is drawn from the seed in the same order each time: ids, keys, writers and casualties are those of the
last run with this seed, and so are the readers, as far as the same members hold the same records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

import trio
from driver import Driver, Language, Peer, eventually, unbase64
from failures import OF_A_PEER

AT_ONCE = 8
"""Verbs. Enough to keep two cores busy, few enough that none waits long for its turn."""
# Generous, for machines that do other things as well. Nobody waits for the dead, whose ports refuse.
JOIN_SECONDS = 60.0
WRITE_SECONDS = 60.0
SETTLE_SECONDS = 120.0
READ_SECONDS = 30.0

Kind = Literal["values", "providers"]
KINDS: tuple[Kind, ...] = ("values", "providers")
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Setting:
    """What makes a network, and who does what in it.

    each: peers of an implementation. records: values, and as many provider records. readers: of a record, in an
    implementation. bucket_size: less than half of the network, so that most readers do not hold what they read, and more
    than the third that is killed, so that all of it is still there.
    """

    seed: str
    each: int = 5
    records: int = 100
    readers: int = 5
    bucket_size: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A peer, and what it is one of."""

    implementation: str
    peer: Peer


@dataclass(frozen=True, slots=True)
class Written:
    """What a member writes: a value, which is its own key, or that it provides something."""

    kind: Kind
    key: bytes
    writer: Member


@dataclass(frozen=True, slots=True)
class Writing:
    """What somebody was to write, and what went wrong: None if nothing did."""

    written: Written
    complaint: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What somebody reads, and what is wrong with what came: None if nothing is."""

    reader: Member
    written: Written
    complaint: str | None


class Crowd:
    """The members of one network. They end with their driver."""

    def __init__(self, driver: Driver, languages: Mapping[str, Language], setting: Setting, first: str) -> None:
        self._driver = driver
        self._languages = languages
        self._setting = setting
        self._first = first
        self._salt = f"{setting.seed} {first}"
        self._random = Random(self._salt)
        self.members: list[Member] = []
        self.written: list[Written] = []

    async def gather(self) -> None:
        """Start all members. Returns when each knows, and is known by, as many as fit into a bucket.

        Raises NeverHappened, and what the driver raises.
        """
        others = [name for name in self._languages for _ in range(self._setting.each - (name == self._first))]
        await self._start({f"00-{self._first}": self._first})
        await self._start({f"{number:02}-{name}": name for number, name in enumerate(others, 1)})
        enough = min(self._setting.bucket_size, len(others))
        what = f"each member knows, and is known by, {enough} others"
        await eventually(self._least_known, lambda known: known >= enough, within=JOIN_SECONDS, what=what)

    async def _start(self, implementations: Mapping[str, str]) -> list[Member]:
        """New members by their names, who know the first that lives. Returns when they have looked round."""
        door = self.members[0].peer.addresses if self.members else []

        async def start(name: str) -> Member:
            implementation = implementations[name]
            peer = await self._driver.start(
                name,
                self._languages[implementation],
                seed=f"{self._salt} {name}",
                validator="violence=opaque",
                bucket_size=self._setting.bucket_size,
                bootstrap=door,
            )
            return Member(implementation, peer)

        async def look_round(member: Member) -> None:
            await member.peer.ask("bootstrap", peers=door, timeout=JOIN_SECONDS)

        new = await together(start, list(implementations))
        self.members += new
        if door:
            # After all have started: who looks round before that does not see the last ones.
            await together(look_round, new)
        return new

    async def _least_known(self) -> int:
        """How many others the loneliest member knows, or is known by."""

        async def table(member: Member) -> set[str]:
            return {entry["id"] for entry in (await member.peer.ask("routing_table"))["peers"]}

        tables = await together(table, self.members)
        known_by = [sum(member.peer.id in each for each in tables) for member in self.members]
        return min(*map(len, tables), *known_by)

    async def write(self) -> list[Writing]:
        """Values and provider records, each by a random member. What went wrong is nothing that anybody reads."""
        numbered = ((kind, f"{self._salt} {kind} {number}") for number in range(self._setting.records) for kind in KINDS)
        planned = [Written(kind, key_of(kind, text), self._random.choice(self.members)) for kind, text in numbered]
        complaints = await together(write, planned)
        self.written = [each for each, complaint in zip(planned, complaints, strict=True) if complaint is None]
        return [Writing(each, complaint) for each, complaint in zip(planned, complaints, strict=True)]

    async def settle(self) -> None:
        """Wait until somebody besides its writer holds each record: announcements have no reply. Raises NeverHappened."""
        left = set(self.written)

        async def look_for(written: Written) -> None:
            if await self._is_held(written):
                left.discard(written)

        async def look() -> list[str]:
            # By record: a look at all of them that is too slow for its time has found some all the same.
            await together(look_for, list(left))
            return [f"{each.kind} of {each.writer.peer.name}" for each in left]

        what = "somebody besides its writer holds each record"
        await eventually(look, lambda missing: not missing, within=SETTLE_SECONDS, what=what)

    async def _is_held(self, written: Written) -> bool:
        for member in self.members:
            if member is not written.writer and await holds(member.peer, written):
                return True
        return False

    async def lose(self) -> list[Member]:
        """Kill a third of the members, as a power cut would, and return them."""
        lost = casualties(self.members, self._random)
        for member in lost:
            await member.peer.kill()
        self.members = [member for member in self.members if member not in lost]
        return lost

    async def renew(self, lost: Sequence[Member]) -> list[Member]:
        """Start new members of the implementations of these, and return them. Raises what the driver raises."""
        return await self._start({f"{each.peer.name}-anew": each.implementation for each in lost})

    async def read(self, members: Sequence[Member]) -> list[Reading]:
        """Everything that was written, by as many of each implementation among these members as the setting says, or as there
        are: neither by its writer, nor by who holds it.
        """
        # Of their own: how many read depends on who holds what, and what is drawn after this must not.
        draws = Random(self._random.random())
        planned = [(written, in_groups(members, draws)) for written in self.written]

        async def readers_of(one: tuple[Written, list[list[Member]]]) -> list[tuple[Member, Written]]:
            written, groups = one
            chosen = [await self._without_it(written, group) for group in groups]
            return [(reader, written) for group in chosen for reader in group]

        plan = [pair for pairs in await together(readers_of, planned) for pair in pairs]
        draws.shuffle(plan)

        async def read_one(pair: tuple[Member, Written]) -> Reading:
            reader, written = pair
            wrong = await complaint(reader.peer, written)
            if wrong is not None:
                holders = [member.peer.name for member in self.members if await holds(member.peer, written)]
                wrong = f"{wrong} ({written.kind} of {written.writer.peer.name}, held by {', '.join(holders) or 'nobody'})"
            return Reading(reader, written, wrong)

        return await together(read_one, plan)

    async def _without_it(self, written: Written, group: Sequence[Member]) -> list[Member]:
        """The first of these to whom it would be news, as many as shall read it."""
        found: list[Member] = []
        for member in group:
            if len(found) < self._setting.readers and member is not written.writer and not await holds(member.peer, written):
                found.append(member)
        return found


def key_of(kind: Kind, text: str) -> bytes:
    """A record's key, or a multihash, that is made of a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return b"/violence/" + digest.hex().encode() if kind == "values" else b"\x12\x20" + digest


def casualties(members: Sequence[Member], random: Random) -> list[Member]:
    """A third of these, one of each implementation first."""
    shuffled = random.sample(members, len(members))
    firsts = {member.implementation: member for member in shuffled}.values()
    rest = [member for member in shuffled if member not in firsts]
    return [*firsts, *rest][: len(members) // 3]


def in_groups(members: Sequence[Member], random: Random) -> list[list[Member]]:
    """Those of each implementation, in a random order."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.implementation, []).append(member)
    return [random.sample(group, len(group)) for group in groups.values()]


async def write(planned: Written) -> str | None:
    """Have it written. What went wrong, None if nothing did."""
    peer, key = planned.writer.peer, planned.key
    try:
        if planned.kind == "values":
            await peer.ask("put", key=key, value=key, timeout=WRITE_SECONDS)
        else:
            await peer.ask("provide", key=key, timeout=WRITE_SECONDS)
    except OF_A_PEER as error:
        return str(error)
    return None


async def complaint(reader: Peer, written: Written) -> str | None:
    """What is wrong with a read; None if nothing is. The first answer will do, and that a provider is named: it may be dead."""
    try:
        if written.kind == "values":
            answer = await reader.ask("get", key=written.key, quorum=1, timeout=READ_SECONDS)
            return None if unbase64(answer["value"]) == written.key else f"{reader.name} got another value"
        answer = await reader.ask("find_providers", key=written.key, count=1, timeout=READ_SECONDS)
    except OF_A_PEER as error:
        return str(error)
    found = written.writer.peer.id in {entry["id"] for entry in answer["providers"]}
    return None if found else f"{reader.name} did not find the provider"


async def holds(peer: Peer, written: Written) -> bool:
    """Whether it is in a peer's own store."""
    answer = await peer.ask("holds", key=written.key)
    return answer["value"] or any(entry["id"] == written.writer.peer.id for entry in answer["providers"])


async def together(action: Callable[[T], Awaitable[U]], items: Iterable[T]) -> list[U]:
    """The results of an action on each of these, a few at once, in their order. What fails cancels the rest."""
    turn = trio.CapacityLimiter(AT_ONCE)
    results: dict[int, U] = {}

    async def one(place: int, item: T) -> None:
        async with turn:
            results[place] = await action(item)

    async with trio.open_nursery() as nursery:
        for place, item in enumerate(items):
            nursery.start_soon(one, place, item)
    return [results[place] for place in range(len(results))]
