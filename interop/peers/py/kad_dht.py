"""py-libp2p's own Kademlia, `libp2p.kad_dht` on a stock host, that does what it is told by the lines of CONTROL.md.

What it has no setting for is ignored and said in the ready line; its protocol id is fixed, and so is its mode from its start.
Its keys are text: what is none it cannot be asked for. It is here for information only, see interop/kad_dht.py.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import trio
from control import Fields, Kinds, Request, bytes_of, obey, text_of, versions_of
from libp2p import new_host
from libp2p.abc import IHost
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.exceptions import ConnectionFailure
from libp2p.host.ping import PingService
from libp2p.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.common import PROTOCOL_ID
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.records.validator import Validator
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

MODES = {"server": DHTMode.SERVER, "client": DHTMode.CLIENT}
# What it does itself: it puts its own rules of pk and ipns in their places.
OWN_VALIDATORS = ("pk=pk", "ipns=ipns")


class NotFound(Exception):
    """Nobody who was asked has it."""


class NoPeers(Exception):
    """There is nobody to ask."""


class Refused(Exception):
    """Its own validator stands against a put."""


KINDS: Kinds = (
    (NotFound, "not_found"),
    (NoPeers, "no_peers"),
    (Refused, "refused"),
    (SwarmException, "unreachable"),
    (ConnectionFailure, "unreachable"),
)


class Largest(Validator):
    """Any bytes are valid; of several values the largest, bytewise, is the best."""

    def validate(self, key: str, value: bytes) -> None:
        pass

    def select(self, key: str, values: list[bytes]) -> int:
        return values.index(max(values))


class Node:
    """A host and its DHT, verb by verb, in the order of CONTROL.md."""

    def __init__(self, host: IHost, dht: KadDHT, ignored: list[str]) -> None:
        self._host = host
        self._dht = dht
        self._ignored = ignored

    async def identity(self, request: Request) -> Fields:
        own = {"id": str(self._host.get_id()), "addresses": list(map(str, self._host.get_addrs()))}
        mode = next(name for name, mode in MODES.items() if mode is self._dht.mode)
        return {"peer": own, "mode": mode, "protocol": PROTOCOL_ID, "ignored": self._ignored}

    async def connect(self, request: Request) -> Fields:
        await self._reach(request["peer"])
        return {}

    async def bootstrap(self, request: Request) -> Fields:
        for peer in request["peers"]:
            info = await self._reach(peer)
            await self._dht.add_peer(info.peer_id)
        await self._dht.refresh_routing_table()
        return {"table": self._dht.get_routing_table_size()}

    async def put(self, request: Request) -> Fields:
        self._need_peers()
        try:
            await self._dht.put_value(name_of(request["key"]), bytes_of(request["value"]))
        except ValueError as error:
            raise Refused(str(error)) from error
        return {}

    async def get(self, request: Request) -> Fields:
        value = await self._dht.get_value(name_of(request["key"]), quorum=request.get("quorum", 0))
        if value is None:
            raise NotFound("nobody who was asked has it")
        return {"value": text_of(value)}

    async def holds(self, request: Request) -> Fields:
        key = bytes_of(request["key"])
        return {"value": self._dht.value_store.has(key), "providers": infos(self._dht.provider_store.get_providers(key))}

    async def provide(self, request: Request) -> Fields:
        self._need_peers()
        await self._dht.provide(bytes_of(request["key"]).hex())
        return {}

    async def find_providers(self, request: Request) -> Fields:
        self._need_peers()
        found = await self._dht.find_providers(bytes_of(request["key"]).hex())
        return {"providers": infos(found[: request.get("count", 0) or None])}

    async def find_peer(self, request: Request) -> Fields:
        found = await self._dht.find_peer(ID.from_string(request["peer"]))
        if found is None:
            raise NotFound("nobody who was asked knows it")
        return {"peer": info(found)}

    async def closest_peers(self, request: Request) -> Fields:
        self._need_peers()
        found = await self._dht.peer_routing.find_closest_peers_network(bytes_of(request["key"]))
        return {"peers": infos(self._known(peer) for peer in found if peer != self._host.get_id())}

    async def ping(self, request: Request) -> Fields:
        (milliseconds,) = await PingService(self._host).ping(ID.from_string(request["peer"]))
        return {"round_trip": milliseconds / 1000}

    async def routing_table(self, request: Request) -> Fields:
        return {"peers": infos(self._dht.routing_table.get_peer_infos())}

    async def connections(self, request: Request) -> Fields:
        return {"count": len(self._host.get_connected_peers())}

    @property
    def verbs(self) -> dict[str, Callable[[Request], Awaitable[Fields]]]:
        """All that can be asked, "stop" apart. None has a deadline of its own."""
        found = {name: verb for name, verb in vars(Node).items() if not name.startswith("_") and callable(verb)}
        return {name: partial(timely, partial(verb, self)) for name, verb in found.items()}

    async def _reach(self, address: str) -> PeerInfo:
        found = info_from_p2p_addr(Multiaddr(address))
        await self._host.connect(found)
        return found

    def _need_peers(self) -> None:
        if not self._dht.get_routing_table_size():
            raise NoPeers("the routing table is empty")

    def _known(self, peer: ID) -> PeerInfo:
        store = self._host.get_peerstore()
        return PeerInfo(peer, store.addrs(peer) if peer in store.peer_ids() else [])


async def timely(verb: Callable[[Request], Awaitable[Fields]], request: Request) -> Fields:
    with trio.fail_after(request["timeout"]):
        return await verb(request)


def name_of(key: str) -> str:
    """A key of a value as its calls take it. Raises NotImplementedError for one that is no text."""
    try:
        return bytes_of(key).decode()
    except UnicodeDecodeError as error:
        raise NotImplementedError("keys of libp2p.kad_dht are text") from error


def info(peer: PeerInfo) -> Fields:
    return {"id": str(peer.peer_id), "addresses": list(map(str, peer.addrs))}


def infos(peers: Iterable[PeerInfo]) -> list[Fields]:
    return [info(peer) for peer in peers]


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", action="append", type=Multiaddr)
    parser.add_argument("--protocol", choices=[PROTOCOL_ID], default=PROTOCOL_ID)
    parser.add_argument("--mode", choices=MODES, default="server")
    parser.add_argument(
        "--validator", action="append", default=[], type=namespace_of, help="NAMESPACE=opaque, pk=pk, ipns=ipns"
    )
    parser.add_argument("--seed", help="makes the identity from this text instead of from randomness")
    for name in ("bucket-size", "alpha", "beta"):
        parser.add_argument(f"--{name}", type=int, help="ignored")
    return parser.parse_args(arguments)


def namespace_of(text: str) -> str | None:
    """The namespace that is opaque; None for those with rules of their own."""
    namespace, _, kind = text.partition("=")
    if kind != "opaque" and text not in OWN_VALIDATORS:
        raise ValueError
    return namespace if kind == "opaque" else None


async def main() -> None:
    options = options_of(sys.argv[1:])
    settings: dict[str, Any] = {}
    if options.seed is not None:
        settings["key_pair"] = create_new_key_pair(hashlib.sha256(options.seed.encode()).digest())
    host = new_host(**settings)
    async with host.run(listen_addrs=options.listen or [Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        dht = KadDHT(host, MODES[options.mode])
        for namespace in filter(None, options.validator):
            dht.register_validator(namespace, Largest())
        async with background_trio_service(dht):
            node = Node(host, dht, [name for name in ("bucket_size", "alpha", "beta") if getattr(options, name) is not None])
            await obey(await node.identity(Request()), versions_of("libp2p", "trio"), node.verbs, KINDS)


if __name__ == "__main__":
    trio.run(main)
