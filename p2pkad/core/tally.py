"""Whom something is under way with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

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

    @contextmanager
    def during(self, peer: PeerId) -> Iterator[None]:
        """While this lasts somebody is."""
        self._counts[peer] += 1
        try:
            yield
        finally:
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]
