"""What all the networks on one host share: its connections, the dialer, identify, and the tasks behind them.

A `Libp2pNetwork` serves one protocol; it comes and goes, and several live side by side. What belongs to the host as a
whole is here, once. It learns of connections from py-libp2p's notifications, which may come late: "disconnected" follows
up to 200 ms after the fact, and after the "connected" of the connection that replaced it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import StreamHandlerFn
from libp2p.host.basic_host import BasicHost
from libp2p.host.observed_addr_manager import ObservedAddrManager
from libp2p.host.ping import ID as PING
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify_push.identify_push import ID_PUSH as PUSH
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.swarm import Swarm
from libp2p.rcmgr import Direction
from multiaddr import Multiaddr
from multiaddr.protocols import P_P2P

from p2pkad.config import HostConfig
from p2pkad.core.peers import Address, PeerDescription, PeerId, PeerInfo
from p2pkad.core.tally import Tally
from p2pkad.errors import ConfigError, LocalLimit, NodeClosed, PeerBusy
from p2pkad.events import HostFault, Limit
from p2pkad.net.base import Usefulness
from p2pkad.net.connections import IDLE, Connections, Held
from p2pkad.net.libp2p.deadlines import Deadlines
from p2pkad.net.libp2p.dialer import Dialer
from p2pkad.net.libp2p.identify import Identifier
from p2pkad.net.libp2p.ids import peer_of, remote_address
from p2pkad.net.libp2p.names import Resolver, SystemResolver
from p2pkad.net.libp2p.prefixes import Prefixes
from p2pkad.net.libp2p.streams import alive
from p2pkad.net.libp2p.transport import PLACE, Place
from p2pkad.net.libp2p.watcher import Watcher
from p2pkad.net.libp2p.yamux import Connection

log = logging.getLogger(__name__)

HOUSEKEEPING = frozenset({IDENTIFY, PUSH, PING})
"""Protocols that say nothing about the use of a connection."""
PATIENCE = 2.0
"""Seconds that an inbound connection waits for its place when all connections are in use. Peers give a dial 5 and more, and
the handshake is to come."""
MAX_QUEUED = 32
"""Inbound connections that wait so; beyond them they are closed."""
SWEEP_INTERVAL = 5.0
"""Seconds between looks at connections, idle streams and own addresses."""


class Backbone(INotifee):
    """observed: where peers see this host. resolver: knows names; None asks as this machine does. The options are those of
    `HostConfig`. faults: what is open for want of armour."""

    faults: tuple[HostFault, ...] = ()
    nearby: Callable[[], Iterable[PeerInfo]] = staticmethod(tuple)
    """Who was found on the local network lately."""

    def __init__(
        self, host: BasicHost, config: HostConfig, observed: ObservedAddrManager, resolver: Resolver | None = None
    ) -> None:
        swarm = host.get_network()
        assert isinstance(swarm, Swarm)
        self.host = host
        self.config = config
        self._swarm = swarm
        self._close_timeout = config.close_timeout
        self._observed = observed
        self._own_addresses: list[Multiaddr] = []
        self._nursery: trio.Nursery | None = None
        self._watchers: list[Watcher] = []
        self._news: dict[PeerId, PeerDescription] = {}
        self._waiting = trio.lowlevel.ParkingLot()
        self._short_of_room = Tally()
        self._door = trio.Lock()
        self._queued = 0
        self._handshakes: set[object] = set()
        self._prefixes = Prefixes(config.max_connections_per_prefix)
        self.connections: Connections[SwarmConn] = Connections(
            config.max_connections, config.connection_reserve, self._usefulness, self._busy
        )
        self.dialer = Dialer(
            swarm,
            config,
            resolver or SystemResolver(),
            resolver or SystemResolver(),
            self.spawn,
            self._close_quietly,
            self.freed,
        )
        self.identifier = Identifier(host, observed, self.identified, self._told)
        self.deadlines = Deadlines()
        swarm.register_notifee(self)

    def __repr__(self) -> str:
        return f"<Backbone {self.connections!r} dialling={self.dialer.pending} networks={len(self._watchers)}>"

    # tasks

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Live as long as the host does. Cancelled by it."""
        async with self.deadlines.kept(), trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await self._keep_sweeping()
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    async def _keep_sweeping(self) -> None:
        self._own_addresses = self.host.get_addrs()  # now that it listens
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            await self._contained(self._sweep)

    async def _sweep(self) -> None:
        for connection in self._swarm.get_connections():
            if isinstance(connection.muxed_conn, Connection):
                connection.muxed_conn.look()
        self._trim()
        for watcher in list(self._watchers):
            watcher.swept(trio.current_time())
        before, self._own_addresses = self._own_addresses, self.host.get_addrs()
        if self._own_addresses != before:
            for watcher in list(self._watchers):
                watcher.own_addresses_changed()

    @property
    def running(self) -> bool:
        """Whether the host runs."""
        return self._nursery is not None

    def spawn(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that outlives its caller and may not fail. Raises NodeClosed when the host does not run."""
        if self._nursery is None:
            raise NodeClosed
        self._nursery.start_soon(self._contained, task, *args)

    def later(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do this in the background, if there is one left: what ends with the host anyway need not be done after it."""
        if self._nursery is not None:
            self._nursery.start_soon(self._contained, action)

    async def _contained(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        # Nothing that a peer causes may end a task that outlives its stream: this nursery is all of them.
        try:
            await task(*args)
        except Exception:
            log.exception("a background task failed")

    # watchers

    def watch(self, watcher: Watcher) -> None:
        """Tell this network what happens. Raises ConfigError: there is one of the same protocol on this host."""
        if any(watcher.protocol == each.protocol for each in self._watchers):
            raise ConfigError(f"protocol={watcher.protocol!r}: another service on this host has it; give this one its own")
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it nothing more."""
        self._watchers.remove(watcher)

    def bounded(self, handler: StreamHandlerFn) -> StreamHandlerFn:
        """A network's handler of inbound streams, so that one peer cannot have any number of them. Here the host sees to it."""
        return handler

    def _usefulness(self, peer: PeerId) -> Usefulness:
        return max((watcher.usefulness(peer) for watcher in self._watchers), default=Usefulness.NONE)

    def limited(self, limit: Limit, peer: PeerId | None) -> None:
        """Tell that a limit of this host turned somebody away."""
        for watcher in list(self._watchers):
            watcher.limited(limit, peer)

    def found(self, info: PeerInfo) -> None:
        """Tell that a peer announced itself on the local network."""
        for watcher in list(self._watchers):
            watcher.found(info)

    def crowded(self, peer: PeerId) -> None:
        """Tell that a peer wanted more streams than it may have."""
        self.limited("streams_per_peer", peer)

    def identified(self, peer: PeerId) -> PeerDescription | None:
        """What a connected peer said of itself last."""
        return self._news.get(peer)

    def _told(self, peer: PeerId, news: PeerDescription) -> None:
        if self.connections.of(peer):
            self._news[peer] = news
            for watcher in list(self._watchers):
                watcher.identified(peer, news)

    async def push_identify(self) -> None:
        """Tell every connected peer what this host speaks now; returns when they know, or did not listen."""
        async with trio.open_nursery() as nursery:
            for peer in self.connections.peers():
                held = self.find(peer)
                if held is not None:
                    nursery.start_soon(self._contained, self.identifier.push, held)

    def _busy(self, connection: SwarmConn) -> bool:
        # Streams of other protocols, the application's, are nothing that we may cut off. A stream without a protocol is
        # still being negotiated: that is no reason to keep anybody.
        ours = {*HOUSEKEEPING, *(watcher.protocol for watcher in self._watchers), None}
        return any(stream.get_protocol() not in ours for stream in connection.streams)

    # connections

    def addresses(self) -> list[Multiaddr]:
        """Where the host can be reached, without its id."""
        return [each.decapsulate_code(P_P2P) for each in self.host.get_addrs()]

    def find(self, peer: PeerId) -> Held[SwarmConn] | None:
        """The connection that requests to this peer use: the oldest that is alive."""
        for held in self.connections.of(peer):
            if alive(held.handle):
                return held
        return None

    def holding(self, connection: SwarmConn) -> Held[SwarmConn] | None:
        """What is known of an open connection."""
        same = self.connections.of(peer_of(connection.muxed_conn))
        return next((held for held in same if held.handle is connection), None)

    async def connect(self, peer: PeerInfo, deadline: float) -> Held[SwarmConn]:
        """The connection to a peer, dialled where there is none. The caller ends it at the deadline.

        Raises PeerUnreachable, PeerBusy, LocalLimit, NodeClosed.
        """
        if self.find(peer.id) is None:
            await self._dial(peer, deadline)
        held = self.find(peer.id)
        if held is None:
            raise PeerBusy(peer.id, [("", "it closed the connection at once")])
        return held

    def waits_for_room(self, peer: PeerId) -> bool:
        """Whether a peer is to be dialled and there is no room for that, or it is dialled and had to wait for room here, or may
        have none there."""
        return peer in self._short_of_room or self.dialer.is_answered(peer)

    async def _dial(self, peer: PeerInfo, deadline: float) -> None:
        if self.dialer.dials(peer.id) or self._may_dial():
            await self.dialer.dial(peer)
            return
        # For as long as the dial takes, too: only with it does the peer get its chance to answer.
        with self._short_of_room.during(peer.id):
            await self._room_to_dial(peer.id, deadline)
            if self.find(peer.id) is None:
                await self.dialer.dial(peer)

    async def _room_to_dial(self, peer: PeerId, deadline: float) -> None:
        # Half of the time is for the dial and what it is for.
        patience = (deadline - trio.current_time()) / 2
        with trio.move_on_after(max(0.0, patience)):
            while self.find(peer) is None and not self.dialer.dials(peer) and not self._may_dial():
                await self._moment()
            return
        self.limited("connections", peer)
        raise LocalLimit("connections", self.connections.limit)

    def _may_dial(self) -> bool:
        self._forget_the_dead()
        return self.dialer.pending < self.connections.most_dials and self._make_room()

    def _may_admit(self) -> bool:
        coming = len(self._handshakes) + 1
        if coming > self.connections.most_handshakes:
            return False
        self._forget_the_dead()
        for held, why in self.connections.make_room_for_others(coming, trio.current_time()):
            self._let_go(held, why)
        return self.connections.inbound + coming <= self.connections.most_of_others and self._make_room()

    def _forget_the_dead(self) -> None:
        # Those that have ended take no place, although that is told later: nobody has to go in their stead.
        for held in [held for held in self.connections if not alive(held.handle)]:
            self._remove(held.handle)

    def _make_room(self) -> bool:
        # What is being dialled or shakes hands has its place already.
        wanted = self.dialer.pending + len(self._handshakes) + 1
        for held, why in self.connections.make_room(wanted, trio.current_time()):
            self._let_go(held, why)
        return len(self.connections) + wanted <= self.connections.limit

    async def _moment(self) -> None:
        # Until something ends; or, because connections become idle by the mere passing of time, for a fraction of that.
        with trio.move_on_after(IDLE / 5):
            await self._waiting.park()

    async def admit(self, place: Place) -> bool:
        """Whether one more inbound connection is welcome; then `left` is due. Where all others are in use it waits a moment,
        first come, first served: nothing has been spent on it so far."""
        if not self._prefixes.enter(place.prefix):
            self.limited("connections_per_prefix", None)
            return False
        welcome = False
        try:
            welcome = await self._admit(place)
        finally:
            if not welcome:
                self._prefixes.leave(place.prefix)
        if not welcome:
            self.limited("connections", None)
        return welcome

    async def _admit(self, place: Place) -> bool:
        if self._queued >= MAX_QUEUED:
            return False
        self._queued += 1
        try:
            with trio.move_on_after(PATIENCE):
                async with self._door:
                    while not self._may_admit():
                        await self._moment()
                    self._handshakes.add(place)
                return True
            return False
        finally:
            self._queued -= 1

    def left(self, place: Place) -> None:
        """An inbound connection that was admitted is over, or never came to be."""
        self._handshakes.discard(place)
        self._prefixes.leave(place.prefix)
        self.freed()

    def using(self, peer: PeerId) -> AbstractContextManager[None]:
        """While this lasts no connection to the peer is closed to make room."""
        return self.connections.using(peer, self.freed)

    def _trim(self) -> None:
        for held, why in self.connections.trim(trio.current_time()):
            self._let_go(held, why)

    def freed(self) -> None:
        """A connection may have become idle, or a dial has ended: whoever waits for room may look again."""
        if self._waiting:
            self._waiting.unpark_all()

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to a peer, one made meanwhile included."""
        self.dialer.cancel(peer)
        while open_ones := list(self.connections.of(peer)):
            for held in open_ones:
                self._remove(held.handle)
            async with trio.open_nursery() as nursery:
                for held in open_ones:
                    nursery.start_soon(self._close_quietly, held.handle)

    async def close_all(self) -> None:
        """Close every connection at the same time."""
        async with trio.open_nursery() as nursery:
            for connection in self._swarm.get_connections():
                nursery.start_soon(self._close_quietly, connection)

    def _let_go(self, held: Held[SwarmConn], why: str) -> None:
        log.debug("closing the connection to %s: %s", held.peer, why)
        self.later(lambda: self._close_quietly(held.handle))
        self._departed(held)

    async def _close_quietly(self, connection: INetConn) -> None:
        with trio.move_on_after(self._close_timeout):
            try:
                await connection.close()
            except Exception as error:  # whatever it was, the connection is of no use any more
                log.debug("closing a connection: %r", error)

    def _departed(self, held: Held[SwarmConn]) -> None:
        self.freed()
        if not self.connections.of(held.peer):
            self._news.pop(held.peer, None)
            self.identifier.left(held.peer)
            for watcher in list(self._watchers):
                watcher.gone(held.peer)

    # INotifee

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        if not isinstance(conn, SwarmConn):
            return
        peer = peer_of(conn.muxed_conn)
        for old in [held for held in self.connections.of(peer) if not alive(held.handle)]:
            self._remove(old.handle)
        now = trio.current_time()
        remote = remote_address(conn)
        if remote is not None:
            self._locate(conn, remote)
        held = Held(conn, peer, remote, conn.direction is Direction.INBOUND, now)
        first = not self.connections.of(peer)
        self.connections.add(held)
        if held.inbound:
            self._handshakes.discard(PLACE.get(None))
        if first:
            for watcher in list(self._watchers):
                watcher.connected(held)
        if held.inbound:
            self.dialer.arrived(peer, conn)
        self.freed()
        self.later(lambda: self.identifier.ask(held))
        self._limit(peer)
        self._trim()

    def _locate(self, connection: SwarmConn, remote: Address) -> None:
        # For the application's own use of the connection.
        connection.set_transport_info([Multiaddr(remote.raw)], ConnectionType.DIRECT)

    def _limit(self, peer: PeerId) -> None:
        for extra, why in self.connections.surplus(peer):
            self._let_go(extra, why)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        if isinstance(conn, SwarmConn):
            self._observed.remove_conn(conn)
            self._remove(conn)

    def _remove(self, connection: SwarmConn) -> None:
        held = self.connections.remove(connection, peer_of(connection.muxed_conn))
        if held is not None:
            self._departed(held)

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Not of interest."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Not of interest."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Not of interest."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Not of interest."""
