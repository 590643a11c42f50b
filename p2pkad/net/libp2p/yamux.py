"""yamux, the stream multiplexer above noise and TLS, in the shape that py-libp2p wants of one.

A lookup is many small requests, and a small request is a frame each way. py-libp2p's own multiplexer takes a lock and a task
step for each thing it looks at; here nothing is locked, because nothing waits in between:

    the reader    takes what has arrived, as much as there is, and hands it to the streams
    the writer    sends what has piled up since it last looked, of all streams, in one message
    the watch     asks who has been silent for KEEP_ALIVE whether it is there, and ends the connection if it is not

Writing to a stream waits while the other end has given no window, or while UNSENT bytes wait for the writer. Whoever is
cancelled in it has written some part, never half a frame. What answers a peer by itself is bounded, too: beyond FLOODED bytes
that the peer does not take, nothing more is read of it.

yamux specification, hashicorp/yamux spec.md; libp2p specification, "yamux".
"""

from __future__ import annotations

import logging
import struct
from collections import deque
from types import TracebackType

import trio
from libp2p.abc import IMuxedConn, IMuxedStream, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamReset,
)
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from multiaddr import Multiaddr

from p2pkad.net.libp2p.border import FOREIGN

log = logging.getLogger(__name__)

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
FLOODED = 4 * UNSENT
BACKLOG = 256
"""Streams that a peer has opened and nobody has accepted; beyond them they are reset. As go."""
KEEP_ALIVE = 30.0
"""Seconds of silence after which a ping asks whether the other end is there. As go."""
ANSWER_WITHIN = 10.0
"""Seconds for the answer to it, or anything else. As go."""
FAREWELL = 1.0
"""Seconds for what is left to send when this end closes."""


class ProtocolError(Exception):
    """The other end does not speak yamux."""


class Muxer(MuxerMultistream):
    """Negotiates the multiplexer, as ever, and makes a `Connection`."""

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        return self._annotate_connection(Connection(conn, peer_id), conn, protocol)


class Connection(IMuxedConn):
    """conn: not used by anybody else from now on."""

    def __init__(self, conn: ISecureConn, peer_id: ID) -> None:
        self.peer_id = peer_id
        self.secured_conn = conn
        self.event_started = trio.Event()
        self._is_initiator = conn.is_initiator
        self._next_id = 1 if self._is_initiator else 2
        self.streams: dict[int, Stream] = {}
        """Those that are not over, by their numbers. Others look at it only."""
        self._arrived: deque[Stream] = deque()
        self._arrival = trio.Event()
        self._incoming = b""
        """The begin of a frame's header."""
        self._frame: tuple[Stream | None, int] = (None, 0)
        """Whose DATA frame is under way, and its flags."""
        self._missing = 0
        """Bytes of it that have not come."""
        self._outgoing = bytearray()
        self._sending = False
        self._work = trio.Event()
        self._room = trio.lowlevel.ParkingLot()
        self._heard = 0.0
        self._over = False
        self._hung_up = False
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Connection {self.peer_id} streams={len(self.streams)} unsent={self.unsent} over={self._over}>"

    # its tasks

    async def start(self) -> None:
        """Carry the connection until it is over. Cancelled: it is over, and the other end was not told."""
        self._heard = trio.current_time()
        self.event_started.set()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch)
                    await self._read()
        finally:
            self._end()
            await self._hang_up()

    async def _read(self) -> None:
        try:
            while not self._over:
                self._take(await self.secured_conn.read())
                self._heard = trio.current_time()
                while self.unsent > FLOODED and not self._over:
                    await self._room.park()
        except ProtocolError as error:
            log.debug("%r: %s", self, error)
            await self._say_goodbye(PROTOCOL_ERROR)
        except FOREIGN as error:
            log.debug("%r: %r", self, error)
        except Exception as error:  # a stranger's bytes, in libraries: the connection is lost, and nothing else
            log.debug("%r: what came cannot be read: %r", self, error)
        self._end()

    async def _write(self) -> None:
        try:
            while True:
                while self._outgoing:
                    self._sending = True
                    batch, self._outgoing = self._outgoing, bytearray()
                    await self.secured_conn.write(bytes(batch))
                    self._sending = False
                    if self._room:
                        self._room.unpark_all()
                self._work = trio.Event()
                await self._work.wait()
        except FOREIGN as error:
            log.debug("%r: %r", self, error)
            self._end()

    async def _watch(self) -> None:
        while True:
            await trio.sleep_until(self._heard + KEEP_ALIVE)
            if trio.current_time() < self._heard + KEEP_ALIVE:
                continue
            asked = trio.current_time()
            self.send(HEADER.pack(0, PING, SYN, 0, 0))
            await trio.sleep(ANSWER_WITHIN)
            if self._heard < asked:
                log.debug("%r: silent", self)
                self._end()

    # frames

    @property
    def unsent(self) -> int:
        """Bytes that wait for the writer."""
        return len(self._outgoing)

    def send(self, frame: bytes, data: bytes | memoryview = b"") -> None:
        """Hand a frame to the writer, the header and the rest of it."""
        self._outgoing += frame
        self._outgoing += data
        self._work.set()

    async def room(self) -> None:
        """Wait until fewer than UNSENT bytes wait for the writer. Over: at once."""
        while self.unsent >= UNSENT and not self._over:
            await self._room.park()

    def _take(self, data: bytes) -> None:
        if self._incoming:
            data, self._incoming = self._incoming + data, b""
        at, size = 0, len(data)
        while at < size and not self._over:
            if self._missing:
                part = min(self._missing, size - at)
                self._missing -= part
                self._bytes(data[at : at + part])
                at += part
            elif size - at < HEADER.size:
                self._incoming = data[at:]
                return
            else:
                self._head(*HEADER.unpack_from(data, at))
                at += HEADER.size

    def _head(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version != 0 or kind > GO_AWAY:
            raise ProtocolError(f"a frame of version {version}, type {kind}")
        if kind in (DATA, WINDOW_UPDATE):
            stream = self._opened(stream_id) if flags & SYN else self.streams.get(stream_id)
            if kind == DATA and length:
                if stream is not None:
                    stream.announced(length)
                self._frame, self._missing = (stream, flags), length
                return
            if stream is not None:
                stream.granted(length)
                stream.flagged(flags)
        elif kind == PING:
            if flags & SYN:
                self.send(HEADER.pack(0, PING, ACK, 0, length))
        else:
            self._end()

    def _bytes(self, data: bytes) -> None:
        stream, flags = self._frame
        if stream is not None:
            stream.arrived(data)
            if not self._missing:
                stream.flagged(flags)

    def _opened(self, stream_id: int) -> Stream | None:
        # Those who dial count in odd numbers: two who take each other for the same are of no use to each other.
        if stream_id in self.streams or (stream_id & 1 == 1) is self._is_initiator or stream_id == 0:
            raise ProtocolError(f"stream {stream_id} is not the other end's to open")
        if len(self._arrived) >= BACKLOG:
            self.send(HEADER.pack(0, WINDOW_UPDATE, RST, stream_id, 0))
            return None
        stream = self.streams[stream_id] = Stream(self, stream_id, ACK)
        self._arrived.append(stream)
        self._arrival.set()
        return stream

    def forget(self, stream_id: int) -> None:
        """A stream is done with, in both directions."""
        self.streams.pop(stream_id, None)

    # its end

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        for stream in list(self.streams.values()):
            stream.lost()
        self.streams.clear()
        self._arrival.set()
        self._room.unpark_all()
        self._scope.cancel()

    async def _say_goodbye(self, why: int) -> None:
        # And what was written before: whoever closes in good order has no wish to lose it.
        self.send(HEADER.pack(0, GO_AWAY, 0, 0, why))
        with trio.move_on_after(FAREWELL) as scope:
            scope.shield = True
            while (self._outgoing or self._sending) and not self._over:
                await self._room.park()

    async def _hang_up(self) -> None:
        if self._hung_up:
            return
        self._hung_up = True
        with trio.move_on_after(FAREWELL) as scope:
            scope.shield = True
            try:
                await self.secured_conn.close()
            except FOREIGN as error:
                log.debug("%r: closed already: %r", self, error)

    # what py-libp2p asks of it

    @property
    def is_initiator(self) -> bool:
        return self._is_initiator

    @property
    def is_closed(self) -> bool:
        return self._over

    @property
    def is_established(self) -> bool:
        return not self._over and self.event_started.is_set()

    async def open_stream(self) -> Stream:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._over:
            raise MuxedConnUnavailable("the connection has ended")
        stream = self.streams[self._next_id] = Stream(self, self._next_id, SYN)
        self._next_id += 2
        return stream

    async def accept_stream(self) -> Stream:
        # Also when it is over: what was said before that is worth a hearing.
        while not self._arrived:
            if self._over:
                raise MuxedConnUnavailable("the connection has ended")
            self._arrival = trio.Event()
            await self._arrival.wait()
        return self._arrived.popleft()

    async def close(self) -> None:
        """Send what is left, say goodbye, and be over, within FAREWELL. Never raises for what the other end did."""
        try:
            if self.is_established:
                await self._say_goodbye(NORMAL)
        finally:
            self._end()
            self._arrived.clear()
            await self._hang_up()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the other end."""
        return self.secured_conn.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self.secured_conn.get_connection_type()


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
        "_moved",
        "_reset",
        "_taken",
        "_unused",
        "_window",
        "muxed_conn",
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
        self._moved: trio.Event | None = None

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

    async def read(self, n: int | None = None) -> bytes:
        """At least one byte. Raises MuxedStreamEOF at the end, MuxedStreamReset."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._data:
            if self._reset:
                raise MuxedStreamReset("the stream was reset")
            if self._ended:
                raise MuxedStreamEOF("the stream has ended")
            await self._news()
        if n is None or n < 0 or n >= len(self._data):
            data, self._data = bytes(self._data), bytearray()
        else:
            data = bytes(self._data[:n])
            del self._data[:n]
        self._taken += len(data)
        if self._taken >= WINDOW // 2 and not (self._ended or self._reset):
            self._send(WINDOW_UPDATE, self._taken)
            self._unused += self._taken
            self._taken = 0
        return data

    async def write(self, data: bytes) -> None:
        """Returns when the bytes are with the connection's writer, and it with UNSENT at most.

        Raises MuxedStreamReset, MuxedStreamClosed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        left = memoryview(data)
        while left:
            self._check_writable()
            if not self._window:
                await self._news()
            elif self._connection.unsent >= UNSENT:
                await self._connection.room()
            else:
                size = min(len(left), self._window, LARGEST)
                self._window -= size
                self._send(DATA, size, data=left[:size])
                left = left[size:]

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
            self._forget()

    async def reset(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        known = not self._greeting & SYN
        if known and not self._reset and not (self._closed and self._ended):
            self._send(WINDOW_UPDATE, 0, RST)
        self.lost()

    def _send(self, kind: int, length: int, flags: int = 0, data: bytes | memoryview = b"") -> None:
        flags, self._greeting = flags | self._greeting, 0
        self._connection.send(HEADER.pack(0, kind, flags, self._id, length), data)

    async def _news(self) -> None:
        # Of both kinds: the reader and the writer of a stream seldom wait at the same time.
        if self._moved is None:
            self._moved = trio.Event()
        await self._moved.wait()

    def _move(self) -> None:
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    def _forget(self) -> None:
        if self._closed and self._ended:
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
            self._move()

    def granted(self, size: int) -> None:
        """The other end takes so many bytes more."""
        if size:
            self._window = min(self._window + size, MOST_GRANTED)
            self._move()

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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
