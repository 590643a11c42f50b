"""A host whose cable can be pulled: then every dial fails, and every request, at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import PeerUnreachable
from p2pkad.net.base import Host, Network


@dataclass
class Cable:
    plugged: bool = True


class CabledHost:
    """A host, and the cable that it hangs on."""

    def __init__(self, host: Host) -> None:
        self.cable = Cable()
        self._host = host

    @property
    def id(self) -> PeerId:
        return self._host.id

    @asynccontextmanager
    async def open_network(self, *, protocol: str, max_message: int) -> AsyncIterator[Network]:
        async with self._host.open_network(protocol=protocol, max_message=max_message) as network:
            yield CabledNetwork(network, self.cable)


class CabledNetwork:
    """A network that passes everything on while the cable is plugged."""

    def __init__(self, network: Network, cable: Cable) -> None:
        self._network = network
        self._cable = cable

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._network, name)
        if name not in ("request", "send", "send_and_ask", "connect", "ping"):
            return found

        async def through_the_cable(peer: PeerInfo, *arguments: Any) -> Any:
            await trio.lowlevel.checkpoint()
            if not self._cable.plugged:
                raise PeerUnreachable(peer.id, [(str(each), "network is unreachable") for each in peer.addresses])
            return await found(peer, *arguments)

        return through_the_cable
