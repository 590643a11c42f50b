"""Large requests and replies while they arrive: what peers have begun to send, and not finished, is bounded by bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import trio

from p2pkad.core.peers import PeerId
from p2pkad.errors import LocalLimit

SMALL = 64 * 1024
"""Bytes of a stream that are not counted. As much may be unread of it in any case, four times over."""


@dataclass(slots=True, eq=False)
class Arrival:
    """What has arrived of a message. stream: is cancelled when it has to go. size: bytes; None: it has gone."""

    peer: PeerId
    stream: trio.CancelScope
    size: int | None = 0


class Intake:
    """What is large of one protocol: the requests that are not answered yet, and the replies that are not whole.

    most: bytes of all of them together.

    Beyond that the largest one of the peer that has the most is given up: who sends little, or finishes, is not held up by
    who does neither. One alone may be of any size. refused: told whose it was.
    """

    def __init__(self, most: int, refused: Callable[[PeerId], None]) -> None:
        self._most = most
        self._refused = refused
        self._total = 0
        self._arrivals: dict[Arrival, None] = {}

    def __repr__(self) -> str:
        return f"<Intake {self._total}/{self._most} in {len(self._arrivals)}>"

    @property
    def limit(self) -> LocalLimit:
        """What is raised where something had to go."""
        return LocalLimit("arriving_bytes", self._most)

    def hold(self, arrival: Arrival, size: int) -> None:
        """So much of it has arrived by now. Raises LocalLimit: it had to go."""
        if arrival.size is None:
            raise self.limit
        self._total += size - arrival.size
        arrival.size = size
        self._arrivals[arrival] = None
        while self._total > self._most and len(self._arrivals) > 1:
            self._give_up(self._largest())

    def let_go(self, arrival: Arrival) -> None:
        """It is dealt with, or will not be. Twice is once."""
        if arrival in self._arrivals:
            del self._arrivals[arrival]
            self._total -= arrival.size or 0
            arrival.size = 0

    def _largest(self) -> Arrival:
        of_peers: Counter[PeerId] = Counter()
        for arrival in self._arrivals:
            of_peers[arrival.peer] += arrival.size or 0
        ((peer, _),) = of_peers.most_common(1)
        return max((each for each in self._arrivals if each.peer == peer), key=lambda each: each.size or 0)

    def _give_up(self, arrival: Arrival) -> None:
        self.let_go(arrival)
        arrival.size = None
        arrival.stream.cancel()
        self._refused(arrival.peer)
