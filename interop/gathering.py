"""Who takes part in a run of contact, and when they have found each other."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from driver import Answer, Driver, eventually, go_language, py_language
from trials import Kind, Node, point

FOUND_SECONDS = 60.0
"""For twenty nodes to find each other, starting on a machine that does other things as well."""
USUAL = 20
"""Peers in a bucket, by default."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How many p2pkad nodes there are, and how all nodes are configured.

    each: servers, and clients. bucket_size: None for the defaults; otherwise buckets and replication, that do not make
    everybody hold everything. hop: no reader may hold what it reads.
    """

    name: str
    each: int
    bucket_size: int | None
    hop: bool

    @property
    def room(self) -> int:
        """Of a bucket."""
        return self.bucket_size or USUAL

    @property
    def flags(self) -> dict[str, object]:
        return {"validator": "violence=opaque", "bucket_size": self.bucket_size}


@dataclass(slots=True)
class Network:
    """The nodes of one run, while they live."""

    go: Node
    p2pkad: list[Node]
    seeds: dict[str, str]
    """Of what their keys are made, by name."""
    data: Path
    """Where each p2pkad node has a directory by its name."""
    complete_since: float = 0.0
    """When all p2pkad nodes were there, in trio's seconds."""

    @property
    def servers(self) -> list[Node]:
        """The p2pkad servers."""
        return [node for node in self.p2pkad if node.kind == "server"]

    @property
    def clients(self) -> list[Node]:
        return [node for node in self.p2pkad if node.kind == "client"]

    @property
    def everybody(self) -> list[Node]:
        return [*self.p2pkad, self.go]


async def gather(driver: Driver, setting: Setting, seed: str, binary: Path, data: Path) -> Network:
    """Start everybody. data: a directory for those of the p2pkad nodes, in which nothing is left of an earlier run.

    Returns when go has the servers in its table, each server as many as a bucket holds, a client one, and all have looked
    for their neighbours.
    """
    shutil.rmtree(data, ignore_errors=True)
    seeds = fitting_seeds(seed, setting)
    go = Node(await driver.start("go", go_language(binary), seed=seeds["go"], **setting.flags), "go")
    network = Network(go, [], seeds, data)

    async def start(kind: Kind, name: str) -> None:
        flags = {"mode": kind, "seed": seeds[name], "data_dir": data / name, **setting.flags}
        peer = await driver.start(name, py_language(), bootstrap=go.peer.addresses, **flags)
        network.p2pkad.append(Node(peer, kind))

    for kind, enough in (("server", min(setting.each, setting.room)), ("client", 1)):
        async with trio.open_nursery() as nursery:
            for name in names(kind, setting.each):
                nursery.start_soon(start, kind, name)
        await go_has(network, network.servers, FOUND_SECONDS)
        for node in network.p2pkad:
            await knows(node, enough)
    network.complete_since = trio.current_time()
    async with trio.open_nursery() as nursery:
        for node in network.p2pkad:
            nursery.start_soon(look_round, node, go)
    network.p2pkad.sort(key=str)
    return network


async def look_round(node: Node, go: Node) -> None:
    """Wait until a node has looked for its neighbours: a client is in no table, and is found through those alone."""
    await node.peer.ask("bootstrap", peers=go.peer.addresses)


def names(kind: str, each: int) -> list[str]:
    return [f"{kind}-{number}" for number in range(1, each + 1)]


def fitting_seeds(seed: str, setting: Setting) -> dict[str, str]:
    """A seed for each name, such that the go peer's buckets have room for all servers.

    Servers that share as many first bits with it share a bucket, and of buckets of 3 a fourth one would have to stay out.
    """
    servers = names("server", setting.each)
    for number in count():
        seeds = {name: f"{seed} {number} {name}" for name in ["go", *servers, *names("client", setting.each)]}
        own = point_of(seeds["go"])
        prefixes = Counter(256 - (own ^ point_of(seeds[name])).bit_length() for name in servers)
        if max(prefixes.values()) <= setting.room:
            return seeds
    raise AssertionError("count() has no end")


def point_of(seed: str) -> int:
    """Where the peer with this seed is in the key space (CONTROL.md has how its key is made, peer-ids.md how its id is)."""
    public = Ed25519PrivateKey.from_private_bytes(sha256(seed.encode()).digest()).public_key().public_bytes_raw()
    return point(b"\x00\x24\x08\x01\x12\x20" + public)


async def go_has(network: Network, expected: Sequence[Node], within: float) -> float:
    """Wait until go's routing table holds exactly these nodes; the seconds that it took. Raises NeverHappened."""
    wanted = {node.peer.id for node in expected}
    started = trio.current_time()

    async def table() -> set[str]:
        return {entry["id"] for entry in (await network.go.peer.ask("routing_table"))["peers"]}

    what = f"the routing table of go holds exactly {', '.join(str(node) for node in expected)}"
    await eventually(table, wanted.__eq__, within=within, what=what)
    return trio.current_time() - started


async def knows(node: Node, peers: int) -> None:
    """Wait until a node's routing table holds so many peers. Raises NeverHappened."""

    async def table() -> Answer:
        return await node.peer.ask("routing_table")

    what = f"{peers} peers are in the routing table of {node}"
    await eventually(table, lambda answer: len(answer["peers"]) >= peers, within=FOUND_SECONDS, what=what)
