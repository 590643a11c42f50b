"""Who takes the next step of a lookup, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from p2pkad.core.goals import ClosestPeers
from p2pkad.core.lookup import Ask, Done, Ending, Outcome, Query, Step, Wait
from p2pkad.core.messages import FindNodeReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.node.chronicle import Chronicle
from p2pkad.node.clock import Clock
from p2pkad.node.driving import Driving
from p2pkad.node.telling import Telling

ALICE, BOB, CAROL = (PeerId(name) for name in (b"alice", b"bob", b"carol"))
NOTHING = Outcome(closest=(), ending=Ending.NOBODY, asked=0, answered=0, failed=0, late=0)


def ask(*peers: PeerId) -> Ask:
    return Ask(tuple(Query(peer, 100, 100) for peer in peers))


@dataclass
class Script:
    """A lookup that says what it was told to say; and everything else that a lookup is driven with. Time begins at 0.

    delays: seconds until a peer answers. busy: seconds for which the process does nothing else when the answer is there.
    """

    steps: list[Step]
    delays: dict[PeerId, float]
    busy: dict[PeerId, float] = field(default_factory=dict)
    lost: float = 0.0
    log: list[tuple[float, str]] = field(default_factory=list)
    goal: Any = field(default_factory=lambda: ClosestPeers(b"key"))
    late: tuple[PeerId, ...] = ()

    def monotonic(self) -> float:
        return trio.current_time() + self.lost

    def next(self, now: float) -> Step:
        step = self.steps.pop(0)
        self.log.append((now, type(step).__name__))
        return step

    def on_reply(self, peer: PeerId, reply: object, now: float) -> None:
        self.log.append((now, f"{peer.decode()} answered"))

    def info(self, peer: PeerId) -> PeerInfo:
        return PeerInfo(peer)

    async def ask(self, peer: PeerInfo, message: object, deadline: float) -> FindNodeReply:
        await trio.sleep(self.delays[peer.id])
        self.lost += self.busy.get(peer.id, 0.0)
        return FindNodeReply(())

    async def run(self) -> Outcome:
        clock = Clock(monotonic=self.monotonic, wall=self.monotonic)
        chronicle = Chronicle(1, self.goal, 0.0, Telling())
        script: Any = self
        return await Driving(script, script, script, chronicle, clock, None).to_its_end()


async def test_each_answer_is_followed_by_the_next_step_at_once(autojump_clock: object) -> None:
    script = Script([ask(ALICE), Wait(9), ask(BOB, CAROL), Wait(9), Wait(9), Done(NOTHING)], {ALICE: 1, BOB: 1, CAROL: 2})
    assert await script.run() is NOTHING
    assert [(round(at), what) for at, what in script.log] == [
        (0, "Ask"),
        (0, "Wait"),
        (1, "alice answered"),
        (1, "Ask"),
        (1, "Wait"),
        (2, "bob answered"),
        (2, "Wait"),
        (3, "carol answered"),
        (3, "Done"),
    ]


async def test_without_an_answer_the_next_step_follows_when_the_time_of_a_wait_has_passed(autojump_clock: object) -> None:
    script = Script([ask(ALICE), Wait(2), ask(BOB), Wait(9), Done(NOTHING)], {ALICE: 50, BOB: 1})
    assert await script.run() is NOTHING
    assert [(round(at), what) for at, what in script.log] == [
        (0, "Ask"),
        (0, "Wait"),
        (2, "Ask"),
        (2, "Wait"),
        (3, "bob answered"),
        (3, "Done"),
    ]


async def test_answers_that_nobody_has_read_while_the_process_was_busy_are_read_before_it_is_said_who_is_late(
    autojump_clock: object,
) -> None:
    script = Script([ask(ALICE, BOB), Wait(3), Done(NOTHING)], {ALICE: 1, BOB: 2}, busy={ALICE: 10})
    assert await script.run() is NOTHING
    assert [what for _, what in script.log] == ["Ask", "Wait", "alice answered", "bob answered", "Done"]
