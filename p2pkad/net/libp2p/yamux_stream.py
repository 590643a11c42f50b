"""One stream of a yamux connection, and what a frame looks like.

Writing waits while the other end has given no window, or while UNSENT bytes of the connection wait to be sent. Whoever is
cancelled in it has written some part, never half a frame.

yamux specification, hashicorp/yamux spec.md, "Framing" and "Flow Control".
"""

from __future__ import annotations

import struct
from math import inf
from typing import TYPE_CHECKING

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset

from p2pkad.net.libp2p.bell import Bell

if TYPE_CHECKING:
    from p2pkad.net.libp2p.yamux import Connection

HEADER = struct.Struct(">BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
NORMAL, PROTOCOL_ERROR = 0, 1

WINDOW = 256 * 1024
"""Bytes of a stream that may be under way or unread, in either direction, to begin with. Ours never grows."""
MOST_GRANTED = 2**32 - 1
"""Bytes that a peer may have allowed at most: the specification counts them in 32 bits."""
LARGEST = 64 * 1024
"""Bytes of one stream in a frame: the others have their turn."""
UNSENT = 64 * 1024
"""Bytes of a connection that wait for the writer, beyond which those who write wait."""


class ProtocolError(Exception):
    """The other end does not speak yamux."""


class Stream(IMuxedStream):
    """A stream. `close` ends this end's half. One task reads and one writes at a time.

    greeting: the flag that the first frame of this end has to carry.
    """

    __slots__ = (
        "_closed",
        "_connection",
        "_data",
        "_ended",
        "_greeting",
        "_id",
        "_readable",
        "_reset",
        "_taken",
        "_unused",
        "_window",
        "_writable",
        "muxed_conn",
        "quiet_since",
    )

    def __init__(self, connection: Connection, stream_id: int, greeting: int) -> None:
        self.muxed_conn = connection
        self._connection = connection
        self._id = stream_id
        self._greeting = greeting
        self._data = bytearray()
        self._window = WINDOW  # bytes that the other end takes
        self._unused = WINDOW  # bytes that the other end may still send
        self._taken = 0  # bytes read, for which the other end has no new window yet
        self._ended = False  # the other end writes no more
        self._closed = False  # this end writes no more
        self._reset = False
        self._readable, self._writable = Bell(), Bell()
        self.quiet_since = inf
        """When something happened last, since this end closed its half; infinite before that."""

    def __repr__(self) -> str:
        return f"<Stream {self._id} unread={len(self._data)} ended={self._ended} closed={self._closed} reset={self._reset}>"

    @property
    def stale(self) -> bool:
        """Known to be ended or reset by the other end, or to hold bytes that nobody asked for."""
        return self._closed or self._ended or self._reset or bool(self._data)

    @property
    def is_reset(self) -> bool:
        """Whether it was given up, by either end, or its connection is over."""
        return self._reset

    @property
    def over(self) -> bool:
        """Whether both ends have closed it."""
        return self._closed and self._ended

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for what comes on it."""
        return self._readable.awaited

    async def read(self, n: int | None = None) -> bytes:
        """At least one byte. Raises MuxedStreamEOF at the end, MuxedStreamReset."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._data:
            # An end in good order stays one, whatever becomes of the connection.
            if self._ended:
                raise MuxedStreamEOF("the stream has ended")
            if self._reset:
                raise MuxedStreamReset("the stream was reset")
            await self._readable.wait()
        if n is None or n < 0 or n >= len(self._data):
            data, self._data = bytes(self._data), bytearray()
        else:
            data = bytes(self._data[:n])
            del self._data[:n]
        self._taken += len(data)
        if self._closed:
            self.quiet_since = trio.current_time()
        if self._taken >= WINDOW // 2 and not (self._ended or self._reset):
            self._send(WINDOW_UPDATE, self._taken)
            self._unused += self._taken
            self._taken = 0
        return data

    async def write(self, data: bytes) -> None:
        """Returns when the bytes are with the operating system, or with the writer of the connection, and it has about UNSENT.

        Raises MuxedStreamReset, MuxedStreamClosed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        left = memoryview(data)
        while left:
            self._check_writable()
            if not self._window:
                await self._writable.wait()
            elif self._connection.unsent >= UNSENT:
                await self._connection.room()
            else:
                size = min(len(left), self._window, LARGEST)
                self._window -= size
                self._send(DATA, size, data=left[:size])
                left = left[size:]
                if left:
                    await trio.lowlevel.checkpoint()  # else nobody has a turn while the operating system takes all of it

    def _check_writable(self) -> None:
        if self._reset:
            raise MuxedStreamReset("the stream was reset")
        if self._closed:
            raise MuxedStreamClosed("the stream is closed")

    async def close(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._closed and not self._reset:
            self._send(WINDOW_UPDATE, 0, FIN)
            self._closed = True
            self.quiet_since = trio.current_time()
            self._move()
            self._forget()

    async def reset(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        self.give_up()

    def give_up(self) -> None:
        """`reset`, at once."""
        known = not self._greeting & SYN
        if known and not self._reset and not (self._closed and self._ended):
            self._send(WINDOW_UPDATE, 0, RST)
        self.lost()

    def leave(self) -> None:
        """After `close`: read no more, and forget it without a word. To what comes on it all the same the answer is a reset."""
        self.lost()

    def _send(self, kind: int, length: int, flags: int = 0, data: bytes | memoryview = b"") -> None:
        flags, self._greeting = flags | self._greeting, 0
        self._connection.send(HEADER.pack(0, kind, flags, self._id, length), data)

    def _move(self) -> None:
        self._readable.ring()
        self._writable.ring()

    def _forget(self) -> None:
        if self.over:
            self._connection.forget(self._id)

    # told by the connection

    def announced(self, size: int) -> None:
        """So many bytes are coming. Raises ProtocolError: more than were allowed."""
        if size > self._unused:
            raise ProtocolError(f"stream {self._id}: {size} bytes, and {self._unused} are allowed")
        self._unused -= size

    def arrived(self, data: bytes) -> None:
        """Bytes."""
        if not self._reset:
            self._data += data
            if self._closed:
                self.quiet_since = trio.current_time()
            self._readable.ring()

    def granted(self, size: int) -> None:
        """The other end takes so many bytes more."""
        if size:
            self._window = min(self._window + size, MOST_GRANTED)
            if self._closed:
                self.quiet_since = trio.current_time()
            self._writable.ring()

    def flagged(self, flags: int) -> None:
        """The flags of a frame, after what it brought."""
        if flags & RST:
            self.lost()
        elif flags & FIN:
            self._ended = True
            self._move()
            self._forget()

    def lost(self) -> None:
        """The other end, or this one, gave the stream up, or the connection is over."""
        self._reset = True
        self._connection.forget(self._id)
        self._move()

    # what py-libp2p asks of it

    def set_deadline(self, ttl: int) -> None:
        """Deadlines are the caller's: there is nothing to set."""

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._connection.get_remote_address()

    async def __aenter__(self) -> Stream:
        return self
