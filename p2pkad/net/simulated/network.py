"""`p2pkad.net.base.Network` in a simulated world: one protocol on one simulated host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from p2pkad.core.messages import AddProvider, AnyReply, AnyRequest, FindNode, PutValue
from p2pkad.core.peers import Address, PeerDescription, PeerId, PeerInfo
from p2pkad.errors import ConfigError, LocalProtocolError, NodeClosed, PeerBusy, RemoteProtocolError, RequestTimeout
from p2pkad.net.base import Connection, Handler, Limited, NetworkEvent, Response, Usefulness
from p2pkad.net.connections import Held
from p2pkad.net.inbound import InboundStreams
from p2pkad.net.simulated.carrying import carry
from p2pkad.net.simulated.line import Exchange, Line
from p2pkad.net.simulated.parking import Late, LineLost
from p2pkad.wire.codec import encode_request
from p2pkad.wire.framing import encode_frame

if TYPE_CHECKING:
    from p2pkad.net.simulated.host import SimulatedHost

log = logging.getLogger(__name__)


class SimulatedNetwork:
    """See `Network`. handler: what answers while it is a server. max_message: bytes of the largest message accepted.

    serving: the handlers under way, and for whom.
    """

    def __init__(self, host: SimulatedHost, protocol: str, max_message: int) -> None:
        self.protocol = protocol
        self.max_message = max_message
        self.handler: Handler | None = None
        self.usefulness: Callable[[PeerId], Usefulness] = lambda peer: Usefulness.NONE
        self._host = host
        self._listeners: list[Callable[[NetworkEvent], None]] = []
        self.serving = InboundStreams(host.config.max_inbound_streams, lambda peer: self.tell(Limited("streams", peer)))
        self._open = True

    def __repr__(self) -> str:
        mode = f"server inbound={len(self.serving)}" if self.serves else "client"
        return f"<SimulatedNetwork {self._host.number} {self.protocol} {mode}>"

    @property
    def serves(self) -> bool:
        """Whether it is a server."""
        return self._host.servers.get(self.protocol) is self

    # Network

    @property
    def id(self) -> PeerId:
        return self._host.id

    def local_addresses(self) -> tuple[Address, ...]:
        return self._host.addresses

    def connection(self, peer: PeerId) -> Connection | None:
        open_ones = self._host.connections.of(peer)
        return open_ones[0].connection if open_ones else None

    def waits_for_room(self, peer: PeerId) -> bool:
        return self._host.dialling.waits_for_room(peer)

    def connections(self) -> Mapping[PeerId, Connection]:
        connections = self._host.connections
        return {peer: connections.of(peer)[0].connection for peer in connections.peers()}

    def description(self, peer: PeerId) -> PeerDescription | None:
        return self._host.descriptions.get(peer)

    async def request(self, peer: PeerInfo, message: AnyRequest, deadline: float) -> Response:
        if isinstance(message, AddProvider):
            raise LocalProtocolError("ADD_PROVIDER has no reply: send() it")
        return await self._ask(peer, message, deadline)

    async def send(self, peer: PeerInfo, message: AddProvider, deadline: float) -> None:
        await self._ask(peer, FindNode(message.key), deadline, before=message)

    async def send_and_ask(self, peer: PeerInfo, message: AddProvider, question: AnyRequest, deadline: float) -> Response:
        return await self._ask(peer, question, deadline, before=message)

    async def connect(self, peer: PeerInfo, deadline: float) -> Connection:
        with self._border(peer.id, "a dial", deadline):
            if self._connected(peer.id) is not None:
                await trio.lowlevel.checkpoint()
            return (await self._connect(peer, deadline)).connection

    async def ping(self, peer: PeerInfo, deadline: float) -> float:
        with self._border(peer.id, "a ping", deadline):
            await self._connect(peer, deadline)
        began = self._host.world.now()
        await self._exchange(peer, None, deadline)
        return self._host.world.now() - began

    async def disconnect(self, peer: PeerId) -> None:
        self._host.dialling.cancel(peer)
        for held in list(self._host.connections.of(peer)):
            self._host.drop(held.handle)
        await trio.lowlevel.checkpoint()

    def serve(self, handler: Handler) -> None:
        self.handler = handler

    async def set_server(self, on: bool) -> None:
        if on != self.serves:
            if on:
                self._start_serving()
            else:
                self._stop_serving()
            await trio.sleep_until(self._host.present())

    def subscribe(self, listener: Callable[[NetworkEvent], None]) -> None:
        self._listeners.append(listener)
        self._host.introduce_all(self)

    def rank_connections(self, usefulness: Callable[[PeerId], Usefulness]) -> None:
        self.usefulness = usefulness

    # for its host

    def close(self) -> None:
        """End what it serves, and tell connected peers that it does no more."""
        self._open = False
        if self.serves:
            self._stop_serving()
            if self._host.up:
                self._host.present()

    def tell(self, event: NetworkEvent) -> None:
        """An event, to all who listen."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %r", event)

    def crowded(self, asker: PeerId) -> bool:
        """Whether as many handlers wait for something as there may be streams, all together or on behalf of this peer."""
        if self.serving.count(asker) >= self._host.config.max_streams_per_peer:
            self.tell(Limited("streams_per_peer", asker))
            return True
        return not self.serving.make_room(asker)

    # inside

    def _start_serving(self) -> None:
        if self.protocol in self._host.servers:
            raise ConfigError(f"{self.protocol}: something else on this host serves this protocol")
        self._host.servers[self.protocol] = self

    def _stop_serving(self) -> None:
        del self._host.servers[self.protocol]
        self.serving.cancel_all()

    async def _ask(self, peer: PeerInfo, message: AnyRequest, deadline: float, before: AddProvider | None = None) -> Response:
        held, reply = await self._exchange(peer, message, deadline, before)
        assert reply is not None
        return Response(peer.id, held.remote_address, reply)

    async def _exchange(
        self, peer: PeerInfo, message: AnyRequest | None, deadline: float, before: AddProvider | None = None
    ) -> tuple[Held[Line], AnyReply | None]:
        size = self._size(message)
        doing = "a ping" if message is None else type(message).__name__
        with self._border(peer.id, doing, deadline):
            for again in (False, True):
                held = await self._connect(peer, deadline)
                exchange = Exchange(self._host, held.handle, self.protocol, message, before, size, deadline)
                try:
                    reply = await carry(exchange)
                except LineLost as error:
                    if again:
                        raise PeerBusy(peer.id, [("", "the connection was lost")]) from error
                else:
                    held.used = self._host.world.now()
                    return held, reply
        raise AssertionError("the second time it is over")

    async def _connect(self, peer: PeerInfo, deadline: float) -> Held[Line]:
        return self._connected(peer.id) or await self._host.dialling.dial(peer, deadline)

    def _connected(self, peer: PeerId) -> Held[Line] | None:
        open_ones = self._host.connections.of(peer)
        return open_ones[0] if open_ones else None

    def _size(self, message: AnyRequest | None) -> int:
        # The others are small, and not worth the time of encoding them.
        if not isinstance(message, PutValue):
            return 0
        return len(encode_frame(encode_request(message), self.max_message))

    @contextmanager
    def _border(self, peer: PeerId, doing: str, deadline: float) -> Iterator[None]:
        if not self._open:
            raise NodeClosed
        began = self._host.world.now()
        try:
            with self._host.connections.using(peer, self._host.dialling.freed):
                yield
        except Late as error:
            raise RequestTimeout(peer, doing, deadline - began) from error
        except RemoteProtocolError as error:
            raise RemoteProtocolError(error.reason, peer=peer) from error
