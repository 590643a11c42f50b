"""A peer made by hand: TCP, noise and yamux as everywhere, and above them only the bytes that a test sends.

    async with raw_peer(target) as peer:              # connected, nothing negotiated yet
        stream = await peer.open()
        await stream.send(token(b"\\xff"))             # any bytes, the negotiation included
        await stream.ending(within=2)                 # "data", "reset", "closed" or "silent"
        await peer.ping()                             # True: the target still answers

Streams that the target opens (identify, most of all) are answered from `serves`, by protocol; other protocols get
"na". A `mute` peer accepts streams and never says a word on them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Literal

import trio
from libp2p.abc import IMuxedStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import TYPE_DATA, YAMUX_HEADER_FORMAT, Yamux
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.varint import encode_uvarint

MULTISTREAM = "/multistream/1.0.0"
IDENTIFY = "/ipfs/id/1.0.0"
IDENTIFY_PUSH = "/ipfs/id/push/1.0.0"
PING = "/ipfs/ping/1.0.0"

PATIENCE = 5.0
"""Seconds for what takes milliseconds; a test that runs into it has failed."""

Ending = Literal["data", "reset", "closed", "silent"]


def frame(body: bytes) -> bytes:
    """A message with its length before it, as identify and kad-dht write it."""
    return encode_uvarint(len(body)) + body


def token(text: str | bytes) -> bytes:
    """A multistream-select message: length, text, newline. Any bytes will do for the text."""
    return frame((text.encode() if isinstance(text, str) else text) + b"\n")


def yamux_frame(stream_id: int, body: bytes = b"", *, flags: int = 0) -> bytes:
    """A DATA frame (yamux specification, "Framing"), for many streams in one write: `RawPeer.send_frames`."""
    return struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, flags, stream_id, len(body)) + body


class RawStream:
    """A muxed stream without a negotiated protocol."""

    def __init__(self, muxed: IMuxedStream) -> None:
        self.muxed = muxed
        self._held = b""

    async def send(self, data: bytes) -> None:
        """Write these bytes. Raises MuxedStreamError when the target has reset or closed the stream."""
        await self.muxed.write(data)

    async def receive(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises MuxedStreamEOF or MuxedStreamReset when the stream ends before."""
        while len(self._held) < count:
            self._held += await self.muxed.read(max(count - len(self._held), 1))
        got, self._held = self._held[:count], self._held[count:]
        return got

    async def receive_frame(self) -> bytes:
        """The body of one length-prefixed message."""
        length = shift = 0
        while True:
            byte = (await self.receive(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return await self.receive(length)

    async def receive_token(self) -> str:
        """The text of one multistream-select message."""
        return (await self.receive_frame()).decode().removesuffix("\n")

    async def negotiate(self, protocol: str) -> bool:
        """Select a protocol. False: the target does not speak it."""
        await self.send(token(MULTISTREAM) + token(protocol))
        return await self.receive_token() == MULTISTREAM and await self.receive_token() == protocol

    async def ending(self, within: float = PATIENCE) -> Ending:
        """What comes next on this stream: a byte, its reset, its end, or nothing within so many seconds."""
        with trio.move_on_after(within):
            try:
                self._held += await self.muxed.read(1)
            except MuxedStreamReset:
                return "reset"
            except MuxedStreamEOF:
                return "closed"
            return "data"
        return "silent"

    async def finish(self) -> None:
        """Close the sending side."""
        await self.muxed.close()

    async def reset(self) -> None:
        """End the stream both ways, at once."""
        await self.muxed.reset()


Serve = Callable[[RawStream], Awaitable[None]]
"""What to do on an inbound stream whose protocol has been agreed on."""


class RawPeer:
    """One end of a connection to the target; see `raw_peer`."""

    def __init__(self, connection: Yamux, own_id: ID, serves: Mapping[str, Serve], *, mute: bool) -> None:
        self.connection = connection
        self.id = own_id
        self.asked_for: list[str] = []
        """Protocols that the target has asked this peer for, in order."""
        self._serves = serves
        self._mute = mute

    @property
    def is_closed(self) -> bool:
        """Whether the target (or this end) has closed the connection."""
        return self.connection.is_closed

    async def open(self) -> RawStream:
        """A new stream on which nothing has been said."""
        return RawStream(await self.connection.open_stream())

    def stream_ids(self, count: int) -> list[int]:
        """Ids for streams that `send_frames` is to open."""
        first = self.connection.next_stream_id
        self.connection.next_stream_id += 2 * count
        return list(range(first, first + 2 * count, 2))

    async def send_frames(self, frames: bytes) -> None:
        """Write yamux frames as they are, past this end's own muxer: what comes back for their streams is dropped."""
        await self.connection.secured_conn.write(frames)

    async def ping(self, within: float = PATIENCE) -> bool:
        """Whether the target answers a libp2p ping on a fresh stream of this connection."""
        with trio.move_on_after(within), suppress(BaseLibp2pError):
            stream = await self.open()
            if await stream.negotiate(PING):
                sent = os.urandom(32)
                await stream.send(sent)
                answered = await stream.receive(32) == sent
                await stream.reset()
                return answered
        return False

    async def answer_streams(self) -> None:
        """Answer what the target opens until the connection ends."""
        async with trio.open_nursery() as nursery:
            with suppress(MuxedConnUnavailable):
                while True:
                    stream = RawStream(await self.connection.accept_stream())
                    if not self._mute:
                        nursery.start_soon(self._answer, stream)

    async def _answer(self, stream: RawStream) -> None:
        # ValueError: a host that does not wait for our "na" goes on with what is no token.
        with suppress(MuxedStreamError, MuxedStreamEOF, MuxedStreamReset, ValueError):
            await stream.receive_token()
            await stream.send(token(MULTISTREAM))
            while (protocol := await stream.receive_token()) not in self._serves:
                self.asked_for.append(protocol)
                await stream.send(token("na"))
            self.asked_for.append(protocol)
            await stream.send(token(protocol))
            await self._serves[protocol](stream)


@asynccontextmanager
async def raw_peer(
    target: PeerInfo,
    *,
    key_pair: KeyPair | None = None,
    serves: Mapping[str, Serve] | None = None,
    mute: bool = False,
) -> AsyncIterator[RawPeer]:
    """Connect to the first address of `target`, as a new peer or as the one that `key_pair` makes.

    Raises what the handshake raises (OSError, BaseLibp2pError) when the target does not let us in.
    Leaving closes the TCP connection without a farewell, as a peer that loses power does.
    """
    keys = key_pair or create_new_key_pair()
    address = target.addrs[0]
    stream = await trio.open_tcp_stream(str(address.value_for_protocol("ip4")), int(str(address.value_for_protocol("tcp"))))
    try:
        with trio.fail_after(PATIENCE):
            connection = await _upgraded(stream, keys, target.peer_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.start)
            await connection.event_started.wait()
            peer = RawPeer(connection, ID.from_pubkey(keys.public_key), serves or {}, mute=mute)
            nursery.start_soon(peer.answer_streams)
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


async def _upgraded(stream: trio.SocketStream, keys: KeyPair, target: ID) -> Yamux:
    noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
    upgrader = TransportUpgrader({NOISE: noise}, {TProtocol(YAMUX): Yamux})
    secured = await upgrader.upgrade_security(RawConnection(TrioTCPStream(stream), True), True, target)
    muxed = await upgrader.upgrade_connection(secured, target)
    assert isinstance(muxed, Yamux)
    return muxed
