"""WebSocket on our own TCP: the same sockets, the same admission, the same end, with wsproto in between.

py-libp2p's own WebSocket transport is not used: it does not know remote addresses, keeps every inbound slot for the life of
the host, and has no deadline for who connects and says nothing. What carries libp2p over a WebSocket is one HTTP upgrade and
binary messages, whose borders mean nothing (RFC 6455; multiaddr /ws). /wss is not there: that needs a certificate for a name.
"""

from __future__ import annotations

import trio
from libp2p.abc import IRawConnection
from libp2p.custom_types import THandler
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCPListener
from multiaddr import Multiaddr
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from p2pkad.net.libp2p.ids import RemoteWebSocket
from p2pkad.net.libp2p.transport import Stream, Transport

UPGRADE_TIMEOUT = 5.0
"""Seconds for the HTTP upgrade of an inbound connection. Outbound it is a part of the dial."""
MAX_UPGRADE = 16 * 1024
"""Bytes of an HTTP request or answer. As most servers."""
FAREWELL = 1.0
"""Seconds for the frame that says that this end closes."""
_WS = Multiaddr("/ws")


class WebSocketTransport(Transport):
    """Plain WebSocket, /ws."""

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        raw = await super().dial(maddr)
        assert isinstance(raw, RawConnection)
        assert isinstance(raw.stream, Stream)
        try:
            raw.stream = await connect(raw.stream)
        except BaseException:
            await raw.stream.close()
            raise
        return raw

    def create_listener(self, handler_function: THandler) -> TCPListener:
        async def upgrade(stream: ReadWriteCloser) -> None:
            assert isinstance(stream, Stream)
            try:
                with trio.fail_after(UPGRADE_TIMEOUT):
                    upgraded = await accept(stream)
            except (ConnectionClosedError, OpenConnectionError, trio.TooSlowError):
                await stream.close()
                return
            await handler_function(upgraded)

        return WebSocketListener(super().create_listener(upgrade).handler)

    def can_dial(self, maddr: Multiaddr) -> bool:
        names = [protocol.name for protocol in maddr.protocols()]
        return names[1:3] == ["tcp", "ws"] and names[3:] in ([], ["p2p"])

    def protocols(self) -> list[str]:
        return ["ws"]


class WebSocketListener(TCPListener):
    """Says of its addresses that they are /ws."""

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        return tuple(address.encapsulate(_WS) for address in super().get_addrs())


class WebSocket(ReadWriteCloser):
    """The bytes of a WebSocket, both ways; it behaves as the `Stream` below it. protocol: past its upgrade."""

    def __init__(self, stream: Stream, protocol: WSConnection) -> None:
        self._stream = stream
        self._protocol = protocol
        self._ahead = bytearray()
        self._ended = False
        self._told = False

    async def read(self, n: int | None = None) -> bytes:
        while not self._ahead and not self._ended:
            await self._take(_events(self._protocol))
            if not self._ahead and not self._ended:
                _feed(self._protocol, await self._stream.read())
        if not self._ahead:
            if self._told:
                raise ConnectionClosedError("the connection has ended", transport="websocket")
            self._told = True
            return b""
        size = len(self._ahead) if n is None else n
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        return data

    async def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case BytesMessage():
                    self._ahead += event.data
                case Ping():
                    await self._stream.write(self._protocol.send(event.response()))
                case CloseConnection() | TextMessage():
                    self._ended = True
                case _:
                    pass

    async def write(self, data: bytes) -> None:
        try:
            frame = self._protocol.send(BytesMessage(bytes(data)))
        except ProtocolError as error:
            raise ConnectionClosedError("the connection has ended", transport="websocket") from error
        await self._stream.write(frame)

    async def close(self) -> None:
        try:
            with trio.move_on_after(FAREWELL):
                await self._stream.write(self._protocol.send(CloseConnection(code=1000)))
        except (ProtocolError, ConnectionClosedError):
            pass  # the other end was quicker
        finally:
            await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        known = self._stream.get_remote_address()
        return None if known is None else RemoteWebSocket(known)


async def connect(stream: Stream) -> WebSocket:
    """Ask for the upgrade. Raises ConnectionClosedError, OpenConnectionError. The caller brings the deadline, and closes."""
    protocol = WSConnection(ConnectionType.CLIENT)
    host, port = stream.get_remote_address() or ("localhost", 80)
    await stream.write(protocol.send(Request(host=f"[{host}]:{port}" if ":" in host else f"{host}:{port}", target="/")))
    match await _first_event(stream, protocol):
        case AcceptConnection():
            return WebSocket(stream, protocol)
        case RejectConnection() as refusal:
            raise OpenConnectionError(f"the WebSocket was refused with status {refusal.status_code}")
        case other:
            raise OpenConnectionError(f"{type(other).__name__} instead of an answer to the upgrade")


async def accept(stream: Stream) -> WebSocket:
    """Answer a request for an upgrade. Raises ConnectionClosedError, OpenConnectionError. The caller brings the deadline, and
    closes."""
    protocol = WSConnection(ConnectionType.SERVER)
    match await _first_event(stream, protocol):
        case Request():
            await stream.write(protocol.send(AcceptConnection()))
            return WebSocket(stream, protocol)
        case other:
            raise OpenConnectionError(f"{type(other).__name__} instead of a request for an upgrade")


async def _first_event(stream: Stream, protocol: WSConnection) -> Event:
    received = 0
    while not (events := _events(protocol, most=1)):
        data = await stream.read()
        received += len(data)
        if not data or received > MAX_UPGRADE:
            raise ConnectionClosedError("it ended during the upgrade", transport="websocket")
        _feed(protocol, data)
    return events[0]


def _feed(protocol: WSConnection, data: bytes) -> None:
    try:
        protocol.receive_data(data or None)
    except Exception as error:  # a stranger's bytes, read by two libraries
        raise ConnectionClosedError("what came is no WebSocket", transport="websocket") from error


def _events(protocol: WSConnection, most: int | None = None) -> list[Event]:
    events: list[Event] = []
    try:
        for event in protocol.events():
            if not isinstance(event, RejectData):
                events.append(event)
            if len(events) == most:
                break
    except Exception as error:  # as in `_feed`
        raise ConnectionClosedError("what came is no WebSocket", transport="websocket") from error
    return events
