"""How far apart hosts are: how long a message takes from one to another, whether it gets lost, and who is cut off from whom.

Everything is by the numbers of hosts, which are the order in which they came. The way back is as long as the way there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

Latency = float | tuple[float, float] | Callable[[int, int], float]
"""Seconds one way: for all pairs alike; drawn evenly between two bounds, for each pair once; or as a function of the two
numbers says, the smaller one first."""

_MASK = (1 << 64) - 1


class Links:
    """seed: what draws latencies, which pair they are for aside. random: decides which message gets lost."""

    def __init__(self, seed: int, latency: Latency, loss: float, random: Random) -> None:
        self.version = 0
        """Grows with each change: who remembers what these links said asks again."""
        self._seed = seed
        self._random = random
        self._latency = latency
        self._loss = loss
        self._latencies: dict[tuple[int, int], float] = {}
        self._losses: dict[tuple[int, int], float] = {}
        self._sides: list[tuple[frozenset[int], frozenset[int]]] = []

    def set(self, pair: tuple[int, int] | None, latency: Latency | None, loss: float | None) -> None:
        """Change what is given, for one pair of hosts or, without one, for all that have nothing of their own."""
        self.version += 1
        if pair is None:
            self._latency = self._latency if latency is None else latency
            self._loss = self._loss if loss is None else loss
            return
        pair = _sorted(*pair)
        if latency is not None:
            self._latencies[pair] = self._drawn(latency, *pair)
        if loss is not None:
            self._losses[pair] = loss

    def cut(self, one: Iterable[int], other: Iterable[int]) -> None:
        """From now on nothing passes between these two groups. Who is in neither talks to both."""
        self._sides.append((frozenset(one), frozenset(other)))

    def heal(self) -> None:
        """Undo every cut."""
        self._sides.clear()

    def severed(self, one: int, other: int) -> bool:
        """Whether a cut is between the two."""
        if not self._sides:
            return False
        return any((one in a and other in b) or (one in b and other in a) for a, b in self._sides)

    def latency(self, one: int, other: int) -> float:
        """Seconds that a message takes between the two."""
        pair = _sorted(one, other)
        known = self._latencies.get(pair)
        return self._drawn(self._latency, *pair) if known is None else known

    def loses(self, one: int, other: int) -> bool:
        """Whether the next message between the two gets lost. Each question is one throw of the dice."""
        loss = self._losses.get(_sorted(one, other), self._loss) if self._losses else self._loss
        return loss > 0 and self._random.random() < loss

    def _drawn(self, latency: Latency, one: int, other: int) -> float:
        if isinstance(latency, int | float):
            return latency
        if callable(latency):
            return latency(one, other)
        low, high = latency
        return low + (high - low) * _fraction(self._seed, one, other)


def _sorted(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one <= other else (other, one)


def _fraction(seed: int, one: int, other: int) -> float:
    """A number from 0 to 1 that belongs to these three. SplitMix64 (Steele, Lea, Flood 2014), its output function."""
    mixed = (seed * 0x9E3779B97F4A7C15 + one * 0xD1B54A32D192ED03 + other * 0x8CB92BA72F3D8DD7 + 1) & _MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & _MASK
    return (mixed ^ (mixed >> 31)) / (1 << 64)
