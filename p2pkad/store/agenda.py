"""When a node is to publish its own entries again, in order. A change costs the logarithm of their number, and a move of some
pointers: they are the node's own, tens of thousands at most."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from math import inf

from p2pkad.store.base import Due, Kind


class Agenda:
    """Own entries by the time at which they are due. One without such a time is not on it."""

    def __init__(self) -> None:
        self._times: dict[tuple[Kind, bytes], float] = {}
        self._order: list[tuple[float, Kind, bytes]] = []

    def set(self, kind: Kind, key: bytes, due: float) -> None:
        """Put an entry at its time, wherever it was before; never is a time, too."""
        before = self._times.pop((kind, key), inf)
        if before != inf:
            del self._order[bisect_left(self._order, (before, kind, key))]
        if due != inf:
            self._times[kind, key] = due
            insort(self._order, (due, kind, key))

    def due(self, now: float, horizon: float, limit: int) -> tuple[Due, ...]:
        """What is due at `now` or, impossibly late, after `horizon`: the longest due first, at most `limit`."""
        ready = self._order[: min(limit, bisect_right(self._order, now, key=_time))]
        beyond = self._order[max(len(ready), bisect_right(self._order, horizon, key=_time)) :]
        return tuple(Due(kind, key, at) for at, kind, key in (ready + beyond)[:limit])

    def next(self) -> float:
        """The first time; infinite when there is none."""
        return self._order[0][0] if self._order else inf

    def clear(self) -> None:
        """Forget all of it."""
        self._times.clear()
        self._order.clear()


def _time(entry: tuple[float, Kind, bytes]) -> float:
    return entry[0]
