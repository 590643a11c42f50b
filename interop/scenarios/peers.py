"""Finding each other."""

from __future__ import annotations

import trials
from cells import PAIR, TRIPLE, Deviation, Scenario
from driver import PeerError
from stages import Scene, Stage

FOUND = "found, with the address"


async def find(scene: Scene) -> str:
    """The reader asks where the writer is."""
    try:
        await trials.peer(scene.writer, scene.reader, scene.digest)
    except PeerError as error:
        if error.kind == "not_found":
            return "not found"
        raise
    return FOUND


async def ping(scene: Scene) -> str:
    """Over /ipfs/ping/1.0.0, both ways."""
    for one, other in ((scene.writer, scene.bootstrap), (scene.bootstrap, scene.writer)):
        await one.peer.ask("ping", peer=other.peer.id)
    return "answered"


ALL = (
    Scenario(
        "find-client",
        "who reads finds a client through the server that the client is connected to",
        ("F3", "M1"),
        Stage.HUB,
        TRIPLE,
        find,
        FOUND,
        (Deviation("rust-knows-no-clients", "not found", {"bootstrap": "rust"}),),
    ),
    Scenario("find-peer", "who reads finds a server that it has not met", ("F1", "L2"), Stage.OPEN, TRIPLE, find, FOUND),
    Scenario("ping", "pings are answered on both sides of one connection", (), Stage.HUB, PAIR, ping, "answered"),
)
