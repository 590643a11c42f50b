"""What the backbone tells the networks on a host, and asks them."""

from __future__ import annotations

from typing import Protocol

from libp2p.network.connection.swarm_connection import SwarmConn

from p2pkad.core.peers import PeerDescription, PeerId, PeerInfo
from p2pkad.events import Limit
from p2pkad.net.base import Usefulness
from p2pkad.net.connections import Held


class Watcher(Protocol):
    """What a network wants to be told."""

    @property
    def protocol(self) -> str:
        """What it serves and asks."""
        ...

    def connected(self, held: Held[SwarmConn]) -> None:
        """The first connection to a peer is open."""

    def identified(self, peer: PeerId, news: PeerDescription) -> None:
        """A connected peer said what it speaks."""

    def own_addresses_changed(self) -> None:
        """The host can be reached elsewhere."""

    def gone(self, peer: PeerId) -> None:
        """The last connection to a peer is closed."""

    def swept(self, now: float) -> None:
        """SWEEP_INTERVAL has passed."""

    def usefulness(self, peer: PeerId) -> Usefulness:
        """What the network thinks of a peer."""

    def limited(self, limit: Limit, peer: PeerId | None) -> None:
        """A limit of the host turned somebody away."""

    def found(self, info: PeerInfo) -> None:
        """A peer announced itself on the local network."""

    def host_ended(self) -> None:
        """The host has, and the watcher is still there."""
