"""The seam between a node and whatever carries its messages.

A node knows peers by id and address and speaks in messages; connections, streams, frames and negotiation live behind
`Network`. One network serves one protocol id; several share one host. `net/libp2p` talks to real peers.

Deadlines are absolute, in the seconds of `trio.current_time()`. Every method that can wait takes one, ends by it, and
raises only what `p2pkad.errors` lists: foreign exceptions are mapped behind this seam and never cross it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable

from p2pkad.core.messages import AddProvider, AnyReply, AnyRequest
from p2pkad.core.peers import Address, PeerDescription, PeerId, PeerInfo
from p2pkad.events import HostFault, Limit


@dataclass(frozen=True, slots=True)
class Request:
    """A message from a peer. remote_address: where its connection comes from or goes to; None when unknown."""

    peer: PeerId
    remote_address: Address | None
    message: AnyRequest


@dataclass(frozen=True, slots=True)
class Response:
    """A peer's answer to a request, and through which address it came."""

    peer: PeerId
    remote_address: Address | None
    message: AnyReply


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection. remote_address: as in `Request`. opened: seconds, as deadlines."""

    peer: PeerId
    remote_address: Address | None
    inbound: bool
    opened: float


MAX_STREAMS = 16
"""Streams of one protocol to one peer, each with one request at a time. rust and js accept 32 of a connection. Further requests
wait in the network, where nobody sees that they do: a node makes no more (node/asking.py)."""

Handler = Callable[[Request], Awaitable[AnyReply | None]]
"""Answers a request. None: there is no answer, the stream stays open. Raising a `P2pkadError`: the stream is reset."""


class Usefulness(IntEnum):
    """What a node thinks of a connected peer; connections to the least useful are closed first."""

    NONE = 0
    IN_TABLE = 1
    PROTECTED = 2  # bootstrap peers and the k nearest: never closed to make room


@dataclass(frozen=True, slots=True)
class Connected:
    """The first connection to a peer is open."""

    peer: PeerId
    remote_address: Address | None
    inbound: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """The last connection to a peer is closed."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Identified:
    """A connected peer said who it is: after connecting, or by identify push whenever something has changed.

    server: it lists our protocol id. addresses: where it says it can be reached. remote_address: as in `Request`.
    """

    peer: PeerId
    server: bool
    addresses: tuple[Address, ...]
    remote_address: Address | None


@dataclass(frozen=True, slots=True)
class OwnAddressesChanged:
    """`local_addresses()` has changed."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Limited:
    """A limit of this end turned something away. peer: as in `p2pkad.events.LimitReached`."""

    limit: Limit
    peer: PeerId | None


@dataclass(frozen=True, slots=True)
class NotArmoured:
    """The host was made by the application. faults: what of it cannot be mended from here. Told first, and once."""

    faults: tuple[HostFault, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A peer, not connected as a rule, was announced on the local network. Nobody proved anything, and it may speak other
    protocols. info: with addresses of that network or of this machine."""

    info: PeerInfo


@dataclass(frozen=True, slots=True)
class HostEnded:
    """The host under the network has ended; nothing more can be asked, and nobody asks."""


NetworkEvent = Connected | Gone | Identified | OwnAddressesChanged | Limited | NotArmoured | Found | HostEnded


class Network(Protocol):
    """Everything a node asks of the world."""

    @property
    def id(self) -> PeerId:
        """The peer id of this end."""
        ...

    def local_addresses(self) -> tuple[Address, ...]:
        """Where this end can be reached: concrete addresses, wildcards expanded, announced ones as configured."""
        ...

    def connection(self, peer: PeerId) -> Connection | None:
        """The connection that requests to `peer` would use; None when there is none. Quick: servers ask it for each request."""
        ...

    def waits_for_room(self, peer: PeerId) -> bool:
        """Whether a peer that is not connected may be waited for only because connections are limited: this end has no room to
        dial it, or had none until the dial that is under way; or somebody answered at its address and has not let this end in.
        Whoever accepts the dial and says nothing more, for whatever reason, looks the same from here."""
        ...

    def connections(self) -> Mapping[PeerId, Connection]:
        """The connected peers, each with that connection."""
        ...

    def description(self, peer: PeerId) -> PeerDescription | None:
        """What a connected peer said of itself last; None when it has not yet, or is not connected. See `Identified`."""
        ...

    async def request(self, peer: PeerInfo, message: AnyRequest, deadline: float) -> Response:
        """Ask a peer, connecting to it first where needed.

        Raises PeerUnreachable, RequestTimeout, RequestFailed: the peer's failure. PeerBusy: its limit. LocalLimit: ours.
        RemoteProtocolError: it answered, with nonsense. LocalProtocolError: `message` is an AddProvider, or does not fit a
        frame.
        Cancelled or failed: the stream is reset, and never used again.
        """
        ...

    async def send(self, peer: PeerInfo, message: AddProvider, deadline: float) -> None:
        """Send what has no reply, and FIND_NODE for the same key behind it, on the same stream and in this order.

        Returns when that is answered: the peer has dealt with `message`, and did not take it amiss. Raises as `request`, of
        either; after a RequestTimeout, or PeerBusy, the peer may have taken `message` or not.
        """
        ...

    async def send_and_ask(self, peer: PeerInfo, message: AddProvider, question: AnyRequest, deadline: float) -> Response:
        """Both on one stream, in this order: the peer has dealt with `message` when it answers. Raises as `request`."""
        ...

    async def connect(self, peer: PeerInfo, deadline: float) -> Connection:
        """The connection to a peer, dialled where there is none yet.

        Raises PeerUnreachable, PeerBusy, RequestTimeout, LocalLimit.
        """
        ...

    async def ping(self, peer: PeerInfo, deadline: float) -> float:
        """The round trip to a peer over libp2p's ping protocol, in seconds. Raises as `request`."""
        ...

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to a peer, those made meanwhile included. Nothing happens when there is none."""
        ...

    def serve(self, handler: Handler) -> None:
        """Answer requests with `handler` whenever this end is a server. Called once, before anything arrives."""
        ...

    async def set_server(self, on: bool) -> None:
        """Turn server or client, and push the news to connected peers. Turning client resets the open inbound streams."""
        ...

    def subscribe(self, listener: Callable[[NetworkEvent], None]) -> None:
        """Tell `listener` what happens, as it happens. It is called from the event loop; it must not raise or take long.

        It is told of those first who are connected already, and what they say of themselves, and of those found lately.
        Called once, by whoever opened the network.

        A call and not a queue: nothing is lost, nothing grows, and the order is the order of events.
        """
        ...

    def rank_connections(self, usefulness: Callable[[PeerId], Usefulness]) -> None:
        """Ask this function, at the moment room is needed, which connections may go."""
        ...


@runtime_checkable
class Host(Protocol):
    """What networks are opened on: one identity, its addresses and its connections."""

    @property
    def id(self) -> PeerId:
        """Who this host is."""
        ...

    def open_network(self, *, protocol: str, max_message: int) -> AbstractAsyncContextManager[Network]:
        """A network for one protocol id, open inside the block. max_message: bytes of the largest message accepted.

        Leaving the block ends its streams and stops serving; connections stay, they belong to the host.
        Raises ConfigError: another network on this host has the protocol, or the host cannot carry one.
        """
        ...


class Router(Protocol):
    """Finds peers for a host by way of the nodes on it: `p2pkad.PeerRouter`."""

    def through(self, find: Callable[[PeerId], Awaitable[PeerInfo]]) -> AbstractContextManager[None]:
        """Inside the block this function is asked, too. It raises a P2pkadError when it finds nothing."""
        ...
