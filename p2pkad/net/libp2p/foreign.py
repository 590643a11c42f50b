"""A host that the application made, from py-libp2p's parts: networks on it beside whatever else is there.

    ForeignHost   what a service takes for its host; one for each service, without state
    Attachment    what the services on one host share; made by the first that opens, undone by the last that closes

Attaching, from outside and through public calls alone:
- the swarm's stream handler is wrapped in a `Guard`: whatever fails in a stream, one stream is reset;
- identify pushes are read here first, then handed to the host's own handler, as they came;
- a notifee learns of connections; those that are there already are told to it. Each is asked for identify.
The tasks behind it run in the swarm's own service: they outlive the service that happened to be first, and end with the host.

What the application has remains its own: no handler of its protocols is touched, and no connection is closed that these
services did not dial. What cannot be mended from here is `faults_of` a host (docs/hosts.md).
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio
from libp2p.abc import IHost, INetConn, INetwork
from libp2p.custom_types import StreamHandlerFn
from libp2p.host.basic_host import BasicHost
from libp2p.host.observed_addr_manager import ObservedAddrManager
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.tls.transport import PROTOCOL_ID as TLS
from multiaddr import Multiaddr

from p2pkad.config import HostConfig
from p2pkad.core.peers import Address, PeerId
from p2pkad.errors import ConfigError
from p2pkad.events import HostFault
from p2pkad.net.libp2p.backbone import Backbone
from p2pkad.net.libp2p.guard import Guard
from p2pkad.net.libp2p.listening import expand
from p2pkad.net.libp2p.network import NOT_RUNNING, Libp2pNetwork
from p2pkad.net.libp2p.pipe import StreamLost
from p2pkad.net.libp2p.pushes import GuestIdentifier
from p2pkad.net.libp2p.transport import ATTEMPT

log = logging.getLogger(__name__)

PlainHost: TypeAlias = IHost
"""What an application makes with `libp2p.new_host`, `BasicHost` or `RoutedHost`."""


class ForeignHost:
    """`p2pkad.net.base.Host` on a host that the application made. Raises ConfigError for what is none."""

    def __init__(self, host: object) -> None:
        if not isinstance(host, BasicHost) or not isinstance(host.get_network(), Swarm):
            given = type(host).__name__
            raise ConfigError(f"host: a {given} is none that a service can use; take p2pkad.new_host or libp2p.new_host")
        self._host = host

    def __repr__(self) -> str:
        return f"<ForeignHost {self.id!r}>"

    @property
    def id(self) -> PeerId:
        """The host's peer id."""
        return PeerId(self._host.get_id().to_bytes())

    @asynccontextmanager
    async def open_network(self, *, protocol: str, max_message: int) -> AsyncIterator[Libp2pNetwork]:
        """See `p2pkad.net.base.Host`. Raises ConfigError when the host does not run.

        Leaving the block as the last one gives the host back as it was, within `close_timeout` of `HostConfig`.
        """
        async with (
            attached(self._host) as attachment,
            Libp2pNetwork(attachment, protocol=protocol, max_message=max_message) as network,
        ):
            yield network


_attachments: dict[BasicHost, Attachment] = {}
"""By host, as long as a service is open on it."""


@asynccontextmanager
async def attached(host: BasicHost) -> AsyncIterator[Attachment]:
    """What the services on a host share, for one more of them."""
    attachment = _attachments.get(host)
    if attachment is None:
        attachment = _attachments[host] = Attachment(host)
    attachment.users += 1
    try:
        await attachment.ready()
        yield attachment
    finally:
        attachment.users -= 1
        if not attachment.users:
            # Before anything is waited for: who comes next starts anew.
            del _attachments[host]
            await attachment.end()


class Attachment:
    """The backbone, the guard and the tasks on one host. users: how many services need them.

    Raises ConfigError when the host does not run; then nothing is changed.
    """

    def __init__(self, host: BasicHost) -> None:
        swarm = swarm_of(host)
        manager = getattr(swarm, "_manager", None)  # the public way raises while there is none
        if manager is None or not manager.is_running:
            raise ConfigError(NOT_RUNNING)
        self.users = 0
        self.backbone = GuestBackbone(host)
        self._swarm = swarm
        self._ready = trio.Event()
        self._over = trio.Event()
        self._before = swarm.common_stream_handler
        self._guard = Guard(self._handle, math.inf, self.backbone.crowded)
        swarm.set_stream_handler(self._guard)
        self.backbone.attach()
        manager.run_task(self._run, name="p2pkad")

    async def ready(self) -> None:
        """Return when the connections that there are have been taken note of."""
        await self._ready.wait()

    async def end(self) -> None:
        """Give the host back. What is under way with peers has `close_timeout` to end in good order."""
        if self._swarm.common_stream_handler is self._guard:  # else the application has put one around it, which stays
            self._swarm.set_stream_handler(self._before)
        self.backbone.detach()
        with trio.CancelScope(shield=True):
            await self._over.wait()

    async def _handle(self, stream: NetStream) -> None:
        try:
            await self._before(stream)
        except KeyError as error:
            if stream.get_protocol() is not None:
                raise
            # py-libp2p looks a handler up twice: a service that closes in between has taken it away.
            raise StreamLost("its protocol was taken away during its negotiation") from error

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.backbone.run)
                self._ready.set()
        finally:
            self._ready.set()
            self._over.set()


class GuestBackbone(Backbone):
    """The backbone on a host that is somebody else's."""

    def __init__(self, host: BasicHost) -> None:
        swarm = swarm_of(host)
        limit = max(4, swarm.connection_config.max_connections)
        config = HostConfig(
            max_connections=limit,
            connection_reserve=min(HostConfig.connection_reserve, limit // 4),
            dial_timeout=swarm.connection_config.dial_timeout or HostConfig.dial_timeout,
        )
        super().__init__(host, config, ObservedAddrManager())
        self.identifier: GuestIdentifier = GuestIdentifier(host, self._observed, self.identified, self._told)
        self.faults = tuple(faults_of(host))
        self._own: set[INetConn] = set()
        self._until_detached = trio.CancelScope()

    def attach(self) -> None:
        """Begin. Says once what is open."""
        self.identifier.serve()
        log.warning(
            "p2pkad did not make this host and cannot mend it: %s. p2pkad.new_host makes one where none of this happens",
            "; ".join(fault.value for fault in self.faults),
        )

    def detach(self) -> None:
        """Touch nothing of the host any more, and end `run` when what is under way is over, or after `close_timeout`."""
        self.identifier.cease()
        self._swarm.remove_notifee(self)
        self._until_detached.cancel()

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with self.deadlines.kept(), trio.open_nursery() as nursery:
                self._nursery = nursery
                for connection in self._swarm.get_connections():
                    await self._contained(self.connected, self._swarm, connection)
                task_status.started()
                with self._until_detached:
                    await self._keep_sweeping()
                nursery.cancel_scope.deadline = trio.current_time() + self._close_timeout
        finally:
            self._nursery = None
            # A host that ends does not say so of its connections.
            for held in list(self.connections):
                self._remove(held.handle)
            for watcher in list(self._watchers):  # those that are there outlive it
                watcher.host_ended()

    def addresses(self) -> list[Multiaddr]:
        return expand(super().addresses())

    def bounded(self, handler: StreamHandlerFn) -> StreamHandlerFn:
        # How many streams of its own protocols a peer may have is the application's business.
        return Guard(handler, self.config.max_streams_per_peer, self.crowded)

    def _busy(self, connection: SwarmConn) -> bool:
        # Those that the application made, or its peers, are not ours to close.
        return connection not in self._own or super()._busy(connection)

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        if isinstance(conn, SwarmConn) and self.holding(conn) is None:
            attempt = ATTEMPT.get(None)
            if attempt is not None and self.dialer.is_trying(attempt):
                self._own.add(conn)
            await super().connected(network, conn)

    def _remove(self, connection: SwarmConn) -> None:
        self._own.discard(connection)
        super()._remove(connection)

    def _locate(self, connection: SwarmConn, remote: Address) -> None:
        """Nothing: what is known of a connection is the host's affair."""

    def _limit(self, peer: PeerId) -> None:
        """Nothing: how many connections one peer may have is the host's affair."""


def swarm_of(host: BasicHost) -> Swarm:
    """What a host that `ForeignHost` has let pass stands on."""
    swarm = host.get_network()
    assert isinstance(swarm, Swarm)
    return swarm


def faults_of(host: BasicHost) -> Iterator[HostFault]:
    """What of this host cannot be mended from outside. Where its options decide, they are looked at."""
    swarm = swarm_of(host)
    yield HostFault.INBOUND_PLACES
    yield HostFault.FULL
    yield HostFault.OWN_KEY
    if swarm.auto_connector._started:
        yield HostFault.UNINVITED_DIALS
    if swarm.retry_config.max_retries:
        yield HostFault.REPEATED_DIALS
    if any(wildcard in str(address) for address in host.get_addrs() for wildcard in ("/ip4/0.0.0.0/", "/ip6/::/")):
        yield HostFault.WILDCARDS
    if not set(swarm.upgrader.security_multistream.transports) <= {NOISE, TLS}:
        yield HostFault.PLAINTEXT
    yield HostFault.LISTENING
    yield HostFault.CLOSING
    yield HostFault.SLOW_READS
