"""What the measurements in virtual time have in common: quiet networks, chance, the truth to compare with."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerId
from p2pkad.testing import SimulatedNodes
from p2pkad.validators.opaque import OpaqueValidator

QUIET: dict[str, Any] = {
    "validators": {"bench": OpaqueValidator()},
    "refresh_interval": 7 * 24 * 3600.0,
}
"""Options of networks in which nothing happens that is not measured."""


def chance(seed: int, what: str) -> Random:
    """Random numbers of a measurement's own."""
    return Random(f"{seed}/{what}")


def nearest(ids: Iterable[PeerId], key: bytes, count: int) -> list[PeerId]:
    """The truth: who is nearest to a key of all these."""
    target = SHA256.key(key)
    return sorted(ids, key=lambda each: SHA256.key(each) ^ target)[:count]


@dataclass(frozen=True, slots=True)
class Effort:
    """What something cost. seconds: real ones; cpu: of this process; virtual: as the nodes see it."""

    messages: int
    seconds: float
    cpu: float
    virtual: float

    @classmethod
    def until_now(cls, net: SimulatedNodes) -> Self:
        """Since the network was opened, or whenever the clocks began: the difference of two of these is what counts."""
        return cls(net.messages, time.perf_counter(), time.process_time(), net.wall())

    def __sub__(self, other: Effort) -> Effort:
        return Effort(
            self.messages - other.messages, self.seconds - other.seconds, self.cpu - other.cpu, self.virtual - other.virtual
        )

    def __add__(self, other: Effort) -> Effort:
        return Effort(
            self.messages + other.messages, self.seconds + other.seconds, self.cpu + other.cpu, self.virtual + other.virtual
        )
