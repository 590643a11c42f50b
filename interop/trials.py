"""One thing that a peer does and another one has to see: what contact counts, and why a count is not full.

A trial is judged by the peer that reads, never by the one that writes. Its key is chosen so that the reader is the server
farthest from it: with a small k it holds nothing then, and what it reads has come over the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

import base58
import trio
from driver import Answer, NeverHappened, Peer, PeerError, eventually, unbase64

Kind = Literal["server", "client", "go"]

# Enough to keep two cores busy, few enough that none waits long for its turn.
AT_ONCE = 8
# For what is still on its way: ADD_PROVIDER has no reply, so an announcement may be when `provide` returns.
SETTLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Node:
    """A peer and the part that it plays. The go peer is a server too."""

    peer: Peer
    kind: Kind

    @property
    def point(self) -> int:
        """Where it is in the key space."""
        return point(base58.b58decode(self.peer.id))

    def __str__(self) -> str:
        return self.peer.name


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader got, rightly. held: it had it already. seconds: what the reading took."""

    held: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended. read: a sentence when it did not end well."""

    source: Node
    reader: Node
    read: Read | str

    @property
    def right(self) -> bool:
        return isinstance(self.read, Read)

    def __str__(self) -> str:
        return f"{self.source} to {self.reader}: {self.read}"


class Wrong(Exception):
    """The reader got something else."""


Action = Callable[[Node, Node, bytes], Awaitable[Read]]
"""Has a reader read what a source has to do with, by its name. Raises PeerError, NeverHappened, Wrong when that fails."""


@dataclass(frozen=True, slots=True)
class Trial:
    """name_of: makes of a digest what is looked up. write: what the source does for its reader before that one reads.

    read_again: later, when the source may be somewhere else than it was when it wrote.
    """

    name_of: Callable[[bytes], bytes]
    write: Callable[[Node, Node, bytes], Awaitable[None]]
    read: Action
    read_again: Action

    async def passes(self, source: Node, reader: Node, name: bytes) -> Read:
        """All of it."""
        await self.write(source, reader, name)
        return await self.read(source, reader, name)


async def put(source: Node, reader: Node, key: bytes) -> None:
    """`source` puts a value."""
    await source.peer.ask("put", key=key, value=text_for(source, reader))


async def get(source: Node, reader: Node, key: bytes) -> Read:
    """What `source` has put, `reader` gets."""
    held = (await reader.peer.ask("holds", key=key))["value"]
    answer = await reader.peer.ask("get", key=key)
    if unbase64(answer["value"]) != text_for(source, reader):
        raise Wrong(f"got {unbase64(answer['value'])!r}")
    return Read(held, answer["seconds"])


def text_for(source: Node, reader: Node) -> bytes:
    # Their ids, which they keep when they are started again.
    return f"{source.peer.id} for {reader.peer.id}".encode()


async def provide(source: Node, reader: Node, content: bytes) -> None:
    """`source` provides."""
    await source.peer.ask("provide", key=content)


async def find_provider(source: Node, reader: Node, content: bytes) -> Read:
    """`reader` finds `source` among the providers, with its address."""

    async def look() -> Answer:
        return await reader.peer.ask("find_providers", key=content)

    def has_it(answer: Answer) -> bool:
        return any(reaches(found, source.peer) for found in answer["providers"])

    answer = await eventually(look, has_it, within=SETTLE_SECONDS, what=f"{source} is a provider, with its address")
    # Asked after the reading: an announcement that arrived meanwhile counts as held, too.
    own = (await reader.peer.ask("holds", key=content))["providers"]
    return Read(any(found["id"] == source.peer.id for found in own), answer["seconds"])


async def nothing(source: Node, reader: Node, _: bytes) -> None:
    """It is there."""


async def find_peer(source: Node, reader: Node, _: bytes) -> Read:
    """`reader` finds out where `source` is."""

    async def look() -> Answer:
        return await reader.peer.ask("find_peer", peer=source.peer.id)

    def is_final(answer: Answer) -> bool:
        # go answers for a peer that is just connecting to it at once, and without addresses until identify is through.
        return reader.kind != "go" or bool(answer["peer"]["addresses"])

    answer = await eventually(look, is_final, within=SETTLE_SECONDS, what=f"{source} is found with an address")
    if not reaches(answer["peer"], source.peer):
        raise Wrong(f"found {answer['peer']}")
    return Read(False, answer["seconds"])


async def find_peer_in_time(source: Node, reader: Node, _: bytes) -> Read:
    """`reader` finds out where `source` is now, after a while: news of a new address have to get about."""

    async def look() -> Answer:
        return await reader.peer.ask("find_peer", peer=source.peer.id)

    def is_right(answer: Answer) -> bool:
        return reaches(answer["peer"], source.peer)

    answer = await eventually(look, is_right, within=SETTLE_SECONDS, what=f"{source} is found where it is")
    return Read(False, answer["seconds"])


# Finding peers comes first: a connected one is answered from memory, and the others connect everybody with everybody.
TRIALS = {
    "find_peer": Trial(lambda digest: digest, nothing, find_peer, find_peer_in_time),
    "values": Trial(lambda digest: b"/violence/" + digest.hex().encode(), put, get, get),
    "providers": Trial(lambda digest: b"\x12\x20" + digest, provide, find_provider, find_provider),
}

Pairs = Iterable[tuple[Node, Node]]
"""Sources, and who reads."""


async def run(trial: Trial, pairs: Pairs, servers: Sequence[Node], salt: str) -> list[Outcome]:
    """One trial for each pair, a few at once. servers: all that there are, for the choice of names."""
    return await _run(trial.passes, trial.name_of, pairs, servers, salt)


async def read_again(trial: Trial, pairs: Pairs, servers: Sequence[Node], salt: str) -> list[Outcome]:
    """Have those read once more who read in a run with the same servers and salt, and nobody write."""
    return await _run(trial.read_again, trial.name_of, pairs, servers, salt)


async def _run(
    action: Action, name_of: Callable[[bytes], bytes], pairs: Pairs, servers: Sequence[Node], salt: str
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    turn = trio.CapacityLimiter(AT_ONCE)

    async def one(source: Node, reader: Node) -> None:
        name = name_far_from(reader, servers, name_of, f"{salt} {source.peer.id} {reader.peer.id}")
        async with turn:
            try:
                read: Read | str = await action(source, reader, name)
            except (PeerError, NeverHappened, Wrong) as error:
                read = str(error)
        outcomes.append(Outcome(source, reader, read))

    async with trio.open_nursery() as nursery:
        for source, reader in pairs:
            nursery.start_soon(one, source, reader)
    return outcomes


def name_far_from(reader: Node, servers: Sequence[Node], name_of: Callable[[bytes], bytes], salt: str) -> bytes:
    """A name from which `reader`, if it is a server, is the farthest of all. The same for the same salt."""
    for number in count():
        name = name_of(hashlib.sha256(f"{salt} {number}".encode()).digest())
        target = point(name)
        if reader not in servers or all(server.point ^ target <= reader.point ^ target for server in servers):
            return name
    raise AssertionError("count() has no end")


def point(name: bytes) -> int:
    """Where a name is in the key space: its SHA-256, as a number. The distance of two is their XOR (kad-dht r2)."""
    return int.from_bytes(hashlib.sha256(name).digest(), "big")


def reaches(found: Answer, wanted: Peer) -> bool:
    """Whether a peer in an answer is the one wanted, with the address that it listens on."""
    addresses = {address.partition("/p2p/")[0] for address in found["addresses"]}
    return found["id"] == wanted.id and wanted.address.partition("/p2p/")[0] in addresses
