"""Places for large requests while they arrive: what peers have begun to send, and not finished, is bounded by bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from p2pkad.core.peers import PeerId

SMALL = 64 * 1024
"""Bytes of a request that needs no place. A stream may have as much unread in any case, four times over."""
SHARE = 4
"""One peer has this part of all places."""


class Intake:
    """most: bytes of all peers together, of requests over SMALL. One request is let in however large it is.

    waits: told of each peer that has to wait.
    """

    def __init__(self, most: int, waits: Callable[[PeerId], None]) -> None:
        self._most = most
        self._waits = waits
        self._of_peers: dict[PeerId, int] = {}
        self._total = 0
        self._waiting = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Intake {self._total}/{self._most} of {len(self._of_peers)} waiting={len(self._waiting)}>"

    async def enter(self, peer: PeerId, size: int) -> Callable[[], None]:
        """Wait for a place for a request of so many bytes; returns what gives it back. Cancelled: none is taken."""
        if not self._has_room(peer, size):
            self._waits(peer)
            while not self._has_room(peer, size):
                await self._waiting.park()
        self._of_peers[peer] = self._of_peers.get(peer, 0) + size
        self._total += size
        return partial(self._leave, peer, size)

    def _leave(self, peer: PeerId, size: int) -> None:
        self._total -= size
        self._of_peers[peer] -= size
        if not self._of_peers[peer]:
            del self._of_peers[peer]
        self._waiting.unpark_all()

    def _has_room(self, peer: PeerId, size: int) -> bool:
        of_peer = self._of_peers.get(peer, 0)
        share = not of_peer or of_peer + size <= self._most // SHARE
        return share and (not self._total or self._total + size <= self._most)
