"""What nodes that share a process do when told to look up keys, whichever implementation they are of.

Whether the result is right is judged here as well: a quick lookup that asks nobody would win every comparison.
"""

from __future__ import annotations

import gc
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from control import KEY_BYTES, Fields

NEAREST = 20
"""That a lookup is to find: k of every implementation."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a lookup gave. peers: their ids, in bytes. asked: how many were sent a request."""

    peers: Sequence[bytes]
    asked: int


@dataclass(frozen=True, slots=True)
class Looker:
    """A node that looks up. own: its id, in bytes."""

    own: bytes
    find: Callable[[bytes], Awaitable[Found]]


class Pauses:
    """How long the garbage collector stops everything. longest, total: seconds, since `begin`."""

    def __init__(self) -> None:
        self.longest = self.total = self._began = 0.0
        gc.callbacks.append(self._on_phase)

    def begin(self) -> None:
        self.longest = self.total = 0.0

    def _on_phase(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
            return
        seconds = time.perf_counter() - self._began
        self.longest = max(self.longest, seconds)
        self.total += seconds


class Looking:
    """The verbs that have nothing to do with how a node looks something up. keys: what is looked up."""

    def __init__(self, lookers: Sequence[Looker], keys: random.Random) -> None:
        self._lookers = lookers
        self._keys = keys
        self._pauses = Pauses()

    async def ids(self, request: Fields) -> Fields:
        """Who is in this process: ids in hex."""
        return {"ids": [looker.own.hex() for looker in self._lookers]}

    async def look_up(self, request: Fields) -> Fields:
        """Look up `lookups` random keys, one after the other, each from the next node. everybody: ids in hex, of the network.

        seconds, asked, right (of the NEAREST that there are, 0 to 1): of each lookup. pause, collecting: the longest one for
        garbage and all of them together.
        """
        everybody = [bytes.fromhex(text) for text in request["everybody"]]
        places = {name: _place(name) for name in everybody}
        seconds, asked, right = [], [], []
        self._pauses.begin()
        for number in range(request["lookups"]):
            looker = self._lookers[number % len(self._lookers)]
            key = self._keys.randbytes(KEY_BYTES)
            began = time.perf_counter()
            found = await looker.find(key)
            seconds.append(time.perf_counter() - began)
            asked.append(found.asked)
            others = (name for name in everybody if name != looker.own)
            target = _place(key)
            nearest = sorted(others, key=lambda name, target=target: places[name] ^ target)[:NEAREST]
            right.append(len({*nearest} & {*found.peers}) / len(nearest))
        pauses = {"pause": self._pauses.longest, "collecting": self._pauses.total}
        return {"seconds": seconds, "asked": asked, "right": right, **pauses}

    async def freeze(self, request: Fields) -> Fields:
        """Take what is there now away from the garbage collector, which then looks through what comes after it only."""
        gc.collect()
        gc.freeze()
        return {"objects": gc.get_freeze_count()}


def _place(name: bytes) -> int:
    # Where it is in the key space, by hand: kad-dht r2, and libp2p.kad_dht as well.
    return int.from_bytes(hashlib.sha256(name).digest(), "big")
