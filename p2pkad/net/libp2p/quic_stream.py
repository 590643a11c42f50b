"""One stream of a QUIC connection, in the shape that py-libp2p wants of one.

Writing waits while UNSENT bytes have not been acknowledged. How much a peer may write is up to `quic_core`.

RFC 9000, 2 and 3; libp2p specification, "QUIC".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamError, MuxedStreamReset

if TYPE_CHECKING:
    from p2pkad.net.libp2p.quic_connection import Connection

UNSENT = 256 * 1024
"""Bytes written to a stream that wait for an acknowledgement, beyond which a writer waits."""


class Stream(IMuxedStream):
    """A stream. `close` ends this end's half, as yamux's does."""

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.muxed_conn = connection
        self._connection = connection
        self._id = stream_id
        self._data = bytearray()
        self._ended = False  # the other end writes no more
        self._closed = False  # this end writes no more
        self._reset = False
        self._unwanted = False
        self._moved = trio.Event()

    @property
    def stale(self) -> bool:
        """Known to be ended or reset by the other end, or to hold bytes that nobody asked for."""
        return self._closed or self._ended or self._reset or self._unwanted or bool(self._data) or self._connection.is_closed

    @property
    def unread(self) -> int:
        """Bytes that have arrived and have not been read."""
        return len(self._data)

    async def read(self, n: int | None = None) -> bytes:
        """At least one byte. Raises MuxedStreamEOF at the end, MuxedStreamReset."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._data:
            if self._reset:
                raise MuxedStreamReset("the stream was reset")
            if self._ended:
                raise MuxedStreamEOF("the stream has ended")
            self._moved = trio.Event()
            await self._moved.wait()
        size = len(self._data) if n is None or n < 0 else n
        data = bytes(self._data[:size])
        del self._data[:size]
        self._connection.wake()  # there may be room to grant
        return data

    async def write(self, data: bytes) -> None:
        """Raises MuxedStreamReset, MuxedStreamClosed. Returns when the bytes are with aioquic and not too many wait there."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_writable()
        self._connection.send_stream(self._id, data, end=False)
        while self._connection.unsent(self._id) > UNSENT:
            await self._connection.progressed()
            self._check_writable()
        await trio.lowlevel.cancel_shielded_checkpoint()  # gives the datagrams a chance to leave

    def _check_writable(self) -> None:
        if self._reset:
            raise MuxedStreamReset("the stream was reset")
        if self._unwanted:
            raise MuxedStreamError("the other end reads no more")
        if self._closed:
            raise MuxedStreamClosed("the stream is closed")

    async def close(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._closed and not self._reset:
            self._closed = True
            if not self._unwanted:
                self._connection.send_stream(self._id, b"", end=True)
            self._forget()

    async def reset(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._give_up(writing=True)

    def leave(self) -> None:
        """After `close`: read no more. What was written is sent until it has arrived: as go's Close() has it."""
        self._give_up(writing=False)

    def _give_up(self, *, writing: bool) -> None:
        if not self._reset:
            if not self._connection.is_closed:
                self._connection.give_up_stream(self._id, writing=writing, reading=not self._ended)
            self.was_reset()
            self._connection.progress()

    # told by the connection

    def arrived(self, data: bytes, *, end: bool) -> None:
        """Bytes, and perhaps the end."""
        self._data += data
        self._ended = self._ended or end
        self._moved.set()
        self._forget()

    def was_reset(self) -> None:
        """The other end, or this one, gave the stream up, or the connection is over."""
        self._reset = True
        self._moved.set()
        self._connection.forget(self._id)

    def was_stopped(self) -> None:
        """The other end reads no more."""
        self._unwanted = True

    def _forget(self) -> None:
        if self._closed and self._ended:
            self._connection.forget(self._id)

    # what py-libp2p asks of it

    def set_deadline(self, ttl: int) -> None:
        """Deadlines are the caller's: there is nothing to set."""

    def get_remote_address(self) -> tuple[str, int]:
        return self._connection.get_remote_address()

    async def __aenter__(self) -> Stream:
        return self
