"""Requests as no node would send them, and what a peer makes of them."""

from __future__ import annotations

from typing import Any

import trio
from driver import Peer, eventually

import p2pkad
from p2pkad.core.messages import AddProvider, AnyReply, AnyRequest, GetValue, GetValueReply, PutValue
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.net.base import Network
from p2pkad.validators.opaque import OpaqueValidator
from p2pkad.wire.addresses import parse_peer

PATIENCE = 20.0
"""Seconds for what should take a moment."""


def open_node(*bootstrap: str, **options: Any) -> Any:
    """A node of ours on loopback, that takes anything under /violence/."""
    options = {"validators": {"violence": OpaqueValidator()}, "protocol": "/violence/kad/1.0.0", **options}
    return p2pkad.open_node(listen=("/ip4/127.0.0.1/tcp/0",), bootstrap=bootstrap, **options)


async def ask(raw: Network, peer: Peer, message: AnyRequest, within: float = PATIENCE) -> AnyReply:
    return (await raw.request(parse_peer(peer.address), message, trio.current_time() + within)).message


async def put(raw: Network, peer: Peer, key: bytes, value: bytes) -> AnyReply:
    return await ask(raw, peer, PutValue(key, Record(key, value)))


async def value_at(raw: Network, peer: Peer, key: bytes) -> bytes | None:
    """What the peer has under a key."""
    reply = await ask(raw, peer, GetValue(key))
    assert isinstance(reply, GetValueReply)
    return None if reply.record is None else reply.record.value


async def announce(raw: Network, peer: Peer, key: bytes, *providers: PeerInfo) -> None:
    await raw.send(parse_peer(peer.address), AddProvider(key, providers), trio.current_time() + PATIENCE)


async def providers_of(peer: Peer, key: bytes) -> dict[str, list[str]]:
    """Ids and addresses in the peer's own store."""
    return {entry["id"]: entry["addresses"] for entry in (await peer.ask("holds", key=key))["providers"]}


async def becomes_provider(peer: Peer, key: bytes, provider: str) -> list[str]:
    """Wait until the peer's own store has the provider, and return its addresses."""

    async def look() -> dict[str, list[str]]:
        return await providers_of(peer, key)

    return (await eventually(look, lambda seen: provider in seen, within=PATIENCE, what=f"{peer} has {provider}"))[provider]


async def table_of(peer: Peer) -> set[str]:
    return {entry["id"] for entry in (await peer.ask("routing_table"))["peers"]}


async def knows(peer: Peer, *ids: object) -> None:
    """Wait until these are all that is in the peer's routing table."""
    wanted = {str(each) for each in ids}

    async def look() -> set[str]:
        return await table_of(peer)

    await eventually(look, wanted.__eq__, within=PATIENCE, what=f"the table of {peer} is {wanted}")
