"""One bare host, py-libp2p's default one or ours, that listens; and, when told to, a fresh one of either kind that dials.

    hosts.py stock | p2pkad

Both kinds are py-libp2p's `BasicHost`, so that the same calls are timed on both: `connect`, then a first ping. Identify
runs in the background on both ends of both kinds, and neither waits for it. Making the host and its keys is not timed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import libp2p
import trio
from control import Fields, here, obey
from libp2p.abc import IHost
from libp2p.host.ping import PingService
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

import p2pkad
from p2pkad.config import HostConfig

LISTEN = Multiaddr("/ip4/127.0.0.1/tcp/0")
MAKE: dict[str, Callable[[], IHost]] = {
    "stock": libp2p.new_host,
    "p2pkad": lambda: p2pkad.new_host(HostConfig(listen=())),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds of the clock on the wall, and of this process at work."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.perf_counter(), time.process_time())

    def since(self, earlier: Moment) -> Fields:
        return {"wall": self.wall - earlier.wall, "cpu": self.cpu - earlier.cpu}


async def dial(request: Fields) -> Fields:
    """What passes from a call of `connect` to its return, and to the answer of the first ping."""
    peer = info_from_p2p_addr(Multiaddr(request["peer"]))
    host = MAKE[request["kind"]]()
    async with host.run(listen_addrs=[]):
        began = Moment.now()
        await host.connect(peer)
        connected = Moment.now()
        await PingService(host).ping(peer.peer_id)
        answered = Moment.now()
    return {"connected": connected.since(began), "answered": answered.since(began)}


async def main(kind: str) -> None:
    host = MAKE[kind]()
    async with host.run(listen_addrs=[LISTEN]):
        await obey(here(str(host.get_id()), str(host.get_transport_addrs()[0])), {"dial": dial})


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
