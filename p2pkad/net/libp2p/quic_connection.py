"""One QUIC connection: aioquic's state machine on trio's time, in the shape that py-libp2p wants of a multiplexer.

    receive()            a datagram came in
    run()                sends what there is to send, wakes when a timer is due, ends with the connection
    secured()            waits for the handshake; from then on `peer_id` is proven
    open_stream, accept_stream, close     as of every multiplexed connection

Its streams are in `quic_stream`. How much a peer may write is up to `quic_core`.

RFC 9000; libp2p specification, "QUIC".
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable

import trio
from aioquic.quic import events
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from libp2p.abc import IMuxedConn
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from libp2p.transport.quic.aioquic_compat import stream_send_buffer_size
from multiaddr import Multiaddr

from p2pkad.net.libp2p.ids import RemoteQuic
from p2pkad.net.libp2p.quic_core import Core
from p2pkad.net.libp2p.quic_stream import Stream

log = logging.getLogger(__name__)

KEEP_ALIVE = 15.0
"""Seconds of silence after which a ping asks whether the other end is there. As go."""
IDLE_TIMEOUT = 30.0
"""Seconds of silence that end a connection. As go."""
FAREWELL = 1.0
"""Seconds for the datagram that says that this end closes."""
BAD_CERTIFICATE = QuicErrorCode.CRYPTO_ERROR + 42  # RFC 8446, 6: the alert of that name


class Connection(IMuxedConn):
    """core: not used by anybody else. send: hands a datagram for an address to the system. expected: who has to be there.

    ended: told once, when nothing comes or goes any more. routed: told which connection ids its datagrams have, from now on or
    no more.
    """

    def __init__(
        self,
        core: Core,
        remote: tuple[str, int],
        send: Callable[[bytes, tuple[str, int]], Awaitable[object]],
        *,
        expected: ID | None,
        ended: Callable[[], None],
        routed: Callable[[bytes, bool], None],
    ) -> None:
        core.unread = self._unread
        self._core = core
        self._remote = RemoteQuic(remote)
        self._send = send
        self._expected = expected
        self._ended = ended
        self._routed = routed
        self._is_initiator = core.configuration.is_client
        self._streams: dict[int, Stream] = {}
        self._arrived: deque[Stream] = deque()
        self._seen: set[int] = set()
        self._all_seen_below = 1 if self._is_initiator else 0  # RFC 9000, 2.1: the other end's bidirectional streams
        self._arrival = trio.Event()
        self._handshake = trio.Event()
        self._moved = trio.Event()
        self._acknowledged = trio.Event()
        self._ping_at = trio.current_time() + KEEP_ALIVE
        self._over = False
        self._failure: Exception | None = None
        self._scope = trio.CancelScope()
        self.event_started = trio.Event()

    def __repr__(self) -> str:
        return f"<Connection {self._remote[0]}:{self._remote[1]} streams={len(self._streams)} over={self._over}>"

    # datagrams

    async def run(self) -> None:
        """Carry the connection until it is over. Cancelled: it is over, and the other end was not told."""
        try:
            with self._scope:
                while not self._over:
                    self._moved = trio.Event()
                    why = self._core.ending()  # before: the datagram that tells the other end leaves as well
                    await self._flush()
                    if why is not None:
                        self.lose(why)
                        break
                    await self._rest()
        except (OSError, trio.ClosedResourceError) as error:
            self.lose(error)
        finally:
            self._end()

    def receive(self, data: bytes, sender: tuple[str, int]) -> None:
        """Take a datagram in, whatever it is."""
        if self._over:
            return
        now = trio.current_time()
        try:
            self._core.receive_datagram(data, sender, now=now)
        except Exception as error:  # a stranger's bytes, in a library: the connection is lost, and nothing else
            log.debug("%r: %r", self, error)
            self.lose(ConnectionClosedError("what came cannot be read", transport="quic"))
            return
        self._ping_at = now + KEEP_ALIVE
        self._take_events()
        self.progress()
        self.wake()

    def wake(self) -> None:
        """There may be something to send."""
        self._moved.set()

    def progress(self) -> None:
        """Bytes may have been acknowledged, or need no acknowledgement any more."""
        self._acknowledged.set()
        self._acknowledged = trio.Event()

    async def progressed(self) -> None:
        """Wait for `progress`."""
        await self._acknowledged.wait()

    def lose(self, error: Exception) -> None:
        """The connection is over, and this is why."""
        self._failure = self._failure or error
        self._end()

    async def _flush(self) -> None:
        datagrams = self._core.datagrams_to_send(now=trio.current_time())
        self._take_events()  # before they leave: the answer may come under a connection id that they bring
        for data, to in datagrams:  # where the peer is now: behind a router its port may change
            await self._send(data, to)

    async def _rest(self) -> None:
        timer = self._core.get_timer()
        with trio.move_on_at(self._ping_at if timer is None else min(timer, self._ping_at)):
            await self._moved.wait()
            return
        now = trio.current_time()
        if timer is not None and now >= timer:
            self._core.handle_timer(now=now)
        if now >= self._ping_at:
            self._ping_at = now + KEEP_ALIVE
            if self._handshake.is_set():
                self._core.send_ping(0)

    def _take_events(self) -> None:
        while (event := self._core.next_event()) is not None:
            match event:
                case events.HandshakeCompleted():
                    self._prove()
                case events.StreamDataReceived():
                    stream = self._stream(event.stream_id)
                    if stream is not None:
                        stream.arrived(event.data, end=event.end_stream)
                case events.StreamReset():
                    stream = self._stream(event.stream_id)
                    if stream is not None:
                        self._core.reset_stream(event.stream_id, 0)  # a stream that is reset is reset both ways
                        stream.was_reset()
                case events.StopSendingReceived():
                    stream = self._stream(event.stream_id)
                    if stream is not None:
                        stream.was_stopped()
                case events.ConnectionIdIssued():
                    self._routed(event.connection_id, True)
                case events.ConnectionIdRetired():
                    self._routed(event.connection_id, False)
                case _:  # its end is seen in `ending`; nothing else is of interest
                    pass

    def _prove(self) -> None:
        try:
            peer = self._core.proven_peer()
            if self._expected is not None and peer != self._expected:
                raise HandshakeFailure(f"Peer ID mismatch: {peer}")
        except HandshakeFailure as error:
            self._failure = error
            self._core.close(error_code=BAD_CERTIFICATE, frame_type=QuicFrameType.CRYPTO)
            return
        self.peer_id = peer
        self._handshake.set()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._failure = self._failure or ConnectionClosedError("the connection has ended", transport="quic")
        for stream in list(self._streams.values()):
            stream.was_reset()
        self._streams.clear()
        self.progress()
        self._arrival.set()
        self._handshake.set()
        self._scope.cancel()
        self._ended()

    # streams

    def _stream(self, stream_id: int) -> Stream | None:
        known = self._streams.get(stream_id)
        # One-way streams are no part of libp2p; what comes on a stream that is done with is of no interest.
        if known is not None or stream_id & 2 or (stream_id & 1 == 0) is self._is_initiator or not self._is_new(stream_id):
            return known
        stream = self._streams[stream_id] = Stream(self, stream_id)
        self._arrived.append(stream)
        self._arrival.set()
        return stream

    def _is_new(self, stream_id: int) -> bool:
        # They arrive in any order, and a connection lives for months: what is remembered is what arrived ahead.
        if stream_id < self._all_seen_below or stream_id in self._seen:
            return False
        self._seen.add(stream_id)
        while self._all_seen_below in self._seen:
            self._seen.remove(self._all_seen_below)
            self._all_seen_below += 4
        return True

    def _unread(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.unread

    def unsent(self, stream_id: int) -> int:
        """Bytes of a stream that the other end has not acknowledged."""
        return stream_send_buffer_size(self._core, stream_id)

    def send_stream(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """Write to a stream, and end it if that is all."""
        self._core.send_stream_data(stream_id, data, end_stream=end)
        self.wake()

    def give_up_stream(self, stream_id: int, *, writing: bool, reading: bool) -> None:
        """Give a stream up. writing: what the other end has not acknowledged, too. reading: its end has not arrived."""
        if writing:
            self._core.reset_stream(stream_id, 0)
        if reading:
            self._core.stop_stream(stream_id, 0)
        self.wake()

    def forget(self, stream_id: int) -> None:
        """A stream is done with, in both directions."""
        self._streams.pop(stream_id, None)

    # what py-libp2p asks of it

    @property
    def is_initiator(self) -> bool:
        return self._is_initiator

    @property
    def is_closed(self) -> bool:
        return self._over

    @property
    def is_established(self) -> bool:
        return not self._over and self._handshake.is_set()

    async def secured(self) -> None:
        """Wait for the handshake. Raises what it failed with. The caller brings the deadline."""
        await self._handshake.wait()
        if self._over:
            assert self._failure is not None
            raise self._failure

    async def start(self) -> None:
        self.event_started.set()

    async def open_stream(self) -> Stream:
        await trio.lowlevel.checkpoint()
        if self._over:
            raise MuxedConnUnavailable("the connection has ended")
        stream_id = self._core.get_next_available_stream_id()
        self._core.send_stream_data(stream_id, b"")  # takes the number
        stream = self._streams[stream_id] = Stream(self, stream_id)
        return stream

    async def accept_stream(self) -> Stream:
        while not self._arrived:
            if self._over:
                raise MuxedConnUnavailable("the connection has ended")
            self._arrival = trio.Event()
            await self._arrival.wait()
        return self._arrived.popleft()

    async def close(self) -> None:
        """Say that this end closes, and be over. Never raises for what the other end did."""
        if self._over:
            return
        try:
            self._core.close()
            with trio.move_on_after(FAREWELL) as scope:
                scope.shield = True
                await self._flush()
        except (OSError, trio.ClosedResourceError) as error:
            log.debug("%r: no farewell: %r", self, error)
        finally:
            self._end()

    async def refuse(self, data: bytes) -> None:
        """Answer its first datagram with a refusal, and be over."""
        self.receive(data, self._remote)
        # Of a frame, as a transport's error: aioquic tells an application's in a handshake without its code.
        self._core.close(error_code=QuicErrorCode.CONNECTION_REFUSED, frame_type=QuicFrameType.PADDING)
        await self.close()

    def get_remote_address(self) -> tuple[str, int]:
        """Host and port of the other end."""
        return self._remote

    def get_transport_addresses(self) -> list[Multiaddr]:
        host, port = self._remote
        return [Multiaddr(f"/ip{6 if ':' in host else 4}/{host.partition('%')[0]}/udp/{port}/quic-v1")]

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.DIRECT
