"""When bootstrap peers are tried again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
import trio
import trio.lowlevel

from p2pkad.config import KademliaConfig
from p2pkad.core.peers import PeerInfo
from p2pkad.errors import PeerUnreachable
from p2pkad.events import BootstrapEnded, NodeEvent
from p2pkad.identity import Identity
from p2pkad.node.bootstrap import Bootstrap
from p2pkad.node.clock import Clock

PEERS = [PeerInfo(Identity.generate().id) for _ in range(2)]
CLOCK = Clock(trio.current_time, lambda: 0.0)


class Middle:
    """Dice that spread nothing."""

    def random(self) -> float:
        return 0.5


@dataclass
class Stage:
    """The chore, and what it has around it. answers: how many attempts are answered, by their number."""

    answers: set[int] = field(default_factory=set)
    usable: int = 0
    own: bytes = Identity.generate().id
    told: list[float] = field(default_factory=list)
    given_up: list[bool] = field(default_factory=list)

    async def ask(self, peer: PeerInfo, message: object, deadline: float) -> None:
        await trio.lowlevel.checkpoint()
        if len(self.told) not in self.answers:
            raise PeerUnreachable(peer.id, [])

    def note(self, event: NodeEvent) -> None:
        assert isinstance(event, BootstrapEnded)
        self.told.append(event.at)
        self.given_up.append(event.given_up)

    async def pauses(self, seconds: float, **options: Any) -> list[float]:
        """Seconds between the attempts of so long a time."""
        config = KademliaConfig(**options)
        dice, me = cast("Any", Middle()), cast("Any", self)
        async with trio.open_nursery() as nursery:
            chore = Bootstrap(me, me, PEERS, config, CLOCK, dice, self.note, nursery.start_soon)
            end = trio.current_time() + seconds
            while chore.due() < end:
                await trio.sleep_until(chore.due())
                await chore.run()
        return [round(after - before, 3) for before, after in pairwise(self.told)]


@pytest.mark.scenario("L4")
async def test_while_nobody_answers_attempts_go_on_for_ever_with_pauses_that_grow(autojump_clock):
    assert await Stage().pauses(200) == [5, 10, 20, 30, 30, 30, 30, 30]


@pytest.mark.scenario("L4")
async def test_the_pauses_are_configuration(autojump_clock):
    assert await Stage().pauses(60, bootstrap_pause=1.0, bootstrap_interval=15.0) == [1, 2, 4, 8, 15, 15]
    assert await Stage().pauses(60, bootstrap_pause=100.0, bootstrap_interval=20.0) == [20, 20]


@pytest.mark.scenario("L4")
async def test_who_was_answered_begins_again_with_the_first_pause(autojump_clock):
    assert await Stage(answers={2}).pauses(100) == [5, 10, 30, 5, 10, 20]


@pytest.mark.scenario("L4")
async def test_a_limited_number_of_attempts_ends_with_the_last_that_nobody_answered(autojump_clock):
    stage = Stage()
    assert await stage.pauses(1000, bootstrap_attempts=3) == [5, 10]
    assert stage.given_up == [False, False, True]
    assert await Stage(answers={1}).pauses(1000, bootstrap_attempts=3) == [5, 30, 5, 10]


async def test_a_table_that_is_filled_needs_no_attempt(autojump_clock):
    stage = Stage(usable=3)
    await stage.pauses(1000)
    assert stage.told == []
