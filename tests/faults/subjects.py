"""The host under attack, seen alike whether it is a plain py-libp2p host or ours.

An attack takes `OpenHost`, opens the host with it and works through `Subject`; it cannot tell which one it has.
Limits that matter are reduced to what a few seconds can reach.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import trio
from libp2p.abc import INetConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from tests.support.neighbours import until
from tests.support.raw_peer import raw_peer

KAD = "/faults/kad/1.0.0"
"""The protocol that a subject serves while it is a server."""

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Options that an attack asks for; None leaves the host's own default."""

    listen: tuple[str, ...] = (LOOPBACK,)
    max_connections: int | None = None
    max_known_peers: int | None = None
    dial_timeout: float | None = None


class Subject(Protocol):
    """What an attack may ask of the host that it attacks."""

    host: BasicHost
    known_peers: int
    """How many peers its peerstore holds at most."""

    @property
    def where(self) -> PeerInfo:
        """Its id, and where it listens."""
        ...

    async def connect(self, peer: PeerInfo) -> None:
        """Connect to a peer through these addresses. Raises when none of them leads there."""
        ...

    async def reach(self, peer: PeerInfo) -> None:
        """Connect to the first of a peer's addresses, by whatever call this host has for one address."""
        ...

    async def disconnect(self, peer: ID) -> None:
        """Close every connection to a peer."""
        ...

    async def ask(self, peer: PeerInfo) -> bool:
        """Whether a request to a peer that serves KAD is answered."""
        ...

    async def ask_lightly(self, peer: ID) -> None:
        """Ask a connected peer the way that costs this host least; whatever comes back."""
        ...

    async def set_server(self, on: bool) -> None:
        """Begin or cease to serve KAD, and let connected peers know."""
        ...

    async def tell(self, peer: ID) -> None:
        """Push identify to a peer that is, or was a moment ago, connected."""
        ...

    async def tell_everybody(self) -> None:
        """Push identify to every connected peer."""
        ...

    async def close(self) -> None:
        """Close it, connections and all, where leaving its block does not."""
        ...

    def servers(self) -> set[ID]:
        """Peers that were announced, as it happened, to speak KAD."""
        ...


OpenHost = Callable[[Limits], AbstractAsyncContextManager[Subject]]
Attack = Callable[[OpenHost], Awaitable[dict[str, object]]]


async def connection_to(subject: Subject, peer: ID) -> INetConn:
    """The host's end of its connection to a peer. It knows of it a moment later than the peer does."""
    network = subject.host.get_network()
    await until(lambda: bool(network.get_connections(peer)))
    return network.get_connections(peer)[0]


async def stay_with(subject: Subject, task_status: trio.TaskStatus[ID | None]) -> None:
    """Be a peer that connects and stays until cancelled. Starts with its id; with None when it is not let in."""
    try:
        async with raw_peer(subject.where) as peer:
            task_status.started(peer.id)
            await trio.sleep_forever()
    except (OSError, BaseLibp2pError):
        task_status.started(None)
