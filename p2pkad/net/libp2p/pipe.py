"""One stream, read and written without detours.

NetStream takes a lock and a task step around every read and write: on the hot path we talk to the muxed stream below it.
Closing goes through the NetStream, because SwarmConn keeps a set of those and would keep the stream for ever.

On a host that others made the muxed stream is py-libp2p's. Its yamux sends a window update for every read: a request and its
answer would cost 13 such frames. Here window is given back when half of it is used up. Windows therefore stay at 256 KiB,
while its own reader lets them grow to 16 MiB a stream: streams that are never read would then let a peer push hundreds of
megabytes into the process.
"""

from __future__ import annotations

from typing import Any

import trio
from libp2p.abc import IMuxedStream
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import DEFAULT_WINDOW_SIZE, Yamux, YamuxStream

from p2pkad.net.libp2p.border import FOREIGN, reason
from p2pkad.net.libp2p.quic_stream import Stream as QuicStream
from p2pkad.net.libp2p.yamux_stream import Stream

CHUNK = 64 * 1024
"""Bytes asked for in one read of a muxer that is not yamux."""
LINGER = 5.0
"""Seconds that the other end has to close a stream after this end did."""
RESET_TIMEOUT = 5.0
"""Seconds in which a reset must leave this machine. A connection that takes no 12 bytes for so long is dead."""


class StreamLost(Exception):
    """The stream, or its connection, is gone. The text is the reason."""


class Pipe:
    """The bytes of one stream, both ways. One task reads and one writes at a time."""

    __slots__ = ("_credit", "_muxed", "_pushed", "stream")

    def __init__(self, stream: NetStream) -> None:
        self.stream = stream
        self._pushed = b""
        self._muxed = stream.muxed_stream
        self._credit = 0
        if isinstance(self._muxed, PushedBack):
            self._pushed, self._muxed = self._muxed.take()

    @property
    def stale(self) -> bool:
        """Known to be closed or reset by the other end, or to hold bytes that nobody asked for. Costs no system call."""
        muxed = self._muxed
        if isinstance(muxed, YamuxStream):
            conn: Yamux = muxed.conn
            return (
                muxed.closed
                or muxed.recv_closed
                or muxed.reset_received
                or conn.event_shutting_down.is_set()
                or bool(conn.stream_buffers.get(muxed.stream_id))
            )
        return muxed.stale if isinstance(muxed, (Stream, QuicStream)) else self.stream.is_closed

    async def read(self) -> bytes:
        """What has arrived, at least one byte; b"" at the end. Raises StreamLost."""
        if self._pushed:
            pushed, self._pushed = self._pushed, b""
            return pushed
        muxed = self._muxed
        try:
            if isinstance(muxed, YamuxStream):
                return await self._read_yamux(muxed)
            return await muxed.read(CHUNK)
        except MuxedStreamEOF:
            return b""
        except FOREIGN as error:
            raise StreamLost(reason(error)) from error

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when they are with the operating system, or with the multiplexer, which sends them next. Raises
        StreamLost."""
        try:
            await self._muxed.write(data)
        except FOREIGN as error:
            raise StreamLost(reason(error)) from error

    async def close(self) -> None:
        """Say that nothing more will be written, and forget the stream. Never raises for what the other end did."""
        try:
            await self.stream.close()
        except FOREIGN:
            await self.reset()

    async def finish(self) -> None:
        """Close, and `linger`. Never raises StreamLost."""
        await self.close()
        await self.linger()

    async def linger(self) -> None:
        """After this end has closed the stream: wait for the other end to do the same, LINGER seconds at most; then `leave`.

        py-libp2p's yamux keeps a stream that only one end closed for the life of the connection, ours for minutes.
        """
        if isinstance(self._muxed, Stream) and self._muxed.over:
            return
        over = False
        try:
            with trio.move_on_after(LINGER):
                try:
                    while await self.read():
                        pass
                    self.forget()
                except StreamLost:
                    await self.reset()
                over = True
        finally:  # also when the caller is cancelled: leaving waits for nobody
            if not over:
                await self.leave()

    async def leave(self) -> None:
        """After this end has closed the stream: read no more, and forget it. What was written arrives, as slowly as it is read.

        A reset behind the end would not do. In QUIC it takes back what is not acknowledged; of py-libp2p's yamux whoever has
        not read all by then gets it in place of the end. What QUIC keeps for a slow peer is bounded by its streams: there is a
        new one for each that is over, and yamux has sent everything before the end.
        """
        muxed = self._muxed
        if isinstance(muxed, (Stream, QuicStream)):
            muxed.leave()
        elif isinstance(muxed, YamuxStream):
            muxed.closed = True
            self.forget()
        else:
            await self.reset()

    async def reset(self) -> None:
        """End the stream in both directions, within RESET_TIMEOUT; also when the caller is being cancelled."""
        with trio.move_on_after(RESET_TIMEOUT) as scope:
            scope.shield = True
            await self.stream.reset()
        if scope.cancelled_caught and self.stream.swarm_conn is not None:
            self.stream.swarm_conn.remove_stream(self.stream)
        self.forget()

    def forget(self) -> None:
        """Drop what yamux keeps of a stream that is over.

        Its reader puts an entry back after a remote reset took it away (one entry for each reset, for the life of the
        connection), and a stream that we closed but the peer never did stays for ever.
        """
        muxed = self._muxed
        if isinstance(muxed, YamuxStream) and (muxed.closed or muxed.stream_id not in muxed.conn.streams):
            for kept in (muxed.conn.streams, muxed.conn.stream_buffers, muxed.conn.stream_events):
                kept.pop(muxed.stream_id, None)

    async def _read_yamux(self, muxed: YamuxStream) -> bytes:
        data = await muxed.conn.read_stream(muxed.stream_id)
        self._credit += len(data)
        if self._credit >= DEFAULT_WINDOW_SIZE // 2 and not muxed.recv_closed:
            credit, self._credit = self._credit, 0
            muxed.recv_window += credit
            await muxed.send_window_update(credit)
        return data


class PushedBack(IMuxedStream):
    """A muxed stream with bytes in front of it that were read too early: what came in one packet with a negotiation."""

    def __init__(self, muxed: IMuxedStream, data: bytes) -> None:
        self._muxed = muxed
        self._data = data
        self.muxed_conn = muxed.muxed_conn

    def take(self) -> tuple[bytes, IMuxedStream]:
        """The bytes that are left, and the stream itself. From now on nothing is in front of it."""
        data, self._data = self._data, b""
        return data, self._muxed

    async def read(self, n: int | None = None) -> bytes:
        if not self._data:
            return await self._muxed.read(n)
        await trio.lowlevel.checkpoint()
        size = len(self._data) if n is None or n < 0 else n
        data, self._data = self._data[:size], self._data[size:]
        return data

    async def write(self, data: bytes) -> None:
        await self._muxed.write(data)

    async def close(self) -> None:
        await self._muxed.close()

    async def reset(self) -> None:
        await self._muxed.reset()

    def set_deadline(self, ttl: int) -> None:
        self._muxed.set_deadline(ttl)

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._muxed.get_remote_address()

    async def __aenter__(self) -> PushedBack:
        return self

    def __getattr__(self, name: str) -> Any:
        # What a muxer adds of its own: stream ids, half-close.
        return getattr(self._muxed, name)
