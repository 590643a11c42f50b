"""noise, whose messages are read and written as many at a time as there are.

py-libp2p asks the layer below for the length of a message, and then for the message: eight calls deep, for each of the few
hundred bytes that a request has. Here what has arrived is decrypted at once, whole messages of it, and what is written leaves
in one piece. On a socket of ours (`transport`) neither takes a turn of the scheduler: `feed`, `at_once`. The handshake is
py-libp2p's.

libp2p specification, "noise-libp2p", "Wire Format".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libp2p.abc import IRawConnection, ISecureConn
from libp2p.io.abc import EncryptedMsgReadWriter, ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH, NoiseTransportReadWriter
from libp2p.security.noise.transport import Transport
from libp2p.security.secure_session import SecureSession

from p2pkad.net.libp2p.arrivals import Take
from p2pkad.net.libp2p.transport import Stream

if TYPE_CHECKING:
    from noise.connection import NoiseConnection

PREFIX = 2
"""Bytes in front of a message, which say how long it is."""


class Noise(Transport):
    """py-libp2p's transport, with a `Channel` in place of what carries the messages of a connection."""

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return _carried(await super().secure_inbound(conn), conn)

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return _carried(await super().secure_outbound(conn, peer_id), conn)


def _carried(session: ISecureConn, raw: IRawConnection) -> ISecureConn:
    assert isinstance(session, SecureSession)
    assert isinstance(session.conn, NoiseTransportReadWriter)
    session.conn = Channel(raw, session.conn.noise_state)
    return session


async def feed(conn: ISecureConn, take: Take) -> None:
    """Hand what a connection brings to `take`, until that wants no more. Raises as reading it does, also at its end.

    One of noise over TCP is read without a turn of the scheduler for each message, any other one as ever.
    """
    channel = at_once(conn)
    if channel is None:
        while take(await conn.read()):
            pass
        return
    assert isinstance(conn, SecureSession)
    # What came in one message with the end of a negotiation, py-libp2p's session has kept.
    if conn.low_watermark == conn.high_watermark or take(await conn.read()):
        await channel.feed(take)


def at_once(conn: ISecureConn) -> Channel | None:
    """What reads and sends on a connection without a turn of the scheduler, where that can be done: noise over TCP."""
    if isinstance(conn, SecureSession) and isinstance(conn.conn, Channel) and isinstance(conn.conn._stream, Stream):
        return conn.conn
    return None


class Channel(EncryptedMsgReadWriter):
    """The bytes of a noise connection, both ways. state: after the handshake."""

    def __init__(self, conn: IRawConnection, state: NoiseConnection) -> None:
        super().__init__(conn)
        # Past py-libp2p's layer between, which does nothing but rename errors.
        self._stream: ReadWriteCloser = conn.stream if type(conn) is RawConnection else conn
        self._state = state
        self._arrived = b""

    async def read_msg(self) -> bytes:
        """What has arrived in whole messages, at least one byte.

        Raises ConnectionClosedError, IncompleteReadError, NoiseInvalidMessage, and what reading the connection does.
        """
        while True:
            if read := self._whole_messages():
                return read
            more = await self._stream.read()
            if not more:
                raise self._ended()
            self._arrived += more

    async def feed(self, take: Take) -> None:
        """Hand what arrives in whole messages to `take`, until that wants no more. Raises as `read_msg`, and as `take`."""
        assert isinstance(self._stream, Stream)

        def took(more: bytes) -> bool:
            self._arrived += more
            read = self._whole_messages()
            return not read or take(read)

        if took(b"") and not await self._stream.feed(took):
            raise self._ended()

    def _whole_messages(self) -> bytes:
        data, at = self._arrived, 0
        messages = []
        while (begin := at + PREFIX) <= len(data):
            end = begin + int.from_bytes(data[at:begin], "big")
            if end > len(data):
                break
            messages.append(self._state.decrypt(data[begin:end]))
            at = end
        self._arrived = data[at:]
        return messages[0] if len(messages) == 1 else b"".join(messages)

    def _ended(self) -> Exception:
        if self._arrived:
            return IncompleteReadError("the connection ended in the middle of a message")
        return ConnectionClosedError("the connection has ended", transport="noise")

    async def write_msg(self, msg: bytes) -> None:
        await self._stream.write(self._sealed(msg))

    def write_now(self, msg: bytes) -> bool:
        """Send what leaves at once; not while `write_msg` is under way. False: the rest leaves with the next one of those."""
        assert isinstance(self._stream, Stream)
        return self._stream.write_now(self._sealed(msg))

    def _sealed(self, msg: bytes) -> bytes:
        pieces: list[bytes] = []
        for at in range(0, len(msg), MAX_PLAINTEXT_LENGTH):
            sealed = self._state.encrypt(msg[at : at + MAX_PLAINTEXT_LENGTH])
            pieces += (len(sealed).to_bytes(PREFIX, "big"), sealed)
        return b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        return bytes(self._state.encrypt(data))

    def decrypt(self, data: bytes) -> bytes:
        return bytes(self._state.decrypt(data))

    async def close(self) -> None:
        await self._stream.close()
