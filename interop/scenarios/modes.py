"""Servers and clients."""

from __future__ import annotations

from cells import PAIR, Deviation, Scenario
from driver import NeverHappened
from stages import SETTLE_SECONDS, Scene, Stage, lists

SWITCH_SECONDS = 5.0
"""For a switch to get around. js tells of it a second later."""


async def switch(scene: Scene) -> str:
    """The writer turns client and then server again. What does the table of the bootstrap peer make of it?"""
    where, who = scene.bootstrap.peer, scene.writer.peer
    await lists(where, who, True, SETTLE_SECONDS)
    await who.ask("set_mode", mode="client")
    try:
        await lists(where, who, False, SWITCH_SECONDS)
        seen = "leaves the table, and returns"
    except NeverHappened:
        seen = "stays in the table"
    await who.ask("set_mode", mode="server")
    await lists(where, who, True, SETTLE_SECONDS)
    return seen


async def client_hidden(scene: Scene) -> str:
    """The writer, a client, has written something. Does it get into the table of the bootstrap peer?"""
    await scene.writer.peer.ask("put", key=scene.key, value=b"value")
    await scene.writer.peer.ask("provide", key=scene.content)
    table = {entry["id"] for entry in (await scene.bootstrap.peer.ask("routing_table"))["peers"]}
    return "in the table" if scene.writer.peer.id in table else "in no table"


ALL = (
    Scenario(
        "client-hidden",
        "a client can write, and is in no routing table",
        ("M1",),
        Stage.HUB,
        PAIR,
        client_hidden,
        "in no table",
    ),
    Scenario(
        "modes",
        "who turns client leaves the routing table, and returns as a server",
        ("M2", "M3"),
        Stage.OPEN,
        PAIR,
        switch,
        "leaves the table, and returns",
        (Deviation("js-keeps-clients", "stays in the table", {"bootstrap": "js"}),),
    ),
)
