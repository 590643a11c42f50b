"""Our host as the subject of an attack: `new_host` with a `Libp2pNetwork` on it, as a node uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo as ForeignPeerInfo

from p2pkad.config import HostConfig
from p2pkad.core.messages import AnyReply, FindNode, FindNodeReply
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.errors import P2pkadError
from p2pkad.net.base import Identified, NetworkEvent, Request
from p2pkad.net.libp2p import Libp2pNetwork, new_host
from p2pkad.net.libp2p.host import KNOWN_PEERS
from p2pkad.wire.addresses import decode_address
from tests.faults.subjects import KAD, Limits

PATIENCE = 10.0
"""Seconds for a request or a dial: longer than any limit of an attack, so that it is never what ends one."""


class OurHost:
    """`Subject` on our host."""

    known_peers = KNOWN_PEERS

    def __init__(self, host: BasicHost, network: Libp2pNetwork) -> None:
        self.host = host
        self.network = network
        self._servers: set[ID] = set()
        self._addresses: dict[ID, tuple[Address, ...]] = {}
        self._is_server = False
        network.subscribe(self._note)

    @property
    def where(self) -> ForeignPeerInfo:
        return ForeignPeerInfo(self.host.get_id(), list(self.host.get_transport_addrs()))

    async def connect(self, peer: ForeignPeerInfo) -> None:
        await self.network.connect(as_ours(peer), trio.current_time() + PATIENCE)

    async def reach(self, peer: ForeignPeerInfo) -> None:
        await self.connect(peer)

    async def disconnect(self, peer: ID) -> None:
        await self.network.disconnect(PeerId(peer.to_bytes()))

    async def ask(self, peer: ForeignPeerInfo) -> bool:
        with suppress(P2pkadError):
            await self.network.request(as_ours(peer), FindNode(bytes(32)), trio.current_time() + PATIENCE)
            return True
        return False

    async def ask_lightly(self, peer: ID) -> None:
        await self.ask(ForeignPeerInfo(peer, []))

    async def set_server(self, on: bool) -> None:
        self._is_server = on
        await self.network.set_server(on)

    async def tell(self, peer: ID) -> None:
        await self.tell_everybody()

    async def tell_everybody(self) -> None:
        await self.set_server(not self._is_server)

    async def close(self) -> None:
        """Leaving the block does it."""

    def servers(self) -> set[ID]:
        return self._servers

    def streams(self) -> int:
        """How many inbound streams of KAD are open."""
        connections = self.host.get_network().get_connections()
        return sum(stream.get_protocol() == KAD for connection in connections for stream in connection.get_streams())

    def addresses_of(self, peer: ID) -> tuple[Address, ...]:
        """Where a peer said last that it can be reached."""
        return self._addresses.get(peer, ())

    def _note(self, event: NetworkEvent) -> None:
        if isinstance(event, Identified):
            self._addresses[ID(bytes(event.peer))] = event.addresses
            if event.server:
                self._servers.add(ID(bytes(event.peer)))


def as_ours(peer: ForeignPeerInfo) -> PeerInfo:
    """libp2p's value as ours."""
    own = PeerId(peer.peer_id.to_bytes())
    found = (decode_address(address.to_bytes(), own) for address in peer.addrs)
    return PeerInfo(own, tuple(address for address in found if address is not None))


async def nobody_is_closer(request: Request) -> AnyReply:
    """Answer every request as a node does that knows nobody."""
    return FindNodeReply(())


@asynccontextmanager
async def open_ours(limits: Limits) -> AsyncIterator[OurHost]:
    """Our host, running, with a client's network on it."""
    options: dict[str, Any] = {"listen": limits.listen}
    if limits.max_connections is not None:
        options |= {"max_connections": limits.max_connections, "connection_reserve": 1}
    if limits.dial_timeout is not None:
        options["dial_timeout"] = limits.dial_timeout
    host = new_host(HostConfig(**options))
    async with host.run():
        network = Libp2pNetwork(host, protocol=KAD, max_message=4 * 1024 * 1024)
        network.serve(nobody_is_closer)
        async with network:
            yield OurHost(host, network)
