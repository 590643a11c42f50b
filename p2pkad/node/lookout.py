"""Somebody is always looked out for, as long as anybody is missed: so a network that fell apart comes together again.

This is the timer; whom to try is the business of core/awaited.py, and of core/suspicion.py when nobody answers at all.
"""

from __future__ import annotations

from random import Random

from p2pkad.core.schedule import Schedule
from p2pkad.node.clock import Clock
from p2pkad.node.membership import Membership

TURN = 25.0
"""Seconds between two tries. A network that heals is noticed by each node of it within one, so by somebody much sooner;
that is one dial in vain where all of those who are missed are dead."""

FEW = 20
"""Peers in the table up to which that holds. With more each pauses in proportion: they all look out, so that the network as
a whole tries as often, and is not busy with dialling its dead. Who gets no answer from anybody is alone, and does not pause."""


class Lookout:
    """A chore: tries one of those who are missed."""

    def __init__(self, membership: Membership, clock: Clock, dice: Random) -> None:
        self._membership = membership
        self._clock = clock
        self._schedule = Schedule({"turn": TURN}, clock.monotonic(), dice.random)

    def due(self) -> float:
        missing_from = self._membership.missing_from
        alone = missing_from == float("-inf")
        pause = 0.0 if alone else max(0.0, len(self._membership.table) / FEW - 1) * TURN
        return max(self._schedule.at("turn") + pause, missing_from)

    async def run(self) -> None:
        self._schedule.done("turn", self._clock.monotonic())
        self._membership.look_out()
