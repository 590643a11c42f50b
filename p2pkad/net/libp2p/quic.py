"""QUIC on aioquic: sockets, and which connection a datagram belongs to.

py-libp2p's own QUIC transport is not used. It promotes and forgets connections by address, drops bytes that nobody reads in
time, cannot be reached over IPv6, keeps every inbound slot for the life of the host, closes both halves of a stream at once,
and its connections poll. What is left of it when that is mended is aioquic, which is used here directly.

    a dialled connection     has a connected socket of its own: a port where nobody listens says so at once
    inbound connections      share the listener's socket, which is open until the last of them is over
    an inbound handshake     has its place first (`admit`), waits for it as a TCP connection does, and is refused without one
    many handshakes at once  have to show that their address is theirs (RFC 9000, 8.1.2) before anything is spent on them
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable

import trio
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # where aioquic's own examples have it from
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from libp2p.abc import IListener, ITransport
from libp2p.crypto.keys import KeyPair
from libp2p.peer.id import ID
from libp2p.security.tls.certificate import create_cert_template, generate_certificate
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from p2pkad.net.libp2p.quic_connection import IDLE_TIMEOUT, Connection
from p2pkad.net.libp2p.quic_core import WINDOW, Core
from p2pkad.net.libp2p.transport import ATTEMPT, PLACE, Place

log = logging.getLogger(__name__)

ALPN = "libp2p"
MAX_DATAGRAM = 65536
SMALLEST_INITIAL = 1200
"""Bytes of a datagram that may open a connection. RFC 9000, 14.1."""
UNPROVEN = 4
"""Inbound handshakes under way from which on new ones have to prove their address, which costs them a round trip. Anybody can
write any address into a datagram, and such a handshake has its place until it is given up."""
_VERSIONS = [QuicProtocolVersion.VERSION_1]  # what /quic-v1 says

Handler = Callable[[Connection], Awaitable[None]]


class QuicTransport(ITransport):
    """admit, left: see `transport.Transport`. timeout: seconds for an inbound handshake. unproven: see UNPROVEN; fewer where
    there are few connections."""

    def __init__(
        self,
        key_pair: KeyPair,
        admit: Callable[[Place], Awaitable[bool]],
        left: Callable[[Place], None],
        timeout: float,
        unproven: int = UNPROVEN,
    ) -> None:
        self.admit = admit
        self.left = left
        self.timeout = timeout
        self.unproven = unproven
        certificate, key = generate_certificate(key_pair.private_key, create_cert_template())
        self._certificate = x509.load_pem_x509_certificate(certificate.encode())
        self._key = load_pem_private_key(key.encode(), None)
        self._nursery: trio.Nursery | None = None
        self._sockets: set[trio.socket.SocketType] = set()

    def configuration(self, *, is_client: bool) -> QuicConfiguration:
        """aioquic's options for one end. Certificates are checked by `Core.proven_peer`: no authority has signed them."""
        return QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            certificate=self._certificate,
            private_key=self._key,
            verify_mode=ssl.CERT_NONE,
            supported_versions=list(_VERSIONS),
            idle_timeout=IDLE_TIMEOUT,
            max_stream_data=WINDOW,
        )

    def set_background_nursery(self, nursery: trio.Nursery) -> None:
        """Told by the swarm: where connections live."""
        self._nursery = nursery

    def spawn(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        """Start a task that outlives its caller and may not fail. Raises OpenConnectionError when the host does not run."""
        if self._nursery is None:
            raise OpenConnectionError("the host does not run")
        self._nursery.start_soon(_contained, task, *args)

    async def dial(self, maddr: Multiaddr) -> Connection:  # type: ignore[override]  # py-libp2p's own says the same of its own
        """A connection whose other end is who `maddr` says. Raises what the handshake or the system says. The caller brings the
        deadline; cancelled, nothing is left."""
        host, port = quic_endpoint(maddr)
        named = maddr.get_peer_id()
        opened = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.add(opened)
        try:
            await opened.connect((host, port))
            core = Core(configuration=self.configuration(is_client=True))
            connection = Connection(
                core,
                (host, port),
                lambda data, to: opened.send(data),
                expected=ID.from_string(named) if named else None,
                ended=lambda: None,
                routed=lambda connection_id, on: None,
            )
            core.connect((host, port), now=trio.current_time())
            self.spawn(self._carry, opened, connection)
        except BaseException:
            self.close_socket(opened)
            raise
        try:
            await connection.secured()
        except BaseException:
            await connection.close()
            raise
        attempt = ATTEMPT.get(None)
        if attempt is not None:
            attempt.answered = True
        return connection

    async def _carry(self, opened: trio.socket.SocketType, connection: Connection) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, opened, connection)
                await connection.run()
                nursery.cancel_scope.cancel()
        finally:
            self.close_socket(opened)

    async def _receive(self, opened: trio.socket.SocketType, connection: Connection) -> None:
        try:
            while True:
                connection.receive(await opened.recv(MAX_DATAGRAM), connection.get_remote_address())
        except OSError as error:  # nobody listens there, or no longer
            connection.lose(error)

    def create_listener(self, handler_function: Handler) -> Listener:  # type: ignore[override]  # as for `dial`
        return Listener(self, handler_function)

    def open_socket(self, host: str, port: int) -> trio.socket.SocketType:
        """A bound socket, known until `close_socket`. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((host, port))
            bound = trio.socket.from_stdlib_socket(opened)
        except BaseException:
            opened.close()
            raise
        self._sockets.add(bound)
        return bound

    def close_socket(self, opened: trio.socket.SocketType) -> None:
        """Close a socket of this transport. A second time does nothing."""
        opened.close()
        self._sockets.discard(opened)

    def close_all(self) -> None:
        """Close every socket that is still open, at once and without a word to the peer."""
        for each in list(self._sockets):
            self.close_socket(each)

    def can_dial(self, maddr: Multiaddr) -> bool:
        names = [protocol.name for protocol in maddr.protocols()]
        return names[:3] in (["ip4", "udp", "quic-v1"], ["ip6", "udp", "quic-v1"]) and names[3:] in ([], ["p2p"])

    def can_listen(self, maddr: Multiaddr) -> bool:
        return self.can_dial(maddr)

    def protocols(self) -> list[str]:
        return ["quic-v1"]


class Listener(IListener):
    """One socket, and the inbound connections on it."""

    def __init__(self, transport: QuicTransport, handler: Handler) -> None:
        self._transport = transport
        self._handler = handler
        self._socket: trio.socket.SocketType | None = None
        self._configuration = transport.configuration(is_client=False)
        self._retry = QuicRetryTokenHandler()
        self._routes: dict[bytes, Connection] = {}
        self._waiting: set[bytes] = set()  # connection ids of first datagrams whose place is being found
        self._handshakes = 0
        self._connections = 0
        self._accepting = False

    def __repr__(self) -> str:
        return f"<Listener {self.get_addrs()} connections={self._connections} handshakes={self._handshakes}>"

    async def listen(self, maddr: Multiaddr) -> None:
        await trio.lowlevel.checkpoint()
        self._socket = self._transport.open_socket(*quic_endpoint(maddr))
        self._accepting = True
        self._transport.spawn(self._run, self._socket)

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        if self._socket is None or not self._accepting:
            return ()
        host, port = self._socket.getsockname()[:2]
        return (Multiaddr(f"/ip{6 if ':' in host else 4}/{host}/udp/{port}/quic-v1"),)

    async def close(self) -> None:
        """Accept nothing more. The connections that there are go on; with the last of them the socket is closed."""
        await trio.lowlevel.checkpoint()
        self._accepting = False
        self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._socket is not None and not self._accepting and not self._connections:
            self._transport.close_socket(self._socket)

    async def _run(self, opened: trio.socket.SocketType) -> None:
        try:
            while True:
                try:
                    data, sender = await opened.recvfrom(MAX_DATAGRAM)
                except OSError as error:
                    # About one datagram, or about memory; a socket that is closed is another error.
                    log.debug("%r: %r", self, error)
                    await trio.sleep(0.01)
                    continue
                await self._deliver(data, (sender[0], sender[1]))
        except trio.ClosedResourceError:
            pass
        finally:
            self._accepting = False
            self._transport.close_socket(opened)

    async def _deliver(self, data: bytes, sender: tuple[str, int]) -> None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=self._configuration.connection_id_length)
        except ValueError:
            return
        connection = self._routes.get(header.destination_cid)
        if connection is not None:
            connection.receive(data, sender)
        elif self._accepting and len(data) >= SMALLEST_INITIAL and header.destination_cid not in self._waiting:
            await self._greet(header, data, sender)

    async def _greet(self, header: QuicHeader, data: bytes, sender: tuple[str, int]) -> None:
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION or header.version is None:
            return
        if header.version not in _VERSIONS:
            versions = encode_quic_version_negotiation(
                source_cid=header.destination_cid, destination_cid=header.source_cid, supported_versions=list(_VERSIONS)
            )
            await self._send(versions, sender)
        elif header.packet_type == QuicPacketType.INITIAL and not header.token and self._handshakes >= self._transport.unproven:
            await self._send(self._retry_packet(header, sender), sender)
        elif header.packet_type == QuicPacketType.INITIAL:
            try:
                core = self._core(header, sender)
            except ValueError:
                return
            # Here and not in the task: many of them arrive before the first task has begun.
            self._waiting.add(header.destination_cid)
            self._handshakes += 1
            self._connections += 1
            self._transport.spawn(self._serve, core, header.destination_cid, data, sender)

    def _retry_packet(self, header: QuicHeader, sender: tuple[str, int]) -> bytes:
        assert header.version is not None
        source_cid = os.urandom(self._configuration.connection_id_length)
        token = self._retry.create_token(
            address=sender,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source_cid,
            now=trio.current_time(),
        )
        return encode_quic_retry(
            version=header.version,
            source_cid=source_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )

    def _core(self, header: QuicHeader, sender: tuple[str, int]) -> Core:
        # Raises ValueError for a token that is not ours, or too old.
        if not header.token:
            return Core(configuration=self._configuration, original_destination_connection_id=header.destination_cid)
        original = self._retry.validate_token(
            address=sender, destination_cid=header.destination_cid, token=header.token, now=trio.current_time()
        )
        return Core(
            configuration=self._configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=header.destination_cid,
        )

    async def _serve(self, core: Core, first: bytes, data: bytes, sender: tuple[str, int]) -> None:
        place = Place(sender[0])
        PLACE.set(place)  # of this task, which serves nothing else
        shaking = True
        scope = trio.CancelScope()
        connection = Connection(
            core,
            sender,
            self._send,
            expected=None,
            ended=scope.cancel,
            routed=lambda connection_id, on: self._route(connection, connection_id, on=on),
        )
        try:
            try:
                admitted = await self._transport.admit(place)
            finally:
                self._waiting.discard(first)
            if not admitted:
                await connection.refuse(data)
                return
            try:
                with scope:
                    for connection_id in (first, core.host_cid):
                        self._route(connection, connection_id, on=True)
                    connection.receive(data, sender)
                    self._transport.spawn(connection.run)
                    with trio.fail_after(self._transport.timeout):
                        await connection.secured()
                    self._handshakes -= 1
                    shaking = False
                    await self._handler(connection)
            finally:
                self._transport.left(place)
        except Exception as error:  # a stranger's handshake fails in many ways
            log.debug("%r: %r", connection, error)
        finally:
            self._handshakes -= shaking
            try:
                await connection.close()
            finally:
                for connection_id in [each for each, routed in self._routes.items() if routed is connection]:
                    del self._routes[connection_id]
                self._connections -= 1
                self._close_when_idle()

    def _route(self, connection: Connection, connection_id: bytes, *, on: bool) -> None:
        if on:
            self._routes[connection_id] = connection
        elif self._routes.get(connection_id) is connection:
            del self._routes[connection_id]

    async def _send(self, data: bytes, to: tuple[str, int]) -> None:
        assert self._socket is not None
        try:
            await self._socket.sendto(data, to)
        except OSError as error:
            # Whoever asked may have said port 0; a firewall, an interface that is down. It is as if it were lost on the way:
            # what matters is sent again, and nobody else is concerned.
            log.debug("%r: to %s: %r", self, to, error)


async def _contained(task: Callable[..., Awaitable[None]], *args: object) -> None:
    # The nursery is the swarm's: whatever fails in it would end the host.
    try:
        await task(*args)
    except Exception:
        log.exception("a task of the QUIC transport failed")


def quic_endpoint(maddr: Multiaddr) -> tuple[str, int]:
    """Host and port of an address that `QuicTransport` can dial."""
    family = "ip6" if maddr.protocols()[0].name == "ip6" else "ip4"
    host, port = maddr.value_for_protocol(family), maddr.value_for_protocol("udp")
    assert host is not None
    assert port is not None
    return host, int(port)
