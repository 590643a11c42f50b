"""TCP, with five things mended. WebSocket (`websocket`) stands on it.

- The layers above read each message in several pieces: here that costs one system call.
- A lock, two attempts and three turns of the scheduler stand around each system call. Of a connection one task reads, and as a
  rule one writes: here a read is one turn, or none for whoever is fed (`arrivals`), and a write that finds room none.
- They read on after the end, a hundred times, before they believe it: here the second time is an error. That was more
  than half of what a connection cost.
- py-libp2p's handler of an inbound connection holds its slot until the *host* ends: after 250 connections over its
  lifetime, closed ones included, a node would refuse every further one. Here closing the connection ends its handler.
- The remote address of an IPv6 connection would be unknown.

Inbound connections are also counted here, before the handshake costs anything, and every open socket is known: whoever
is cancelled in the middle of closing a connection, as py-libp2p's tasks are, leaves its socket open.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass

import trio
from libp2p.abc import IRawConnection
from libp2p.custom_types import THandler
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.tcp.tcp import TCP, TCPListener
from multiaddr import Multiaddr

from p2pkad.net.libp2p.arrivals import CHUNK, Arrivals, Take
from p2pkad.net.libp2p.prefixes import public_prefix

NOTHING = memoryview(b"")


@dataclass(slots=True, eq=False)
class Attempt:
    """One address, dialled once. answered: somebody is there; the handshakes are to come."""

    answered: bool = False


ATTEMPT: ContextVar[Attempt] = ContextVar("ATTEMPT")
"""What is dialled in this context. The tasks of the connection inherit it and keep it alive: it refers to nothing else."""


class Place:
    """What an inbound connection has from its admission on. Compared by identity.

    prefix: where it comes from, see `public_prefix`; None when that is not counted.
    """

    __slots__ = ("prefix",)

    def __init__(self, host: str | None) -> None:
        self.prefix = public_prefix(host)


PLACE: ContextVar[Place] = ContextVar("PLACE")
"""That of the inbound connection that shakes hands in this context."""


class Stream(TrioTCPStream):
    """A TCP stream that reads ahead, knows IPv6 addresses, and calls `closed` when this end closes it."""

    def __init__(self, stream: trio.SocketStream, closed: Callable[[Stream], None], arrivals: Arrivals) -> None:
        super().__init__(stream)
        self._closed = closed
        self._arrivals = arrivals
        self._ahead = NOTHING
        self._ended = False
        self._rest = b""
        """What was written and has not left, before anything else."""
        self._writing = False
        self._to_write = trio.lowlevel.ParkingLot()

    async def read(self, n: int | None = None) -> bytes:
        if not self._ahead:
            if self._ended:
                raise ConnectionClosedError("the connection has ended", transport="tcp")
            # Seldom has anything come already: it is waited for first.
            received, socket = b"", self.stream.socket
            try:
                while socket.fileno() >= 0:
                    await trio.lowlevel.wait_readable(socket.fileno())
                    with suppress(BlockingIOError):
                        received = os.read(socket.fileno(), CHUNK)
                        break
            except trio.ClosedResourceError:
                pass  # by this end: the same as the end
            except OSError as error:
                raise ConnectionClosedError(str(error), transport="tcp") from error
            self._ahead, self._ended = memoryview(received), not received
        if n is None or n >= len(self._ahead):
            taken, self._ahead = bytes(self._ahead), NOTHING
        else:
            taken, self._ahead = bytes(self._ahead[:n]), self._ahead[n:]
        return taken

    async def feed(self, take: Take) -> bool:
        """Hand what arrives to `take`, until that wants no more. False: this was the end. Raises as `read`, and as `take`."""
        while self._ahead or not self._arrivals.at_work:
            data = await self.read()
            if not data or not take(data):
                return bool(data)
        if self._ended or self.stream.socket.fileno() < 0:
            return bool(await self.read())
        try:
            more = await self._arrivals.feed(self.stream.socket.fileno(), take)
        except trio.ClosedResourceError:
            more = False  # by this end: the same as the end
        except OSError as error:
            raise ConnectionClosedError(str(error), transport="tcp") from error
        self._ended = not more
        return more

    async def write(self, data: bytes) -> None:
        """Send all of it. Cancelled: a part of it, so that the connection is of no use any more."""
        # A second one waits, and has the next turn: TLS and WebSocket answer some of what they read by themselves, and what TLS
        # has sealed must leave in that order.
        if self._writing:
            await self._to_write.park()  # whoever is woken has the turn
        self._writing = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            data, self._rest = self._rest + data, b""
            await self._send(memoryview(data))
        finally:
            if self._to_write:
                self._to_write.unpark()
            else:
                self._writing = False

    def write_now(self, data: bytes) -> bool:
        """Send what the operating system takes at once, while nobody else writes. False: the next `write` sends the rest.

        Raises nothing: that `write` will.
        """
        sent = 0
        with suppress(OSError):
            sent = os.write(self.stream.socket.fileno(), data)
        self._rest = data[sent:]
        return not self._rest

    async def _send(self, left: memoryview) -> None:
        socket = self.stream.socket
        try:
            while left:
                try:
                    left = left[os.write(socket.fileno(), left) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(socket.fileno())
        except (OSError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(str(error), transport="tcp") from error

    async def close(self) -> None:
        self._arrivals.closing(self.stream.socket.fileno())
        try:
            await super().close()
        finally:
            self._closed(self)

    def abandon(self) -> None:
        """Close the socket, at once and without a word to the peer."""
        self._arrivals.closing(self.stream.socket.fileno())
        self.stream.socket.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        if self._cached_remote_address is None:
            try:
                host, port = self.stream.socket.getpeername()[:2]
            except OSError:
                return None
            # A socket for both families shows IPv4 this way (RFC 4291, 2.5.5.2).
            self._cached_remote_address = (str(host).removeprefix("::ffff:"), int(port))
        return self._cached_remote_address


class Transport(TCP):
    """admit: asked for each inbound connection before its handshake; False closes it. left: told when it is over, however
    far it came. arrivals: reads its sockets."""

    def __init__(self, admit: Callable[[Place], Awaitable[bool]], left: Callable[[Place], None], arrivals: Arrivals) -> None:
        super().__init__()
        self._admit = admit
        self._left = left
        self._arrivals = arrivals
        self._open: set[Stream] = set()

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        raw = await super().dial(maddr)
        attempt = ATTEMPT.get(None)
        if attempt is not None:
            attempt.answered = True
        if isinstance(raw, RawConnection) and isinstance(raw.stream, TrioTCPStream):
            raw.stream = Stream(raw.stream.stream, self._open.discard, self._arrivals)
            self._open.add(raw.stream)
        return raw

    def create_listener(self, handler_function: THandler) -> TCPListener:
        async def handle(accepted: ReadWriteCloser) -> None:
            assert isinstance(accepted, TrioTCPStream)

            def closed(stream: Stream) -> None:
                self._open.discard(stream)
                scope.cancel()

            stream = Stream(accepted.stream, closed, self._arrivals)
            self._open.add(stream)
            remote = stream.get_remote_address()
            place = Place(remote[0] if remote is not None else None)
            PLACE.set(place)  # of this task, which serves nothing else
            with trio.CancelScope() as scope:
                try:
                    if not await self._admit(place):
                        await stream.close()
                        return
                    try:
                        await handler_function(stream)
                    finally:
                        self._left(place)
                finally:
                    # trio closes what it has accepted as soon as this is over, whatever the host thinks of the connection.
                    self._arrivals.closing(accepted.stream.socket.fileno())

        return TCPListener(handle)

    def close_all(self) -> None:
        """Close every socket that is still open, at once and without a word to the peer."""
        for stream in self._open:
            stream.abandon()
        self._open.clear()
