"""yamux, the stream multiplexer above noise and TLS, in the shape that py-libp2p wants of one.

A lookup is many small requests, and a small request is a frame each way. py-libp2p's own multiplexer takes a lock and a task
step for each thing it looks at; here nothing is locked, because nothing waits in between:

    the reader    takes what has arrived, as much as there is, and hands it to the streams; over noise on TCP
                  it sleeps meanwhile
    the writer    sends what has piled up since it last looked, of all streams, in one message; what the operating system
                  takes at once, while nothing waits, has left before

Whether the other end is there is seen by whoever has all connections and calls `look`: a task and a clock for each of them
would be much of what the garbage collector goes through.

Its streams are in `yamux_stream`. What answers a peer by itself is bounded, too: beyond FLOODED bytes that the peer does not
take, nothing more is read of it.

yamux specification, hashicorp/yamux spec.md; libp2p specification, "yamux".
"""

from __future__ import annotations

import logging
from collections import deque
from math import inf

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from multiaddr import Multiaddr

from p2pkad.net.libp2p.bell import Bell
from p2pkad.net.libp2p.border import FOREIGN
from p2pkad.net.libp2p.noise import at_once, feed
from p2pkad.net.libp2p.yamux_stream import (
    ACK,
    DATA,
    GO_AWAY,
    HEADER,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    UNSENT,
    WINDOW_UPDATE,
    ProtocolError,
    Stream,
)

log = logging.getLogger(__name__)

FLOODED = 4 * UNSENT
BACKLOG = 256
"""Streams that a peer has opened and nobody has accepted; beyond them they are reset. As go."""
KEEP_ALIVE = 30.0
"""Seconds of silence after which a ping asks whether the other end is there. As go."""
ANSWER_WITHIN = 10.0
"""Seconds for the answer to it, or anything else. As go."""
WRITE_WITHIN = 30.0
"""Seconds in which a message must leave this machine: the other end takes nothing, whatever it says. go gives it 10, and writes
less at a time."""
HALF_CLOSED = 300.0
"""Seconds of nothing on a stream that this end has closed and the other end has not, and that nobody reads, after which it is
reset: one that never closes its half would stay as long as the connection."""
MOST_UNACKNOWLEDGED = 256
"""Streams opened here on which the other end has said nothing; further ones wait. As go; rust ends a connection at 512."""
LAST_ID = 2**32 - 1
FAREWELL = 1.0
"""Seconds for what is left to send when this end closes."""


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
        self._arrival = Bell()
        self._incoming = b""
        """The begin of a frame's header."""
        self._receiver: Stream | None = None
        """Whose DATA frame is under way; nobody's: of a stream that is over."""
        self._flags = 0
        """Of that frame."""
        self._missing = 0
        """Bytes of it that have not come."""
        self._outgoing = bytearray()
        self._at_once = at_once(conn)
        self._taking = False
        """Whether something that came is looked at: what is answered to it here, pings say, leaves in one message."""
        self._begun = False
        """Whether a part of something is on its way, and the rest waits for the writer."""
        self._sending_since = inf
        self._work = Bell()
        self._room = trio.lowlevel.ParkingLot()
        self._unacknowledged: set[int] = set()
        self._acknowledgement = trio.lowlevel.ParkingLot()
        self._heard = 0.0
        self._asked = inf
        """When it was asked whether it is there; infinite when it need not be, or has been heard since."""
        self._overdue = inf
        """Since when something has been going on that was too long already at the last look."""
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
                    await self._read()
        finally:
            self._end()
            await self._hang_up()

    async def _read(self) -> None:
        try:
            while not self._over:
                await feed(self.secured_conn, self._came)
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
                while self._outgoing or self._begun:
                    batch, self._outgoing, self._begun = self._outgoing, bytearray(), False
                    self._sending_since = trio.current_time()
                    await self.secured_conn.write(bytes(batch))
                    self._sending_since = inf
                    if self._room:
                        self._room.unpark_all()
                await self._work.wait()
        except FOREIGN as error:
            log.debug("%r: %r", self, error)
        except Exception as error:  # of libraries as well: the connection is lost, and nothing else
            log.debug("%r: what there is cannot be sent: %r", self, error)
        self._end()

    def look(self) -> None:
        """See whether the other end is there and takes what is sent. To be called every few seconds.

        Asks who has been silent for KEEP_ALIVE. Ends the connection at the second look that finds it without an answer for
        ANSWER_WITHIN, or the same message on its way for WRITE_WITHIN. Resets streams that have been half closed and quiet for
        HALF_CLOSED. Never raises.
        """
        if self.is_established:
            try:
                self._look(trio.current_time())
            except Exception as error:  # of libraries, as in the tasks: the connection is lost, and nothing else
                log.debug("%r: what there is cannot be sent: %r", self, error)
                self._end()

    def _look(self, now: float) -> None:
        self._give_up_half_closed(now - HALF_CLOSED)
        if self._heard >= self._asked:
            self._asked = inf
        if self._asked == inf and now >= self._heard + KEEP_ALIVE:
            self._asked = now
            self.send(HEADER.pack(0, PING, SYN, 0, 0))
        why, since = "", inf
        if now >= self._sending_since + WRITE_WITHIN:
            why, since = "takes nothing", self._sending_since
        elif now >= self._asked + ANSWER_WITHIN:
            why, since = "silent", self._asked
        # Not at first sight: after a stop of this process, what has come and what can be sent has its turn after this.
        if why and since == self._overdue:
            log.debug("%r: %s", self, why)
            self._end()
        self._overdue = since

    def _give_up_half_closed(self, before: float) -> None:
        for stream in [each for each in self.streams.values() if each.quiet_since <= before and not each.awaited]:
            stream.give_up()

    # frames

    @property
    def unsent(self) -> int:
        """Bytes that wait for the writer, beside the rest of what has begun to leave."""
        return len(self._outgoing)

    @property
    def _leaving(self) -> bool:
        """Whether something waits for the writer, or has not left whole."""
        return bool(self._outgoing) or self._begun or self._sending_since < inf

    def send(self, frame: bytes, data: bytes | memoryview = b"") -> None:
        """Send a frame, the header and the rest of it: at once, or by the writer when others wait for that."""
        if self._at_once is None or self._leaving or self._taking or self._over:
            self._outgoing += frame
            self._outgoing += data
        elif self._at_once.write_now(b"".join((frame, data))):
            return
        else:
            self._begun = True
        self._work.ring()

    async def room(self) -> None:
        """Wait until fewer than UNSENT bytes wait for the writer. Over: at once."""
        while self.unsent >= UNSENT and not self._over:
            await self._room.park()

    def _came(self, data: bytes) -> bool:
        """Take what has come; returns whether more is wanted now."""
        self._taking = True
        try:
            self._take(data)
        finally:
            self._taking = False
        self._heard = trio.current_time()
        return not self._over and self.unsent <= FLOODED

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
            if self._unacknowledged:
                self._acknowledged(stream_id)  # by whatever comes: not everybody sets the flag
            if kind == DATA and length:
                if stream is not None:
                    stream.announced(length)
                elif not flags & (SYN | RST):  # of one that this end has left: whoever still writes to it is told
                    self.send(HEADER.pack(0, WINDOW_UPDATE, RST, stream_id, 0))
                self._receiver, self._flags, self._missing = stream, flags, length
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
        if (stream := self._receiver) is not None:
            stream.arrived(data)
            if not self._missing:
                stream.flagged(self._flags)

    def _opened(self, stream_id: int) -> Stream | None:
        # Those who dial count in odd numbers: two who take each other for the same are of no use to each other.
        if stream_id in self.streams or (stream_id & 1 == 1) is self._is_initiator or stream_id == 0:
            raise ProtocolError(f"stream {stream_id} is not the other end's to open")
        if len(self._arrived) >= BACKLOG:
            self.send(HEADER.pack(0, WINDOW_UPDATE, RST, stream_id, 0))
            return None
        stream = self.streams[stream_id] = Stream(self, stream_id, ACK)
        self._arrived.append(stream)
        self._arrival.ring()
        return stream

    def forget(self, stream_id: int) -> None:
        """A stream is done with, in both directions."""
        self.streams.pop(stream_id, None)
        self._acknowledged(stream_id)

    def _acknowledged(self, stream_id: int) -> None:
        if stream_id in self._unacknowledged:
            self._unacknowledged.remove(stream_id)
            self._acknowledgement.unpark()

    # its end

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        for stream in list(self.streams.values()):
            stream.lost()
        self.streams.clear()
        self._arrival.ring()
        self._acknowledgement.unpark_all()
        self._room.unpark_all()
        self._scope.cancel()

    async def _say_goodbye(self, why: int) -> None:
        # And what was written before: whoever closes in good order has no wish to lose it.
        self.send(HEADER.pack(0, GO_AWAY, 0, 0, why))
        with trio.move_on_after(FAREWELL) as scope:
            scope.shield = True
            while self._leaving and not self._over:
                await self._room.park()

    async def _hang_up(self) -> None:
        if self._hung_up:
            return
        self._hung_up = True
        with trio.move_on_after(FAREWELL) as scope:
            scope.shield = True
            try:
                await self.secured_conn.close()
            except Exception as error:  # of libraries: nothing of it may end the host
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
        while len(self._unacknowledged) >= MOST_UNACKNOWLEDGED and not self._over:
            await self._acknowledgement.park()
        if self._over or self._next_id > LAST_ID:
            raise MuxedConnUnavailable("the connection has ended")
        stream = self.streams[self._next_id] = Stream(self, self._next_id, SYN)
        self._unacknowledged.add(self._next_id)
        self._next_id += 2
        return stream

    async def accept_stream(self) -> Stream:
        # Also when it is over: what was said before that is worth a hearing.
        while not self._arrived:
            if self._over:
                raise MuxedConnUnavailable("the connection has ended")
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
