"""The streams that peers have open here, of one protocol: bounded, and so that no crowd keeps the others out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import trio

from p2pkad.core.peers import PeerId


class InboundStreams:
    """Each by the scope that its handler runs in. most: of all peers together.

    When all places are taken, the peer with the most of them gives one up for a peer that has fewer: the one that would be
    reset for idleness first. So who opens many, under whatever number of names, keeps nobody out who opens few.
    refused: told whose stream was one too many, the new one or that.
    """

    def __init__(self, most: int, refused: Callable[[PeerId], None]) -> None:
        self._most = most
        self._refused = refused
        self._streams: dict[trio.CancelScope, PeerId] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def count(self, peer: PeerId) -> int:
        """How many a peer has."""
        return list(self._streams.values()).count(peer)

    def make_room(self, peer: PeerId) -> bool:
        """Whether there is a place for one more of this peer, that of another one if need be."""
        if len(self._streams) < self._most:
            return True
        ((greediest, its),) = Counter(self._streams.values()).most_common(1)
        if self.count(peer) + 1 >= its:
            self._refused(peer)
            return False
        idle = min((scope for scope, owner in self._streams.items() if owner == greediest), key=lambda scope: scope.deadline)
        self.close(idle)
        idle.cancel()
        self._refused(greediest)
        return True

    def open(self, scope: trio.CancelScope, peer: PeerId) -> None:
        """A stream of this peer, for which there was room."""
        self._streams[scope] = peer

    def close(self, scope: trio.CancelScope) -> None:
        """It is over. Twice is once."""
        self._streams.pop(scope, None)

    def cancel_all(self) -> None:
        """End every one of them: this end is no server any more."""
        for scope in self._streams:
            scope.cancel()
