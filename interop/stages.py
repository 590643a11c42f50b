"""Networks that cells are played in: one peer that the others begin with, and a writer and a reader of each implementation.

  hub       the bootstrap peer alone serves: what is written is there or nowhere, and who reads has to ask it
  open      writers serve, too, and have to be found
  crowded   the same, beside fifteen more, all with so many addresses that answers which name them grow large

A network lives as long as its cells last. Readers come first and writers when a cell wants them, so that nobody has met
before whom a cell lets find each other. Each cell has keys of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from cells import Cell
from driver import Driver, Language, Peer, eventually
from trials import Node

VALIDATORS = ["violence=opaque", "ipns=ipns"]
"""Of all but rust, which knows nothing of names, and keeps them all the same."""
ADDRESSES = 100
"""Of each server on a crowded stage."""
CROWD = 15
"""Servers more on a crowded stage. With the others they are no more than the 20 that an answer names and a lookup asks."""
CROWD_IS: Mapping[str, Mapping[str, object]] = {"go": {"refresh": False}, "rust": {}, "p2pkad": {}}
"""What they are, and its flags: the first one that is there. go can be told not to look for the others of the crowd."""

Mode = Literal["server", "client"]

SETTLE_SECONDS = 60.0
"""For what takes its time, on a machine that does other things as well: a peer to enter a routing table, or to be met."""
IN_VAIN_SECONDS = 10.0
"""After which what is foretold never to happen is taken not to."""


class Stage(StrEnum):
    """Who serves besides the bootstrap peer: nobody, the writers, or a crowd with many addresses."""

    HUB = "hub"
    OPEN = "open"
    CROWDED = "crowded"


@dataclass(frozen=True, slots=True)
class Scene:
    """The peers of a cell. other: the reader of the writer's implementation. digest: the same for the same seed and cell.

    foretold: what will be seen by a line of DEVIATIONS.md. None: nothing is foretold.
    """

    bootstrap: Node
    writer: Node
    reader: Node
    other: Node
    digest: bytes
    foretold: str | None

    def within(self, unless: str) -> float:
        """Seconds to wait for something: few where it is foretold that this is seen instead, and the wait is in vain."""
        return IN_VAIN_SECONDS if self.foretold == unless else SETTLE_SECONDS

    @property
    def key(self) -> bytes:
        """A record's key that no other cell has. Of less than 50 bytes: libp2p.kad_dht looks up no longer ones."""
        return b"/violence/" + self.digest[:16].hex().encode()

    @property
    def content(self) -> bytes:
        """A multihash that no other cell has."""
        return b"\x12\x20" + self.digest


class Network:
    """The peers that begin with one bootstrap peer. They end with their driver."""

    def __init__(self, driver: Driver, stage: Stage, bootstrap: str, languages: Mapping[str, Language], seed: str) -> None:
        self._driver = driver
        self._stage = stage
        self._first = bootstrap
        self._languages = languages
        self._seed = seed
        self._nodes: dict[str, Node] = {}
        self.versions: dict[str, dict[str, str]] = {}
        """By implementation, what its peers say of themselves."""
        self.silences = 0
        """In so many of the cells that were played in it nobody answered in time."""

    async def gather(self, cells: list[Cell]) -> None:
        """Start the bootstrap peer and all readers of these cells. Raises what the driver raises, and NeverHappened."""
        await self._start("bootstrap", self._first, "server")
        for name in dict.fromkeys(name for cell in cells for name in cell.readers):
            await self._start(f"{name}-reader", name, "client", joins=True)
        if self._stage is Stage.CROWDED:
            await self._crowd()

    async def scene(self, cell: Cell) -> Scene:
        """The peers of a cell. Starts the writer if need be; raises as `gather`."""
        writer, (reader, other) = cell.cast["writer"], cell.readers
        if f"{writer}-writer" not in self._nodes:
            mode: Mode = "client" if self._stage is Stage.HUB else "server"
            addresses = ADDRESSES if self._stage is Stage.CROWDED else 1
            await self._start(f"{writer}-writer", writer, mode, joins=True, addresses=addresses)
        return Scene(
            self._nodes["bootstrap"],
            self._nodes[f"{writer}-writer"],
            self._nodes[f"{reader}-reader"],
            self._nodes[f"{other}-reader"],
            hashlib.sha256(f"{self._seed} {cell}".encode()).digest(),
            cell.deviation.seen if cell.deviation else None,
        )

    async def _crowd(self) -> None:
        """Servers that the bootstrap peer knows, and that know it alone."""
        name = next(name for name in CROWD_IS if name in self._languages)
        bootstrap = self._nodes["bootstrap"].peer
        for number in range(CROWD):
            peer = await self._run(f"{name}-{number}", name, "server", ADDRESSES, **CROWD_IS[name])
            await peer.ask("connect", peer=bootstrap.address)
            await lists(bootstrap, peer, True, SETTLE_SECONDS)

    async def _start(self, name: str, implementation: str, mode: Mode, joins: bool = False, addresses: int = 1) -> None:
        peer = await self._run(name, implementation, mode, addresses)
        if joins:
            try:
                await join(peer, self._nodes["bootstrap"].peer, mode)
            except BaseException:  # the limit of a cell, too
                await peer.kill()  # the next cell that wants it starts it anew, under the same id
                raise
        self._nodes[name] = Node(peer, "go" if implementation == "go" else mode)

    async def _run(self, name: str, implementation: str, mode: Mode, addresses: int, **options: object) -> Peer:
        peer = await self._driver.start(
            name,
            self._languages[implementation],
            mode=mode,
            listen=["/ip4/127.0.0.1/tcp/0"] * addresses,
            seed=f"{self._seed} {self._stage} {self._first} {name}",
            validator=VALIDATORS[: 1 if implementation == "rust" else None],
            **options,
        )
        self.versions[implementation] = peer.versions
        return peer


async def join(peer: Peer, bootstrap: Peer, mode: Mode) -> None:
    """Bring a peer into the network: it knows the bootstrap peer, and is in its table if it serves."""
    await peer.ask("bootstrap", peers=bootstrap.addresses)
    if mode == "server":
        await lists(bootstrap, peer, True, SETTLE_SECONDS)


async def lists(peer: Peer, other: Peer, listed: bool, within: float) -> None:
    """Wait until `other` is in the routing table of a peer, or is not. Raises NeverHappened."""

    async def look() -> bool:
        return other.id in {entry["id"] for entry in (await peer.ask("routing_table"))["peers"]}

    what = f"{other.name} is {'' if listed else 'not '}in the routing table of {peer.name}"
    await eventually(look, lambda found: found is listed, within=within, what=what)


def names_of(cell: Cell) -> list[str]:
    """What the logs of a cell's peers are called, each once."""
    readers = (f"{name}-reader" for name in cell.readers)
    return list(dict.fromkeys(["bootstrap", f"{cell.cast['writer']}-writer", *readers]))
