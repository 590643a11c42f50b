"""A network without sockets: hosts in one process that call each other's handlers.

For what does not need sockets: the rules of a node, hundreds of nodes, cables that are pulled. Delivery takes no time
unless a test says so; what a peer does not answer hangs until its deadline, as on a real network.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import trio

from p2pkad.core.messages import AddProvider, AnyReply, AnyRequest
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.errors import P2pkadError, PeerUnreachable, RequestFailed, RequestTimeout
from p2pkad.net.base import (
    Connected,
    Connection,
    Gone,
    Handler,
    Identified,
    Network,
    NetworkEvent,
    Request,
    Response,
    Usefulness,
)
from p2pkad.wire.addresses import parse_address


def peer_id(number: int) -> PeerId:
    """A well-formed peer id (a sha2-256 multihash) that is the same in every run."""
    return PeerId(b"\x12\x20" + sha256(number.to_bytes(4, "big")).digest())


def address(number: int) -> Address:
    """A private address that belongs to this number alone."""
    return parse_address(f"/ip4/10.{number >> 16}.{number >> 8 & 255}.{number & 255}/tcp/4001")


@dataclass
class Switchboard:
    """Everybody who is on the network. Take a host out of `hosts` and it is dead. ever: how many there have been."""

    hosts: dict[PeerId, SwitchboardHost] = field(default_factory=dict)
    ever: int = 0
    asked: list[tuple[PeerId, PeerId, AnyRequest]] = field(default_factory=list)
    """Who asked whom what, in order."""

    def host(self, number: int) -> SwitchboardHost:
        host = SwitchboardHost(self, peer_id(number), (address(number),))
        self.hosts[host.id] = host
        self.ever += 1
        return host


class SwitchboardHost:
    """One end. Networks of several protocols may be open on it."""

    def __init__(self, board: Switchboard, own: PeerId, addresses: tuple[Address, ...]) -> None:
        self.board = board
        self.id = own
        self.addresses = addresses
        self.networks: dict[str, SwitchboardNetwork] = {}
        self.connected: dict[PeerId, Connection] = {}

    @asynccontextmanager
    async def open_network(self, *, protocol: str, max_message: int) -> AsyncIterator[Network]:
        network = SwitchboardNetwork(self, protocol)
        self.networks[protocol] = network
        try:
            yield network
        finally:
            del self.networks[protocol]
            for peer in list(self.connected):
                self.drop(peer)

    def drop(self, peer: PeerId) -> None:
        for here, there in ((self, peer), (self.board.hosts.get(peer), self.id)):
            if here is not None and here.connected.pop(there, None) is not None:
                here.tell(Gone(there))

    def tell(self, event: NetworkEvent) -> None:
        for network in self.networks.values():
            network.tell(event)


class SwitchboardNetwork:
    """`p2pkad.net.base.Network` over a switchboard."""

    def __init__(self, host: SwitchboardHost, protocol: str) -> None:
        self._host = host
        self._protocol = protocol
        self._handler: Handler | None = None
        self._server = False
        self._listeners: list[Callable[[NetworkEvent], None]] = []

    @property
    def id(self) -> PeerId:
        return self._host.id

    def local_addresses(self) -> tuple[Address, ...]:
        return self._host.addresses

    def connection(self, peer: PeerId) -> Connection | None:
        return self._host.connected.get(peer)

    def connections(self) -> Mapping[PeerId, Connection]:
        return self._host.connected

    async def request(self, peer: PeerInfo, message: AnyRequest, deadline: float) -> Response:
        connection = await self.connect(peer, deadline)
        reply = await self._deliver(peer.id, message, deadline)
        if reply is None:
            raise RequestFailed(peer.id, "reset")
        return Response(peer.id, connection.remote_address, reply)

    async def send(self, peer: PeerInfo, message: AddProvider, deadline: float) -> None:
        await self.connect(peer, deadline)
        await self._deliver(peer.id, message, deadline)

    async def send_and_ask(self, peer: PeerInfo, message: AddProvider, question: AnyRequest, deadline: float) -> Response:
        await self.send(peer, message, deadline)
        return await self.request(peer, question, deadline)

    async def connect(self, peer: PeerInfo, deadline: float) -> Connection:
        await trio.lowlevel.checkpoint()
        there = self._board.hosts.get(peer.id)
        if there is None or not (peer.id in self._host.connected or set(peer.addresses) & set(there.addresses)):
            self._host.drop(peer.id)
            raise PeerUnreachable(peer.id, [(str(each), "refused") for each in peer.addresses])
        if peer.id not in self._host.connected:
            self._meet(there)
        return self._host.connected[peer.id]

    async def ping(self, peer: PeerInfo, deadline: float) -> float:
        await self.connect(peer, deadline)
        return 0.0

    async def disconnect(self, peer: PeerId) -> None:
        self._host.drop(peer)

    def serve(self, handler: Handler) -> None:
        self._handler = handler

    async def set_server(self, on: bool) -> None:
        self._server = on
        for peer in list(self._host.connected):
            other = self._board.hosts[peer].networks.get(self._protocol)
            if other is not None:
                other.tell(self._presentation())

    def subscribe(self, listener: Callable[[NetworkEvent], None]) -> None:
        self._listeners.append(listener)

    def rank_connections(self, usefulness: Callable[[PeerId], Usefulness]) -> None:
        self.usefulness = usefulness

    def tell(self, event: NetworkEvent) -> None:
        for listener in self._listeners:
            listener(event)

    @property
    def _board(self) -> Switchboard:
        return self._host.board

    def _presentation(self) -> Identified:
        return Identified(self.id, self._server, self._host.addresses, self._host.addresses[0])

    def _meet(self, there: SwitchboardHost) -> None:
        now = trio.current_time()
        ends = ((self._host, there, False), (there, self._host, True))
        for here, other, inbound in ends:
            here.connected[other.id] = Connection(other.id, other.addresses[0], inbound, now)
        for here, other, inbound in ends:
            here.tell(Connected(other.id, other.addresses[0], inbound))
            for protocol, network in here.networks.items():
                theirs = other.networks.get(protocol)
                if theirs is not None:
                    network.tell(theirs._presentation())

    async def _deliver(self, peer: PeerId, message: AnyRequest, deadline: float) -> AnyReply | None:
        self._board.asked.append((self.id, peer, message))
        other = self._board.hosts[peer].networks.get(self._protocol)
        if other is None or not other._server or other._handler is None:
            raise RequestFailed(peer, "does not speak the protocol")
        began = trio.current_time()
        with trio.move_on_at(deadline):
            try:
                return await other._handler(Request(self.id, self._host.addresses[0], message))
            except P2pkadError as error:
                raise RequestFailed(peer, f"reset: {error}") from error
        raise RequestTimeout(peer, type(message).__name__, deadline - began)
