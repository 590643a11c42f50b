"""identify and identify push: what a peer speaks and where it can be reached, told to all networks on the host.

    connection opened  | we ask on that very connection, each time: a peer that reconnects may have become a server
    peer asks          | our message, with the addresses that reach as far as the connection (core/scope.py)
    peer pushes        | its news; of one that pushes all the time the latest, and not more often than PUSHES_PER_SECOND
    mode switched      | ours, to every connected peer at once, each under its own deadline

py-libp2p asks once for each peer, not for each connection, remembers the answer across reconnects, dials anew when the
peer has left meanwhile, lets a host without listen addresses wait half a second before it answers, and pushes to ten
peers at a time in the whole process, 10 s for a silent one. Its tables (`host.peerstore`) are kept up to date all the same,
for the application's own use. Specification: libp2p "identify", 1.0.0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import trio
from libp2p.abc import INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.host.observed_addr_manager import ObservedAddrManager
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.identify_push.identify_push import ID_PUSH as PUSH
from libp2p.identity.update import update_peerstore_from_identify
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.pb.envelope_pb2 import Envelope
from libp2p.peer.pb.peer_record_pb2 import PeerRecord
from libp2p.peer.peerstore import create_signed_peer_record
from multiaddr import Multiaddr
from multiaddr.protocols import P_P2P

from p2pkad.core.allowance import Allowance
from p2pkad.core.peers import PeerDescription, PeerId, Scope
from p2pkad.core.scope import connection_scope
from p2pkad.errors import RemoteProtocolError
from p2pkad.net.connections import Held
from p2pkad.net.libp2p.border import FOREIGN
from p2pkad.net.libp2p.ids import foreign_id, peer_of, remote_address
from p2pkad.net.libp2p.multistream import Proposal, opening
from p2pkad.net.libp2p.pipe import Pipe, StreamLost
from p2pkad.wire.addresses import MAX_ADDRESS, decode_address
from p2pkad.wire.framing import FrameDecoder, encode_frame

log = logging.getLogger(__name__)

MAX_MESSAGE = 64 * 1024
"""Bytes of one identify answer, all its parts together. go reads at most ten messages of 8 KiB."""
MAX_ADDRESSES = 64
"""Addresses of a peer that are looked at."""
MAX_PROTOCOLS = 128
"""Protocols of a peer that are looked at."""
MAX_NAME = 128
"""Characters of the name of a program, or of a protocol: a longer agent is cut, a longer protocol is none."""
MAX_KEY = 2048
"""Bytes of a public key; one of RSA with 8192 bits has 1,080."""
MAX_RECORD = 8 * 1024
"""Bytes of a signed peer record; in one message of go there are no more. It has MAX_ADDRESSES at most."""
ASK_TIMEOUT = 10.0
"""Seconds for a peer's answer, and for a push to arrive whole."""
PUSH_TIMEOUT = 2.0
"""Seconds for a push to one peer; a silent one learns the news when it asks."""
PUSHES_AT_ONCE, PUSHES_PER_SECOND = 16, 1.0
"""What is taken of one peer without a pause. Each costs a signature, and a look at its addresses one by one."""
AGENT = "p2pkad"


class Identifier:
    """Asks, answers, pushes and is pushed to.

    known: what is known of a connected peer. told: called with each peer's news, while it is connected. agent: what this host
    says that it is.
    """

    agent = AGENT

    def __init__(
        self,
        host: BasicHost,
        observed: ObservedAddrManager,
        known: Callable[[PeerId], PeerDescription | None],
        told: Callable[[PeerId, PeerDescription], None],
    ) -> None:
        self._host = host
        self._observed = observed
        self._known = known
        self._told = told
        self._pushes: dict[PeerId, int] = {}
        self._allowance = Allowance(PUSHES_AT_ONCE, PUSHES_PER_SECOND, most=1000)
        self._turns: dict[PeerId, tuple[float, Pipe]] = {}
        self._message: tuple[object, Identify] | None = None  # the last: an older record of ours counts for nothing

    def serve(self) -> None:
        """Answer and take pushes from now on."""
        self._host.set_stream_handler(IDENTIFY, self._answer)
        self._host.set_stream_handler(PUSH, self._take_push)

    async def ask(self, held: Held[SwarmConn]) -> None:
        """Ask the peer at the other end of a connection. Says nothing when it does not answer."""
        pushes = self._pushes.get(held.peer, 0)
        with trio.move_on_after(ASK_TIMEOUT):
            try:
                pipe = Pipe(await held.handle.new_stream())
            except FOREIGN:
                return
            try:
                message = await self._exchange(pipe)
            except (StreamLost, RemoteProtocolError) as error:
                log.debug("identify of %s: %s", held.peer, error)
                await pipe.reset()
                return
            except BaseException:
                await pipe.reset()
                raise
            await pipe.finish()
            self._note_observed(held.handle, message)
            if self._pushes.get(held.peer, 0) == pushes:  # else what it pushed meanwhile is newer
                await self._absorb(held.peer, message)

    async def push(self, held: Held[SwarmConn]) -> None:
        """Tell the peer at the other end of a connection what we speak, and where, now."""
        with trio.move_on_after(PUSH_TIMEOUT):
            try:
                pipe = Pipe(await held.handle.new_stream())
            except FOREIGN:
                return
            try:
                await pipe.write(opening(PUSH) + encode_frame(self._own(held.handle).SerializeToString(), MAX_MESSAGE))
            except StreamLost:
                pass
            except BaseException:
                await pipe.reset()
                raise
            await pipe.finish()

    def left(self, peer: PeerId) -> None:
        """The peer is gone."""
        self._pushes.pop(peer, None)

    async def _exchange(self, pipe: Pipe) -> Identify:
        proposal = Proposal(IDENTIFY)
        await pipe.write(opening(IDENTIFY))
        received = b""
        while data := await pipe.read():
            received += data if proposal.done else proposal.feed(data)
            if len(received) > MAX_MESSAGE:
                raise RemoteProtocolError("identify: the answer is too long")
        return parse(received)

    async def _answer(self, stream: INetStream) -> None:
        assert isinstance(stream, NetStream)
        pipe = Pipe(stream)
        connection = stream.swarm_conn
        with suppress(StreamLost):
            await pipe.write(encode_frame(self._own(connection).SerializeToString(), MAX_MESSAGE))
        await pipe.finish()

    async def _take_push(self, stream: INetStream) -> None:
        assert isinstance(stream, NetStream)
        pipe = Pipe(stream)
        peer = peer_of(stream.muxed_conn)
        if not await self._has_a_turn(pipe, peer):
            await pipe.reset()
            return
        with trio.move_on_after(ASK_TIMEOUT) as scope:
            received = b""
            while data := await pipe.read():
                received += data
                if len(received) > MAX_MESSAGE:
                    raise RemoteProtocolError("identify push: it is too long", peer=peer)
            message = parse(received)
            if foreign_id(peer) in self._host.get_network().connections:  # else nobody would forget it any more
                self._pushes[peer] = self._pushes.get(peer, 0) + 1
            await self._absorb(peer, message, self._known(peer))
        if scope.cancelled_caught:
            await pipe.reset()
        else:
            await self._taken(pipe, received)

    async def _has_a_turn(self, pipe: Pipe, peer: PeerId) -> bool:
        """Whether a push is to be read, once it may. One that comes while another of the peer waits has its turn instead."""
        if peer in self._turns:
            due, _ = self._turns[peer]
        else:
            now = trio.current_time()
            wait = self._allowance.wait(peer, 1, now)
            self._allowance.take(peer, 1, now)
            if not wait:
                return True
            due = now + wait
        turn = self._turns[peer] = due, pipe
        try:
            await trio.sleep_until(due)
            return self._turns.get(peer) is turn
        finally:
            if self._turns.get(peer) is turn:
                del self._turns[peer]

    async def _taken(self, pipe: Pipe, push: bytes) -> None:
        """A push was read to its end, and is known."""
        await pipe.finish()

    async def _absorb(self, peer: PeerId, message: Identify, before: PeerDescription | None = None) -> None:
        """Tell what a peer says of itself. before: what was known; a push need not repeat it (identify, "identify/push")."""
        await update_peerstore_from_identify(self._host.get_peerstore(), foreign_id(peer), message)
        found = (decode_address(raw, peer) for raw in message.listen_addrs)
        addresses = tuple(address for address in found if address is not None)
        observed = decode_address(message.observed_addr, peer) if message.observed_addr else None
        news = PeerDescription(
            agent=message.agent_version,
            protocols=frozenset(message.protocols),
            addresses=addresses,
            observed=observed,
        )
        if before is not None:
            news = PeerDescription(
                agent=news.agent or before.agent,
                protocols=news.protocols or before.protocols,
                addresses=news.addresses or before.addresses,
                observed=news.observed or before.observed,
            )
        self._told(peer, news)

    def _note_observed(self, connection: SwarmConn, message: Identify) -> None:
        if message.observed_addr:
            try:
                seen = Multiaddr(message.observed_addr)
                self._observed.record_observation(connection, seen, self._host.get_transport_addrs())
            except Exception as error:  # a multiaddr from a stranger, parsed by two libraries
                log.debug("an observed address that cannot be read: %r", error)

    def _own(self, connection: SwarmConn | None) -> Identify:
        remote = None if connection is None else remote_address(connection)
        plain = [address.decapsulate_code(P_P2P) for address in self._host.get_addrs()]
        plain = [address for address in plain if _reaches(address, connection_scope(remote))]
        addresses = tuple(address.to_bytes() for address in plain)
        protocols = tuple(str(each) for each in self._host.get_mux().get_protocols() if each is not None)
        said = addresses, protocols
        if self._message is None or self._message[0] != said:
            record = create_signed_peer_record(self._host.get_id(), plain, self._host.get_private_key())
            message = Identify(
                protocol_version="ipfs/0.1.0",
                agent_version=self.agent,
                public_key=self._host.get_public_key().serialize(),
                listen_addrs=addresses,
                protocols=protocols,
                signedPeerRecord=record.marshal_envelope(),
            )
            self._message = said, message
        own = Identify()
        own.CopyFrom(self._message[1])
        if remote is not None:
            own.observed_addr = remote.raw
        return own


def _reaches(address: Multiaddr, scope: Scope) -> bool:
    """Whether a peer at this scope may be told an own address: as `scope="auto"`, for the host has no rule of its own."""
    read = decode_address(address.to_bytes(), PeerId(b""))  # no id stands in it
    return read is None or read.scope >= scope


def parse(received: bytes) -> Identify:
    """An answer is one length-prefixed message, or several, which belong together (go splits long ones).

    Bounded: py-libp2p compares each address of a record with each other one, and keeps what was said of a thousand peers.
    """
    decoder = FrameDecoder(MAX_MESSAGE)
    decoder.feed(received)
    parts = []
    while (part := decoder.next_frame()) is not None:
        parts.append(part)
    decoder.eof()
    if not parts:
        raise RemoteProtocolError("identify: it is empty")
    try:
        return _bounded(Identify.FromString(b"".join(parts)))  # what belongs together may be read as one
    except Exception as error:  # protobuf: DecodeError, and others for text that is not UTF-8
        raise RemoteProtocolError("identify: it cannot be read") from error


def _bounded(said: Identify) -> Identify:
    kept = Identify(
        agent_version=said.agent_version[:MAX_NAME],
        listen_addrs=[raw for raw in said.listen_addrs[:MAX_ADDRESSES] if len(raw) <= MAX_ADDRESS],
        protocols=[name for name in said.protocols[:MAX_PROTOCOLS] if len(name) <= MAX_NAME],
    )
    if len(said.observed_addr) <= MAX_ADDRESS:
        kept.observed_addr = said.observed_addr
    if said.public_key and len(said.public_key) <= MAX_KEY:
        kept.public_key = said.public_key
    if said.signedPeerRecord and len(said.signedPeerRecord) <= MAX_RECORD and _in_bounds(said.signedPeerRecord):
        kept.signedPeerRecord = said.signedPeerRecord
    return kept


def _in_bounds(record: bytes) -> bool:
    try:
        said = PeerRecord.FromString(Envelope.FromString(record).payload)
    except Exception:  # as above
        return False
    return len(said.addresses) <= MAX_ADDRESSES
