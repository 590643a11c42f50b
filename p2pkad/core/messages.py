"""The requests of the kad-dht protocol and their replies, as values.

request          reply               on the wire (kad-dht r2, "RPC messages")
FindNode         FindNodeReply       FIND_NODE
GetValue         GetValueReply       GET_VALUE
PutValue         PutValueReply       PUT_VALUE
AddProvider      none, ever          ADD_PROVIDER
GetProviders     GetProvidersReply   GET_PROVIDERS
Ping             PingReply           PING, deprecated: answered, never sent

Peers in a message are unfiltered: who is believed, and which address, is the node's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record


@dataclass(frozen=True, slots=True)
class FindNode:
    """Who is near `key`? The key is any bytes: a peer id, a record key or a multihash."""

    key: bytes


@dataclass(frozen=True, slots=True)
class FindNodeReply:
    closer: tuple[PeerInfo, ...]


@dataclass(frozen=True, slots=True)
class GetValue:
    """The record stored under `key`, please, and who is nearer to it."""

    key: bytes


@dataclass(frozen=True, slots=True)
class GetValueReply:
    """record: None when the peer holds none. Its key equals the request's (the codec refuses others)."""

    key: bytes
    record: Record | None
    closer: tuple[PeerInfo, ...]


@dataclass(frozen=True, slots=True)
class PutValue:
    """Store `record` under `key`; a server refuses a record whose own key differs."""

    key: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class PutValueReply:
    """What was stored. rust and js compare the value with what they sent."""

    key: bytes
    record: Record


@dataclass(frozen=True, slots=True)
class AddProvider:
    """The sender provides `key` (a multihash) and can be reached at the addresses in `providers`. Nobody answers it."""

    key: bytes
    providers: tuple[PeerInfo, ...]


@dataclass(frozen=True, slots=True)
class GetProviders:
    """Who provides `key`, and who is nearer to it?"""

    key: bytes


@dataclass(frozen=True, slots=True)
class GetProvidersReply:
    key: bytes
    providers: tuple[PeerInfo, ...]
    closer: tuple[PeerInfo, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class PingReply:
    key: bytes = b""


AnyRequest = FindNode | GetValue | PutValue | AddProvider | GetProviders | Ping
MessageName = Literal["FIND_NODE", "GET_VALUE", "PUT_VALUE", "ADD_PROVIDER", "GET_PROVIDERS", "PING"]
NAMES: dict[type[AnyRequest], MessageName] = {
    FindNode: "FIND_NODE",
    GetValue: "GET_VALUE",
    PutValue: "PUT_VALUE",
    AddProvider: "ADD_PROVIDER",
    GetProviders: "GET_PROVIDERS",
    Ping: "PING",
}
"""What the specification calls each request."""

AnyReply = FindNodeReply | GetValueReply | PutValueReply | GetProvidersReply | PingReply
