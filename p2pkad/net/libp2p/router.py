"""py-libp2p's peer routing, by way of the nodes on a host: so that the host dials by peer id alone.

    router = PeerRouter()
    host = RoutedHost(network, router)                 or  host = new_host(config, router=router)
    KademliaService(host, config, router=router)

The host needs its router before there can be a service on it; hence the two steps. Several services may share a router.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio
from libp2p.abc import IPeerRouting
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo as ForeignPeerInfo
from multiaddr import Multiaddr

from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import P2pkadError
from p2pkad.net.libp2p.ids import foreign_id

log = logging.getLogger(__name__)

Find = Callable[[PeerId], Awaitable[PeerInfo]]


class PeerRouter(IPeerRouting):
    """Finds peers through the services that it was given to, as long as they are open; without one it finds nobody."""

    def __init__(self) -> None:
        self._ways: list[Find] = []

    def __repr__(self) -> str:
        return f"<PeerRouter services={len(self._ways)}>"

    @contextmanager
    def through(self, find: Find) -> Iterator[None]:
        """See `p2pkad.net.base.Router`."""
        self._ways.append(find)
        try:
            yield
        finally:
            self._ways.remove(find)

    async def find_peer(self, peer_id: ID) -> ForeignPeerInfo | None:
        """Where a peer can be reached: the first answer of any service; None when none of them finds it.

        Each search ends by its service's `lookup_timeout`; the others are cancelled when one has an answer.
        """
        found: list[PeerInfo] = []
        async with trio.open_nursery() as nursery:

            async def search(find: Find) -> None:
                try:
                    info = await find(PeerId(peer_id.to_bytes()))
                except P2pkadError as error:
                    log.debug("%s was not found: %s", peer_id, error)
                    return
                if info.addresses:
                    found.append(info)
                    nursery.cancel_scope.cancel()

            for find in list(self._ways):
                nursery.start_soon(search, find)
        return as_foreign(found[0]) if found else None


def as_foreign(peer: PeerInfo) -> ForeignPeerInfo:
    """A peer and its addresses as py-libp2p has them."""
    return ForeignPeerInfo(foreign_id(peer.id), [Multiaddr(address.raw) for address in peer.addresses])
