"""Scenarios of nobody, for tests of what is made of them."""

from __future__ import annotations

from cells import PAIR, TRIPLE, Deviation, Scenario
from stages import Scene, Stage


async def nothing(scene: Scene) -> str:
    return "nothing"


LOSES = Deviation("loses", "lost", {"bootstrap": "b"})
READ = Scenario("read", "what is written is read", ("V1",), Stage.HUB, TRIPLE, nothing, "read")
KEEP = Scenario("keep", "it is kept", ("V3",), Stage.HUB, PAIR, nothing, "kept", (LOSES,))
