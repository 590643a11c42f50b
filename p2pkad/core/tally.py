"""Whom something is under way with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType

from p2pkad.core.peers import PeerId


class Tally:
    """Peers, each counted once for everybody who is busy with it."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[PeerId] = Counter()

    def __contains__(self, peer: PeerId) -> bool:
        """Whether anybody is busy with this peer."""
        return peer in self._counts

    def __len__(self) -> int:
        """How many peers somebody is busy with."""
        return len(self._counts)

    def during(self, peer: PeerId, after: Callable[[], None] = lambda: None) -> Stay:
        """While this lasts somebody is. after: called when it is over."""
        return Stay(self._counts, peer, after)


class Stay:
    """Somebody is busy with a peer, from entering on. Not by `contextmanager`: each request passes here, and that costs more
    than all the rest of it."""

    __slots__ = ("_after", "_counts", "_peer")

    def __init__(self, counts: Counter[PeerId], peer: PeerId, after: Callable[[], None]) -> None:
        self._counts = counts
        self._peer = peer
        self._after = after

    def __enter__(self) -> None:
        self._counts[self._peer] = self._counts.get(self._peer, 0) + 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        left = self._counts[self._peer] - 1
        if left:
            self._counts[self._peer] = left
        else:
            del self._counts[self._peer]
        self._after()
