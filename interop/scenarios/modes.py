"""Servers and clients."""

from __future__ import annotations

from cells import PAIR, Deviation, Scenario
from driver import NeverHappened
from stages import SETTLE_SECONDS, Scene, Stage, lists

LOOKS = 10
"""At a table. Between two of them its peer pings the client: what an earlier message set off has had time to end."""
STAYS = "stays in the table"


async def switch(scene: Scene) -> str:
    """The writer, a client, turns server, client, server. What does the table of the bootstrap peer make of it?

    It is the only other server there is: nobody else can bring its name up again, having heard of the switch later.
    """
    who = scene.writer.peer
    await enters(scene)
    await who.ask("set_mode", mode="client")
    try:
        await lists(scene.bootstrap.peer, who, False, scene.within(unless=STAYS))
        seen = "leaves the table, and returns"
    except NeverHappened:
        seen = STAYS
    await enters(scene)
    await retire(scene, leaves=seen != STAYS)
    return seen


async def enters(scene: Scene) -> None:
    """The writer turns server, and the table of the bootstrap peer has it and is done with asking it.

    What rust and js were asked before a switch they answer after it, and go takes who answers for a server.
    """
    where, who = scene.bootstrap.peer, scene.writer.peer
    await who.ask("set_mode", mode="server")
    await lists(where, who, True, SETTLE_SECONDS)
    await where.ask("bootstrap", peers=who.addresses)


async def retire(scene: Scene, leaves: bool) -> None:
    """The writer is a client again, as the cells of others want it."""
    await scene.writer.peer.ask("set_mode", mode="client")
    if leaves:
        await lists(scene.bootstrap.peer, scene.writer.peer, False, SETTLE_SECONDS)


async def client_hidden(scene: Scene) -> str:
    """The writer, a client, has written something. Does it get into the table of the bootstrap peer, late as it may be?"""
    who, where = scene.writer.peer, scene.bootstrap.peer
    await who.ask("put", key=scene.key, value=b"value")
    await who.ask("provide", key=scene.content)
    for _ in range(LOOKS):
        if who.id in {entry["id"] for entry in (await where.ask("routing_table"))["peers"]}:
            return "in the table"
        await where.ask("ping", peer=who.id)
    return "in no table"


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
        Stage.HUB,
        PAIR,
        switch,
        "leaves the table, and returns",
        (Deviation("js-keeps-clients", STAYS, {"bootstrap": "js"}),),
    ),
)
