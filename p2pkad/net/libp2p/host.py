"""The armoured host: py-libp2p's host, on which one bad peer is one bad peer.

    new_host(config)       builds it; no socket is opened
    async with host.run()  listens, and serves until the block ends
    Libp2pNetwork(host)    one protocol on it; several are possible, and the application's own protocols beside them

What is mended, and where: inbound slots and IPv6 (transport), QUIC and WebSocket (quic, websocket), the peer store
(peerstore), listening and addresses (listening), dialling (dialer), streams (guard, pipe), identify (identify), the number
of connections (connections), logging (logs), closing (here).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import trio
from libp2p.abc import INetConn, IPeerRouting, ISecureTransport
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.host.observed_addr_manager import ObservedAddrManager
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.network.tag_store import TagStoreNotifee
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.tls.transport import PROTOCOL_ID as TLS
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.tools.anyio_service import background_trio_service
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from p2pkad.config import HostConfig
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.errors import ConfigError, NetworkError
from p2pkad.identity import Identity
from p2pkad.net.libp2p.arrivals import Arrivals
from p2pkad.net.libp2p.backbone import Backbone
from p2pkad.net.libp2p.guard import Dispatcher, Guard
from p2pkad.net.libp2p.listening import announced, expand, missing, parse, probe, unfit
from p2pkad.net.libp2p.logs import keep_quiet
from p2pkad.net.libp2p.mdns import Mdns
from p2pkad.net.libp2p.names import Resolver
from p2pkad.net.libp2p.network import Libp2pNetwork
from p2pkad.net.libp2p.noise import Noise
from p2pkad.net.libp2p.peerstore import BoundedPeerStore
from p2pkad.net.libp2p.quic import UNPROVEN, QuicTransport
from p2pkad.net.libp2p.tls import Tls
from p2pkad.net.libp2p.transport import Place, Transport
from p2pkad.net.libp2p.websocket import WebSocketTransport
from p2pkad.net.libp2p.yamux import Connection, Muxer
from p2pkad.wire.addresses import decode_address

KNOWN_PEERS = 1000
"""Peers that py-libp2p's own tables remember. The node has its own address book."""
DIAL_PEER_TIMEOUT = 30.0
"""Seconds for a dial on behalf of the application, all addresses together."""
INTERFACES_AGE = 30.0
"""Seconds for which the list of the machine's addresses is believed."""
DEAF = (Backbone, TagStoreNotifee)
"""Who has no use for the news that a stream was opened or closed."""
_UNLIMITED = 2**31


def new_host(
    config: HostConfig,
    *,
    router: IPeerRouting | None = None,
    muxer: type[MuxerMultistream] = Muxer,
    resolver: Resolver | None = None,
) -> ArmouredHost:
    """A host for `config`; nothing runs yet. Use it as `async with host.run(): ...`, once.

    router: asked where a peer is whose addresses the host does not know when the application connects to it, or opens a
    stream: a `PeerRouter`. muxer: negotiates the stream multiplexer and makes it; a subclass can put another one in yamux's
    place. resolver: knows the names in addresses; None asks as this machine does.
    Raises ConfigError: an address or the key file in the data directory cannot be used.
    """
    keep_quiet()
    for option, addresses in (("listen", config.listen), ("announce", config.announce)):
        parse(addresses, option)  # before there is a key
    key_pair = _key_pair(config)
    peer = ID.from_pubkey(key_pair.public_key)
    announce = announced(config.announce, PeerId(peer.to_bytes()))
    # Never without a list: py-libp2p would offer plaintext, too.
    offers: dict[str, tuple[TProtocol, ISecureTransport]] = {
        "noise": (NOISE, Noise(key_pair, noise_privkey=create_new_noise_key_pair().private_key)),
        "tls": (TLS, Tls(key_pair)),
    }
    upgrader = TransportUpgrader(dict(offers[name] for name in config.security), {})
    upgrader.muxer_multistream = muxer({TProtocol(YAMUX): Connection})
    swarm = ArmouredSwarm(peer, key_pair, upgrader, config, router)
    return ArmouredHost(swarm, config, announce, resolver)


def _key_pair(config: HostConfig) -> KeyPair:
    identity = config.identity
    if identity is None and config.data_dir is not None:
        identity = Identity.in_directory(config.data_dir)
    return (identity or Identity.generate()).key_pair


class NoAutoConnector(AutoConnector):
    """py-libp2p dials everybody that it heard of, until it has enough. Whom to connect to is the node's decision."""

    async def maybe_connect(self) -> None:
        """Nobody."""


class ArmouredSwarm(Swarm):
    """A swarm whose limits and dials are decided by the backbone."""

    backbone: Backbone

    def __init__(
        self, peer: ID, key_pair: KeyPair, upgrader: TransportUpgrader, config: HostConfig, router: IPeerRouting | None
    ) -> None:
        self._router = router
        door = (self._admit, self._left)
        self.arrivals = Arrivals()
        self._transports = (
            Transport(*door, self.arrivals),
            WebSocketTransport(*door, self.arrivals),
            QuicTransport(key_pair, *door, timeout=config.dial_timeout, unproven=min(UNPROVEN, config.max_connections // 4)),
        )
        # py-libp2p's own limits would refuse dials and close what is in use: they are out of the way, ours hold.
        limits = ConnectionConfig(
            max_connections=_UNLIMITED,
            high_watermark=_UNLIMITED,
            low_watermark=0,
            min_connections=0,
            max_connections_per_peer=_UNLIMITED,
            inbound_upgrade_timeout=config.dial_timeout,
            outbound_upgrade_timeout=config.dial_timeout,
        )
        super().__init__(
            peer,
            BoundedPeerStore(peer, key_pair, KNOWN_PEERS),
            upgrader,
            transports=list(self._transports),
            retry_config=RetryConfig(max_retries=0),  # a refused port would cost 743 ms instead of 1
            connection_config=limits,
        )
        self.auto_connector = NoAutoConnector(self)

    async def _admit(self, place: Place) -> bool:
        return await self.backbone.admit(place)

    def _left(self, place: Place) -> None:
        self.backbone.left(place)

    def abandon(self) -> None:
        """Close the sockets that are left when closing was cut short."""
        for transport in self._transports:
            transport.close_all()

    async def _notify(self, method: str, *args: Any) -> None:
        # A task for each notifee takes as long as half a request, and of streams only an application may want to hear.
        if method not in ("opened_stream", "closed_stream") or any(type(each) not in DEAF for each in self.notifees):
            await super()._notify(method, *args)

    async def notify_disconnected(self, conn: INetConn) -> None:
        # Not as py-libp2p, which remembers for ever who was connected once, in order not to dial them again at once.
        assert isinstance(conn, SwarmConn)
        self.remove_conn(conn)  # one that was over as it began had left before it was entered
        await self._notify("disconnected", conn)

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """For the application's own protocols: a dial as ours, to the addresses in the host's peer store, or the router's."""
        peer = PeerId(peer_id.to_bytes())
        try:
            known = self.peerstore.addrs(peer_id)
        except PeerStoreError:
            known = []
        try:
            with self.backbone.using(peer), trio.fail_after(DIAL_PEER_TIMEOUT):
                down_to = Scope.LOOPBACK  # as what is typed: these are the application's
                if not known and self._router is not None and self.backbone.find(peer) is None:
                    found = await self._router.find_peer(peer_id)
                    known, down_to = [] if found is None else found.addrs, Scope.PUBLIC
                read = [address for each in known if (address := decode_address(each.to_bytes(), peer)) is not None]
                addresses = [replace(each, down_to=min(each.down_to, down_to)) for each in read]
                deadline = trio.current_effective_deadline()
                held = await self.backbone.connect(PeerInfo(peer, tuple(addresses)), deadline)
        except (NetworkError, trio.TooSlowError) as error:
            raise SwarmException(str(error) or "too slow") from error
        return [held.handle]


class ArmouredHost(BasicHost):
    """Made by `new_host`. config: its options. backbone: what the networks on it share."""

    def __init__(
        self, swarm: ArmouredSwarm, config: HostConfig, announce: Sequence[Multiaddr], resolver: Resolver | None = None
    ) -> None:
        self.config = config
        self._swarm = swarm
        self._announce = list(announce)
        self._expanded: tuple[list[Multiaddr], float, list[Multiaddr]] = ([], 0.0, [])
        self._observed = ObservedAddrManager()
        self._started = False
        super().__init__(swarm, addrs_factory=self._own_addresses, disable_identify_address_discovery=True)
        for notifee in list(swarm.notifees):  # BasicHost's own identify: ours runs on every connection
            if type(notifee).__module__ == BasicHost.__module__:
                swarm.remove_notifee(notifee)
        self.backbone = swarm.backbone = Backbone(self, config, self._observed, resolver)
        swarm.set_stream_handler(
            Guard(Dispatcher(self, self.backbone.deadlines), config.max_streams_per_peer, self.backbone.crowded)
        )
        self.backbone.identifier.serve()
        self._mdns = Mdns(self.id, self._bound, self.backbone.found)
        self.backbone.nearby = self._mdns.finds.nearby

    def __repr__(self) -> str:
        return f"<ArmouredHost {self.id!r} {self.backbone!r}>"

    @property
    def id(self) -> PeerId:
        """The host's peer id."""
        return PeerId(self.get_id().to_bytes())

    def open_network(self, *, protocol: str, max_message: int) -> Libp2pNetwork:
        """See `p2pkad.net.base.Host`."""
        return Libp2pNetwork(self, protocol=protocol, max_message=max_message)

    def run(
        self, listen_addrs: Sequence[Multiaddr] | None = None, *, task_status: Any = trio.TASK_STATUS_IGNORED
    ) -> AbstractAsyncContextManager[None]:
        """Listen, and serve until the block ends. Once for a host.

        listen_addrs: instead of `config.listen`. task_status: ignored, as in BasicHost.
        Raises ConfigError when an address cannot be listened on; nothing stays open.
        Leaving the block, in whatever way, closes connections and listeners within `config.close_timeout`.
        """
        return self._run(parse(self.config.listen, "listen") if listen_addrs is None else list(listen_addrs))

    @asynccontextmanager
    async def _run(self, listen: list[Multiaddr]) -> AsyncIterator[None]:
        if self._started:
            raise ConfigError("a host runs once; make a new one with new_host(config)")
        self._started = True
        probe(listen)
        failure: BaseException | None = None
        # The service's nursery would wrap what the block raises in an ExceptionGroup: it is carried around it. Ctrl-C and
        # sys.exit() as well, or they would end a program with a traceback.
        async with self._swarm.arrivals.kept(), background_trio_service(self._swarm):
            try:
                await self._listen(listen)
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.backbone.run)
                    if self.config.mdns:
                        nursery.start_soon(self._mdns.run)
                    try:
                        yield
                    except (Exception, KeyboardInterrupt, SystemExit) as error:
                        failure = error
                    nursery.cancel_scope.cancel()
            except ConfigError as error:
                failure = error
            finally:
                with trio.move_on_after(self.config.close_timeout) as scope:
                    scope.shield = True
                    await self.close()
                self._swarm.abandon()
        if failure is not None:
            raise failure

    async def _listen(self, addresses: list[Multiaddr]) -> None:
        await self._swarm.listen(*addresses)
        lacking = missing(addresses, self.get_transport_addrs())
        if lacking is not None:
            raise unfit(lacking, "the system refused it. Pass --listen /ip4/0.0.0.0/tcp/0")

    async def close(self) -> None:
        """Close listeners and connections. A second call does nothing; leaving `run()` does it, too."""
        if not self._closed:
            # Listeners first: who connects while the others are closed would stay connected to nothing.
            for listener in self._swarm.listeners.values():
                await listener.close()
            await self.backbone.close_all()
        await super().close()

    def _own_addresses(self, candidates: list[Multiaddr]) -> list[Multiaddr]:
        if self._announce:
            return self._announce
        bound, until, expanded = self._expanded
        if bound != candidates or time.monotonic() > until:
            expanded = expand(candidates)
            self._expanded = (list(candidates), time.monotonic() + INTERFACES_AGE, expanded)
        seen = {str(each) for each in expanded}
        return expanded + [each for each in self._observed.addrs() if str(each) not in seen]

    def _bound(self) -> list[Address]:
        """Where it listens, on each interface."""
        found = (decode_address(each.to_bytes(), self.id) for each in expand(self.get_transport_addrs()))
        return [address for address in found if address is not None]

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Not BasicHost's: `Identifier` asks on every connection, in a task that may fail."""
