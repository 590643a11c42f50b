"""aioquic's state machine of a connection, with what libp2p needs and aioquic has no option for.

- Both ends show a certificate, and whose it is is read from it.
- A stream is granted WINDOW bytes more than have been read of it. aioquic alone grants twice what has arrived, read or not.
- That either end has closed is known at once, not when the last packet can no longer be under way.

These are looks behind aioquic's door, all of them here: `pyproject.toml` names the release.
libp2p specification, "TLS handshake"; RFC 9000, 4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aioquic.quic.connection import MAX_STREAM_DATA_FRAME_CAPACITY, QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.tls.certificate import verify_certificate_chain
from libp2p.transport.quic.aioquic_compat import apply as keep_late_ends

if TYPE_CHECKING:
    from aioquic.quic.packet_builder import QuicPacketBuilder
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.quic.stream import QuicStream

WINDOW = 256 * 1024
"""Bytes of a stream that may be under way or unread. As yamux."""

keep_late_ends()  # aioquic loses the end of a stream that has no room in a packet


class Core(QuicConnection):
    """A connection without sockets or time."""

    unread: Callable[[int], int]
    """Set before use: bytes of a stream that have arrived and have not been read."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        # Both ends prove who they are. aioquic has no option for that.
        self.tls._request_client_certificate = True

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        assert stream.stream_id is not None
        granted = stream.receiver.highest_offset - self.unread(stream.stream_id) + WINDOW
        if stream.max_stream_data_local and granted - stream.max_stream_data_local >= WINDOW // 2:
            stream.max_stream_data_local = granted
        if stream.max_stream_data_local_sent != stream.max_stream_data_local:
            frame = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            frame.push_uint_var(stream.stream_id)
            frame.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local

    def proven_peer(self) -> ID:
        """Who is at the other end, by its certificate; the handshake is over. Raises HandshakeFailure."""
        certificate = self.tls._peer_certificate
        if certificate is None:
            raise HandshakeFailure("the peer showed no certificate")
        try:
            return ID.from_pubkey(verify_certificate_chain([certificate]))
        except Exception as error:  # a stranger's certificate, read by three libraries
            raise HandshakeFailure("the peer's certificate proves nothing") from error

    def ending(self) -> Exception | None:
        """Why it is over, if either end has closed it. aioquic tells only when the last packet can no longer be under way."""
        closed = self._close_event
        if closed is None:
            return None
        if QuicErrorCode.CRYPTO_ERROR <= closed.error_code < QuicErrorCode.CRYPTO_ERROR + 256:  # RFC 9001, 4.8
            return HandshakeFailure(closed.reason_phrase)
        return ConnectionClosedError(closed.reason_phrase or "the connection has ended", transport="quic")
