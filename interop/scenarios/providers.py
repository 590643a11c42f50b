"""Providers: announced by one, kept by another, found by a third."""

from __future__ import annotations

import trials
from cells import PAIR, TRIPLE, Scenario
from driver import PeerError
from stages import Scene, Stage
from trials import Wrong

FOUND = "found over the network"


async def provide_find(scene: Scene) -> str:
    """The writer provides, the reader finds it with its address."""
    read = await trials.TRIALS["providers"].passes(scene.writer, scene.reader, scene.content)
    return "held already" if read.held else FOUND


async def forged(scene: Scene) -> str:
    """Somebody announces that it provides something, and then that somebody else does. The latter must not be believed."""
    writer, where, victim = scene.writer.peer, scene.bootstrap.peer, scene.other.peer.id
    announcement = {"peer": where.address, "type": "ADD_PROVIDER", "key": scene.content}
    await writer.ask("request", **announcement)
    try:
        await writer.ask("request", **announcement, provider=victim)
    except PeerError as error:
        if error.kind != "failed":
            raise
    held = (await where.ask("holds", key=scene.content))["providers"]
    if not held:
        raise Wrong("nothing is believed")
    await believed(scene, scene.content[:-1] + bytes([scene.content[-1] ^ 1]))
    found = (await scene.reader.peer.ask("find_providers", key=scene.content))["providers"]
    return "believed" if victim in {entry["id"] for entry in (*held, *found)} else "not believed"


async def believed(scene: Scene, content: bytes) -> None:
    """The writer announces something else, and the bootstrap peer takes it: it was not gone. Raises Wrong."""
    where = scene.bootstrap.peer
    await scene.writer.peer.ask("request", peer=where.address, type="ADD_PROVIDER", key=content)
    if not (await where.ask("holds", key=content))["providers"]:
        raise Wrong("nothing is believed any more")


ALL = (
    Scenario(
        "provide-find",
        "whom one announces another finds, with its address, through a third",
        ("P6", "M1"),
        Stage.HUB,
        TRIPLE,
        provide_find,
        FOUND,
    ),
    Scenario(
        "forged-provider",
        "a provider is announced by itself or not at all",
        ("P2",),
        Stage.HUB,
        PAIR,
        forged,
        "not believed",
        only={"writer": ("p2pkad",)},
    ),
)
