"""Finding each other."""

from __future__ import annotations

import base58
import frames
import trials
from cells import PAIR, TRIPLE, Deviation, Scenario, of_any_size
from driver import NeverHappened, PeerError, eventually
from frames import Kind
from stages import ADDRESSES, CROWD, Scene, Stage

from scenarios.sizes import OVERSIZED, is_oversized

FOUND = "found, with the address"
ITSELF = "its own entry comes first"
NOBODY = "nobody is named"
READABLE = "others are named"


async def find(scene: Scene) -> str:
    """The reader asks where the writer is."""
    try:
        await trials.TRIALS["find_peer"].passes(scene.writer, scene.reader, scene.digest)
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


async def own_id(scene: Scene) -> str:
    """The writer asks the bootstrap peer who is near the bootstrap peer: go lets nobody into a full table who names nobody."""
    where = scene.bootstrap.peer
    answer = await scene.writer.peer.ask("request", peer=where.address, type="FIND_NODE", key=base58.b58decode(where.id))
    match answer["closer"]:
        case []:
            return NOBODY
        case [first, *_] if trials.reaches(first, where):
            return ITSELF
        case _:
            return READABLE


async def crowded_answer(scene: Scene) -> str:
    """A client of the writer's kind looks for the nearest peers. It knows the bootstrap peer alone: can it read its answer?

    Whom it meets goes into its table, even those whose own answers it cannot read. js takes its time for that: it dials all
    addresses of each.
    """
    reader, bootstrap = scene.other.peer, scene.bootstrap.peer.id

    async def knows_others() -> bool:
        found = (await reader.ask("closest_peers", key=scene.content))["peers"]
        met = (await reader.ask("routing_table"))["peers"]
        return any(entry["id"] != bootstrap for entry in (*found, *met))

    try:
        await eventually(knows_others, bool, within=scene.within(unless=NOBODY), what="somebody is named")
    except NeverHappened:
        return NOBODY
    return OVERSIZED if await is_oversized(scene, frames.request(Kind.FIND_NODE, scene.content)) else READABLE


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
    Scenario(
        "own-id",
        "who is asked for its own id names itself first",
        ("L6",),
        Stage.HUB,
        PAIR,
        own_id,
        ITSELF,
        (Deviation("rust-never-lists-itself", NOBODY, {"bootstrap": "rust"}),),
        {"writer": ("go", "js", "p2pkad")},
    ),
    Scenario(
        "crowded-answer",
        f"an answer that names more than {CROWD} peers of {ADDRESSES} addresses stays within 16 KiB",
        ("W6", "L14"),
        Stage.CROWDED,
        PAIR,
        crowded_answer,
        READABLE,
        of_any_size(NOBODY, OVERSIZED),
    ),
    Scenario("ping", "pings are answered on both sides of one connection", (), Stage.HUB, PAIR, ping, "answered"),
)
