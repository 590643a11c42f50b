"""Providers: announced by one, kept by another, found by a third."""

from __future__ import annotations

import trials
from cells import TRIPLE, Scenario
from stages import Scene, Stage

FOUND = "found over the network"


async def provide_find(scene: Scene) -> str:
    """The writer provides, the reader finds it with its address."""
    read = await trials.provider(scene.writer, scene.reader, scene.content)
    return "held already" if read.held else FOUND


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
)
