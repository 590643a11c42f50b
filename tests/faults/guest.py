"""A plain host with our network on it as the subject of an attack: what a service mends on a host that it did not make."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from multiaddr import Multiaddr

from p2pkad.net.libp2p.foreign import ForeignHost
from tests.faults.ours import OurHost, nobody_is_closer
from tests.faults.stock import plain_host
from tests.faults.subjects import KAD, Limits


@asynccontextmanager
async def open_guest(limits: Limits) -> AsyncIterator[OurHost]:
    """A plain host, running, with a client's network on it."""
    host = plain_host(limits)
    async with (
        host.run([Multiaddr(text) for text in limits.listen]),
        ForeignHost(host).open_network(protocol=KAD, max_message=4 * 1024 * 1024) as network,
    ):
        network.serve(nobody_is_closer)
        yield OurHost(host, network)
