"""`Network` over py-libp2p: one protocol on one host.

request -> a stream from the pool, or a fresh one on the connection that there is, or is dialled. What arrives inbound
goes to the handler when this end is a server. Several networks share one host; each sees only its own protocol.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from math import isnan
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PING_LENGTH
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream

from p2pkad.core.messages import AddProvider, AnyReply, AnyRequest, FindNode
from p2pkad.core.peers import Address, PeerDescription, PeerId, PeerInfo
from p2pkad.errors import ConfigError, LocalProtocolError, NodeClosed, RemoteProtocolError, RequestTimeout
from p2pkad.events import Limit
from p2pkad.net.base import (
    Connected,
    Connection,
    Found,
    Gone,
    Handler,
    HostEnded,
    Identified,
    Limited,
    NetworkEvent,
    NotArmoured,
    OwnAddressesChanged,
    Request,
    Response,
    Usefulness,
)
from p2pkad.net.connections import Held
from p2pkad.net.inbound import InboundStreams
from p2pkad.net.libp2p.border import FOREIGN, reason
from p2pkad.net.libp2p.deadlines import Deadlines
from p2pkad.net.libp2p.ids import peer_of, remote_address
from p2pkad.net.libp2p.intake import Intake
from p2pkad.net.libp2p.multistream import Proposal, opening
from p2pkad.net.libp2p.pipe import Pipe, StreamLost
from p2pkad.net.libp2p.serving import Server
from p2pkad.net.libp2p.streams import Channel, Pool, Way, failure
from p2pkad.wire.addresses import decode_address
from p2pkad.wire.codec import decode_reply, decode_request, encode_reply, encode_request
from p2pkad.wire.framing import encode_frame

if TYPE_CHECKING:
    from p2pkad.net.libp2p.backbone import Backbone

log = logging.getLogger(__name__)


class Backed(Protocol):
    """A host with its backbone: an armoured one, or the application's with ours attached."""

    @property
    def backbone(self) -> Backbone:
        """What the networks on it share."""
        ...


NOT_RUNNING = "host: it does not run; open the service inside `async with host.run(...)`"


class Libp2pNetwork:
    """See `Network`. `async with` it while the host runs; leaving closes its streams, not the host's connections.

    protocol: the protocol id, verbatim. max_message: bytes of the largest message accepted.
    """

    def __init__(self, host: Backed, *, protocol: str, max_message: int) -> None:
        self._backbone = host.backbone
        self._host = self._backbone.host
        self._protocol = protocol
        self._max_message = max_message
        self._handler: Handler | None = None
        self._server: Server | None = None
        self._listeners: list[Callable[[NetworkEvent], None]] = []
        self._usefulness: Callable[[PeerId], Usefulness] = lambda peer: Usefulness.NONE
        self._way = Way(protocol, max_message, self._backbone.connect, self._backbone.later, self._make_intake())
        self._pools: dict[PeerId, Pool] = {}
        self._open = False

    def __repr__(self) -> str:
        streams = sum(map(len, self._pools.values()))
        mode = "client" if self._server is None else f"server inbound={len(self._server)}"
        return f"<Libp2pNetwork {self._protocol} {mode} outbound={streams}>"

    async def __aenter__(self) -> Self:
        """Raises ConfigError: another network on this host has the protocol, or the host does not run."""
        if not self._backbone.running:
            raise ConfigError(NOT_RUNNING)
        self._backbone.watch(self)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._backbone.unwatch(self)
        if self._server is not None:
            self._stop_serving()
            self._backbone.later(self._backbone.push_identify)
        for pool in self._pools.values():
            pool.empty()
        self._pools.clear()

    # Network

    @property
    def id(self) -> PeerId:
        return PeerId(self._host.get_id().to_bytes())

    def local_addresses(self) -> tuple[Address, ...]:
        found = (decode_address(each.to_bytes(), self.id) for each in self._backbone.addresses())
        return tuple(address for address in found if address is not None)

    def connection(self, peer: PeerId) -> Connection | None:
        held = self._backbone.find(peer)
        return None if held is None else held.connection

    def waits_for_room(self, peer: PeerId) -> bool:
        return self._backbone.waits_for_room(peer)

    def connections(self) -> Mapping[PeerId, Connection]:
        found = ((peer, self._backbone.find(peer)) for peer in self._backbone.connections.peers())
        return {peer: held.connection for peer, held in found if held is not None}

    def description(self, peer: PeerId) -> PeerDescription | None:
        return self._backbone.identified(peer)

    async def request(self, peer: PeerInfo, message: AnyRequest, deadline: float) -> Response:
        if isinstance(message, AddProvider):
            raise LocalProtocolError("ADD_PROVIDER has no reply: send() it")
        return await self._ask(peer, b"", message, deadline)

    async def send(self, peer: PeerInfo, message: AddProvider, deadline: float) -> None:
        question = FindNode(message.key)
        frames = b"".join(encode_frame(encode_request(each), self._max_message) for each in (message, question))
        with self._border(peer.id, type(message).__name__, deadline):
            await self._pool(peer.id).ask(peer, frames, question, _anything, deadline)

    async def send_and_ask(self, peer: PeerInfo, message: AddProvider, question: AnyRequest, deadline: float) -> Response:
        return await self._ask(peer, encode_frame(encode_request(message), self._max_message), question, deadline)

    async def connect(self, peer: PeerInfo, deadline: float) -> Connection:
        with self._border(peer.id, "a dial", deadline):
            return (await self._backbone.connect(peer, deadline)).connection

    async def ping(self, peer: PeerInfo, deadline: float) -> float:
        with self._border(peer.id, "a ping", deadline):
            held = await self._backbone.connect(peer, deadline)
            try:
                return await ping(held)
            except StreamLost as error:
                raise failure(held, error) from error

    async def disconnect(self, peer: PeerId) -> None:
        await self._backbone.disconnect(peer)

    def serve(self, handler: Handler) -> None:
        self._handler = handler

    async def set_server(self, on: bool) -> None:
        if on == (self._server is not None):
            return
        if on:
            self._start_serving()
        else:
            self._stop_serving()
        await self._backbone.push_identify()

    def subscribe(self, listener: Callable[[NetworkEvent], None]) -> None:
        self._listeners.append(listener)
        if self._backbone.faults:
            self._tell(NotArmoured(self._backbone.faults))
        for peer in self._backbone.connections.peers():
            held, news = self._backbone.find(peer), self._backbone.identified(peer)
            if held is not None:
                self.connected(held)
            if news is not None:
                self.identified(peer, news)
        for info in self._backbone.nearby():
            self.found(info)

    def rank_connections(self, usefulness: Callable[[PeerId], Usefulness]) -> None:
        self._usefulness = usefulness

    # Watcher

    @property
    def protocol(self) -> str:
        return self._protocol

    def connected(self, held: Held[SwarmConn]) -> None:
        self._tell(Connected(held.peer, held.remote_address, held.inbound))

    def gone(self, peer: PeerId) -> None:
        pool = self._pools.get(peer)
        if pool is not None:
            pool.empty()
            if not pool.in_use:
                del self._pools[peer]
        self._tell(Gone(peer))

    def identified(self, peer: PeerId, news: PeerDescription) -> None:
        server = self._protocol in news.protocols
        if not server and peer in self._pools:
            # rust and js go on answering on open streams, and who answers is taken for a server. A fresh one they refuse.
            self._pools[peer].empty()
        # A connection that is ending as well: what was told over it is to be believed as before.
        remote = next((held.remote_address for held in self._backbone.connections.of(peer)), None)
        self._tell(Identified(peer, server, news.addresses, remote))

    def own_addresses_changed(self) -> None:
        self._tell(OwnAddressesChanged(self.local_addresses()))

    def swept(self, now: float) -> None:
        for peer, pool in list(self._pools.items()):
            pool.sweep(now)
            if not len(pool):
                del self._pools[peer]

    def usefulness(self, peer: PeerId) -> Usefulness:
        return self._usefulness(peer)

    def limited(self, limit: Limit, peer: PeerId | None) -> None:
        self._tell(Limited(limit, peer))

    def found(self, info: PeerInfo) -> None:
        self._tell(Found(info))

    def host_ended(self) -> None:
        self._tell(HostEnded())

    # inside

    def _tell(self, event: NetworkEvent) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %r", event)

    async def _ask(self, peer: PeerInfo, ahead: bytes, question: AnyRequest, deadline: float) -> Response:
        """ahead: frames without a reply that go out in front of the question, in one write."""
        frames = ahead + encode_frame(encode_request(question), self._max_message)
        with self._border(peer.id, type(question).__name__, deadline):
            held, reply = await self._pool(peer.id).ask(peer, frames, question, _reply, deadline)
            return Response(peer.id, held.remote_address, reply)

    def _pool(self, peer: PeerId) -> Pool:
        if not self._open:
            raise NodeClosed
        pool = self._pools.get(peer)
        if pool is None:
            pool = self._pools[peer] = Pool(peer, self._way)
        return pool

    def _start_serving(self) -> None:
        if self._protocol in self._host.get_mux().get_protocols():
            raise ConfigError(f"{self._protocol}: something else on this host serves this protocol")
        config = self._backbone.config
        self._server = Server(
            self._answer,
            limit=self._max_message,
            idle_timeout=config.idle_stream_timeout,
            streams=InboundStreams(config.max_inbound_streams, lambda peer: self._tell(Limited("streams", peer))),
            intake=self._make_intake(),
        )
        self._host.set_stream_handler(TProtocol(self._protocol), self._backbone.bounded(self._server.serve))

    def _make_intake(self) -> Intake:
        # One for requests, and one for replies: what strangers send is not to cost this node what it asked for.
        return Intake(self._backbone.config.max_arriving_bytes, lambda peer: self._tell(Limited("arriving_bytes", peer)))

    def _stop_serving(self) -> None:
        if self._server is not None:
            self._host.remove_stream_handler(TProtocol(self._protocol))
            self._server.reset_all()  # else they would still be answered
            self._server = None

    async def _answer(self, stream: INetStream, frame: bytes) -> bytes | None:
        assert isinstance(stream, NetStream)
        assert self._handler is not None
        peer, connection = peer_of(stream.muxed_conn), stream.swarm_conn
        held, remote = None, None
        if connection is not None:
            held = self._backbone.holding(connection)
            # Its first request may be quicker than the news of the connection.
            remote = remote_address(connection) if held is None else held.remote_address
        # Who waits for room is not told that it has ended: one look for each request would cost more than the request.
        with self._backbone.connections.using(peer):
            try:
                reply = await self._handler(Request(peer, remote, decode_request(frame)))
            finally:
                if held is not None:
                    held.used = trio.current_time()
        return None if reply is None else encode_reply(reply)

    def _border(self, peer: PeerId, doing: str, deadline: float) -> _Border:
        return _Border(self._backbone.using(peer), self._backbone.deadlines, peer, doing, deadline)


def _reply(channel: Channel, question: AnyRequest, answer: bytes) -> AnyReply:
    return decode_reply(question, answer)


def _anything(channel: Channel, question: AnyRequest, answer: bytes) -> None:
    try:
        decode_reply(question, answer)
    except RemoteProtocolError:
        # py-libp2p echoes the message. Whatever comes back shows that it was read; but more may be on the way.
        channel.over = True


class _Border:
    """Around whatever is done with a peer: a deadline, the peer's name in what is raised, and its connection stays.

    A class, as `Stay` is one.
    """

    __slots__ = ("_deadline", "_deadlines", "_doing", "_peer", "_scope", "_started", "_using")

    def __init__(
        self, using: AbstractContextManager[None], deadlines: Deadlines, peer: PeerId, doing: str, deadline: float
    ) -> None:
        if isnan(deadline):
            raise ValueError("a deadline is no number")  # as trio has it, and before anything is entered
        self._using = using
        self._deadlines = deadlines
        self._peer = peer
        self._doing = doing
        self._deadline = deadline
        self._started = trio.current_time()
        self._scope = trio.CancelScope()

    def __enter__(self) -> None:
        self._using.__enter__()
        self._scope.__enter__()
        self._deadlines.add(self._scope, self._deadline)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._deadlines.remove(self._scope)
        try:
            self._scope.__exit__(kind, error, trace)
        finally:
            self._using.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise RequestTimeout(self._peer, self._doing, self._deadline - self._started) from None
        if isinstance(error, RemoteProtocolError):
            raise RemoteProtocolError(error.reason, peer=self._peer) from error


async def ping(held: Held[SwarmConn]) -> float:
    """The round trip on a connection over libp2p's ping protocol, in seconds. Raises StreamLost, RemoteProtocolError."""
    try:
        pipe = Pipe(await held.handle.new_stream())
    except FOREIGN as error:
        raise StreamLost(reason(error)) from error
    try:
        proposal = Proposal(PING)
        await pipe.write(opening(PING))
        echo = b""
        while not proposal.done:
            echo += proposal.feed(await _some(pipe))
        sent = secrets.token_bytes(PING_LENGTH)
        started = trio.current_time()
        await pipe.write(sent)
        while len(echo) < PING_LENGTH:
            echo += await _some(pipe)
        if echo != sent:
            raise RemoteProtocolError("ping: the echo differs from what was sent")
        return trio.current_time() - started
    finally:
        await pipe.reset()


async def _some(pipe: Pipe) -> bytes:
    data = await pipe.read()
    if not data:
        raise StreamLost("the stream was closed")
    return data
