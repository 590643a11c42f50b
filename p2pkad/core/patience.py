"""How long to wait for a peer until it is late, learned from how long answers took.

The rule is that of RFC 6298, section 2, for retransmissions: the usual time, and four times how far times stray from it.
The RFC follows one connection, a lookup asks many peers, some of whom are slow, or answer slowly to slow others down. So
the usual time is the median of the latest answers, and how far they stray is the way from there to the time that four in
five keep: one in five may take as long as it likes and moves neither. When more than that turn slow it is the network,
and the wait grows with the first such answers; it shrinks once nearly all of them are forgotten.

Times: seconds, as measured by the caller.
"""

from __future__ import annotations

from bisect import bisect_left, insort

WINDOW = 64
"""Answers remembered: those of three lookups or so."""

ENOUGH = 8
"""Answers after which something is known of how long they take."""

FLOOR = 0.2
"""Seconds that everybody is given: peers pause, too, for garbage or for others. As Linux bounds TCP's retransmissions."""

USUAL = 1.5
"""Times the median: most have answered by then, and who has not may be dead."""


class Patience:
    """The wait for peers of one kind: those who are connected, say, or those who must be dialled first.

    most: seconds, the upper bound, and the wait until enough is known. usual: the same for most peers; None: `most`.
    """

    def __init__(self, most: float, usual: float | None = None) -> None:
        self.wait = most
        """Seconds after which a silent peer is late."""
        self.usual = most if usual is None else min(usual, most)
        """Seconds in which most peers have answered: one that takes longer may be dead. Not above `wait`."""
        self._most = most
        self._latest: list[float] = []
        self._sorted: list[float] = []

    def learn(self, seconds: float) -> None:
        """An answer took this long."""
        self._latest.append(seconds)
        insort(self._sorted, seconds)
        if len(self._latest) > WINDOW:
            del self._sorted[bisect_left(self._sorted, self._latest.pop(0))]
        if len(self._latest) >= ENOUGH:
            self._measure()

    def _measure(self) -> None:
        count = len(self._sorted)
        median, four_in_five = self._sorted[count // 2], self._sorted[count * 4 // 5]
        # Where all take the same time, nothing strays: that much again is what keeps them from being late.
        self.wait = min(self._most, max(FLOOR, median + max(median, 4 * (four_in_five - median))))
        self.usual = min(self.wait, max(FLOOR / 2, USUAL * median))
