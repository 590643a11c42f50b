"""Dialling: one dial for a peer, shared by all who want it; every address tried; each under its own deadline.

py-libp2p's own dial tries one TCP address of a peer, waits 250 ms after it whether it answered or not, has no deadline
(121 s on a listener that never answers), retries, and refuses the peer for a minute after a failure, with whatever
address. So addresses are dialled one by one here, through `Swarm.dial_addr` with retries switched off:

    an address is started | at once: the first
                          | when the one before it failed, or after HEAD_START: the next
    one answers           | the others are cancelled, and leave no connection behind
    all failed            | PeerUnreachable, with a reason for each
    the same, one hung up | PeerBusy, likewise: somebody is there, and has no room
    one has a name in it  | what the name stands for is dialled instead (`names`), if that can be dialled here

Whoever waits may be cancelled: the dial goes on for the others, and ends with the last one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import trio
from libp2p.abc import INetConn
from libp2p.network.swarm import Swarm
from multiaddr import Multiaddr
from multiaddr.protocols import P_P2P_CIRCUIT

from p2pkad.config import DialTransport, HostConfig
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.errors import NodeClosed, PeerBusy, PeerUnreachable
from p2pkad.net.libp2p.border import hung_up, reason
from p2pkad.net.libp2p.ids import foreign_id
from p2pkad.net.libp2p.names import NameFailed, Resolver, is_name, resolve
from p2pkad.net.libp2p.transport import ATTEMPT, Attempt

HEAD_START = 0.25
"""Seconds an address has before the next one is dialled beside it. RFC 8305, "Connection Attempt Delay"; as go."""
MAX_ADDRESSES = 64
"""Addresses of one peer that are tried in one dial; a peer may claim any number of them."""
_TRANSPORTS: dict[tuple[str, ...], DialTransport] = {("tcp",): "tcp", ("udp", "quic-v1"): "quic", ("tcp", "ws"): "ws"}


@dataclass(eq=False)
class Dial:
    """A dial under way, and those who wait for it."""

    peer: PeerId
    waiting: int = 0
    queue: list[Address] = field(default_factory=list)
    known: dict[bytes, Scope] = field(default_factory=dict)
    causes: list[tuple[str, str]] = field(default_factory=list)
    attempts: set[Attempt] = field(default_factory=set)
    won: bool = False
    turned_away: bool = False
    connection: INetConn | None = None
    done: trio.Event = field(default_factory=trio.Event)
    moved: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def add(self, addresses: Iterable[Address]) -> None:
        """Queue the addresses that are new, and names that may lead nearer than when they were queued."""
        for address in addresses:
            known = self.known.get(address.raw)
            if len(self.known) < MAX_ADDRESSES if known is None else address.down_to < known:
                self.known[address.raw] = address.down_to
                self.queue.append(address)
                self.wake()

    def wake(self) -> None:
        """Something changed."""
        self.moved.set()

    def finish(self, connection: INetConn | None) -> None:
        """Tell those who wait. The first result counts."""
        if not self.done.is_set():
            self.connection = connection
            self.done.set()


class Dialer:
    """config: how long an address may take, and what is dialled. resolver: knows the names that the user gave. hearsay: those
    that others told. spawn: starts a task that outlives the caller. close: ends a surplus connection. freed: told when a dial
    is over, and `pending` less."""

    def __init__(
        self,
        swarm: Swarm,
        config: HostConfig,
        resolver: Resolver,
        hearsay: Resolver,
        spawn: Callable[..., None],
        close: Callable[[INetConn], Awaitable[None]],
        freed: Callable[[], None],
    ) -> None:
        self._swarm = swarm
        self._timeout = config.dial_timeout
        self._transports = config.dial_transports
        self._resolver = resolver
        self._hearsay = hearsay
        self._spawn = spawn
        self._close = close
        self._freed = freed
        self._dials: dict[PeerId, Dial] = {}  # those that somebody may join
        self._open: set[Dial] = set()

    @property
    def pending(self) -> int:
        """How many dials may still end in a connection, or in one that has to be closed: those included that nobody waits for,
        because the peer came to us meanwhile, or because all have gone."""
        return len(self._open)

    def dials(self, peer: PeerId) -> bool:
        """Whether this peer is being dialled."""
        return peer in self._dials

    def is_answered(self, peer: PeerId) -> bool:
        """Whether somebody has answered at an address of this peer that is being dialled: a connection may follow."""
        dial = self._dials.get(peer)
        return dial is not None and any(attempt.answered for attempt in dial.attempts)

    def is_trying(self, attempt: Attempt) -> bool:
        """Whether this is an address that is being dialled."""
        return any(attempt in dial.attempts for dial in self._open)

    async def dial(self, peer: PeerInfo) -> INetConn:
        """A connection to a peer that has none. The caller brings the deadline; a dial of its own ends in any case.

        Raises PeerUnreachable, PeerBusy. Cancelled: the dial goes on while somebody else waits for it.
        """
        dial = self._dials.get(peer.id)
        if dial is None:
            dial = Dial(peer.id)
            dial.add(self._preferred(peer.addresses))
            self._spawn(self._run, dial)
            self._dials[peer.id] = dial
            self._open.add(dial)
        else:
            dial.add(self._preferred(peer.addresses))
        dial.waiting += 1
        try:
            await dial.done.wait()
        finally:
            dial.waiting -= 1
            if not dial.waiting and not dial.done.is_set():
                self._end(dial)
                dial.scope.cancel()
        if dial.connection is None:
            raise (PeerBusy if dial.turned_away else PeerUnreachable)(peer.id, dial.causes)
        return dial.connection

    def arrived(self, peer: PeerId, connection: INetConn) -> None:
        """The peer connected to us meanwhile: whoever waits may use that.

        Our own dial goes on. Were it cancelled, then two peers that dial each other at once would each cancel the
        connection that the other one just settled on.
        """
        dial = self._dials.get(peer)
        if dial is not None:
            dial.queue.clear()
            self._end(dial, connection)

    def cancel(self, peer: PeerId) -> None:
        """End a dial; those who wait see the peer as unreachable."""
        dial = self._dials.get(peer)
        if dial is not None:
            dial.causes.append(("", "disconnected from this side"))
            self._end(dial)
            dial.scope.cancel()

    def _preferred(self, addresses: tuple[Address, ...]) -> list[Address]:
        # Those that cannot be dialled stay in the list, last, with the names: each has its line in PeerUnreachable.
        order = [*self._transports, None]
        return sorted(addresses, key=lambda each: order.index(None if is_name(each) else self._transport(each)))

    def _transport(self, address: Address) -> DialTransport | None:
        transport = transport_of(address)
        return transport if transport in self._transports else None

    def _leads_on(self, address: Address) -> bool:
        # Where a name leads to what is not dialled here, nobody need be asked for it. Of a `dnsaddr` only its records say that.
        return is_name(address) and (address.text.startswith("/dnsaddr/") or self._transport(address) is not None)

    async def _run(self, dial: Dial) -> None:
        try:
            with dial.scope:
                async with trio.open_nursery() as nursery:
                    await self._start_each(dial, nursery)
                    nursery.cancel_scope.cancel()
        finally:
            self._open.discard(dial)
            self._end(dial)
            self._freed()

    async def _start_each(self, dial: Dial, nursery: trio.Nursery) -> None:
        while dial.queue or dial.attempts:
            dial.moved = trio.Event()
            if dial.queue:
                attempt = Attempt()
                dial.attempts.add(attempt)
                nursery.start_soon(self._try, dial, attempt, dial.queue.pop(0))
            with trio.move_on_after(HEAD_START if dial.queue else float("inf")):
                await dial.moved.wait()
            if dial.won:
                return

    async def _try(self, dial: Dial, attempt: Attempt, address: Address) -> None:
        ATTEMPT.set(attempt)  # of this task, which dials nothing else
        try:
            connection = await (self._resolve if self._leads_on(address) else self._dial_address)(dial, address)
        finally:
            dial.attempts.remove(attempt)
            dial.wake()
        if connection is not None and dial.won:
            # Not here: this task is being cancelled with the other losers, and a close that is cut short leaves the
            # connection in the swarm for ever.
            with suppress(NodeClosed):  # the host ends, and all its connections with it
                self._spawn(self._close, connection)
        elif connection is not None:
            dial.won = True
            self._open.discard(dial)
            self._end(dial, connection)

    async def _resolve(self, dial: Dial, address: Address) -> None:
        with trio.move_on_after(self._timeout):
            try:
                # Strangers' names may take long, and any number of them may be told: they hold up each other at most.
                resolver = self._resolver if address.down_to is Scope.LOOPBACK else self._hearsay
                dial.add(self._preferred(tuple(await resolve(address, dial.peer, resolver, self._leads_on))))
            except NameFailed as error:
                dial.causes.append((address.text, str(error)))
            return
        dial.causes.append((address.text, f"no name server answered within {self._timeout:.3g} s"))

    async def _dial_address(self, dial: Dial, address: Address) -> INetConn | None:
        multiaddr = Multiaddr(address.raw)
        if self._transport(address) is None:
            # py-libp2p's TCP would take a relay's address for the peer's own.
            relayed = P_P2P_CIRCUIT in (protocol.code for protocol in multiaddr.protocols())
            dial.causes.append((address.text, "through a relay: no transport for it" if relayed else "no transport for it"))
            return None
        with trio.move_on_after(self._timeout):
            try:
                return await self._swarm.dial_addr(multiaddr, foreign_id(dial.peer))
            except Exception as error:  # handshakes raise whatever their libraries do
                dial.causes.append((address.text, reason(error)))
                dial.turned_away = dial.turned_away or hung_up(error)
                return None
        dial.causes.append((address.text, f"no answer within {self._timeout:.3g} s"))
        return None

    def _end(self, dial: Dial, connection: INetConn | None = None) -> None:
        if self._dials.get(dial.peer) is dial:
            del self._dials[dial.peer]
        dial.finish(connection)


def transport_of(address: Address) -> DialTransport | None:
    """What dials an address, or what its name stands for, as in `HostConfig.dial_transports`; None for what nothing can."""
    place, *rest = [protocol.name for protocol in Multiaddr(address.raw).protocols()]
    return _TRANSPORTS.get(tuple(rest)) if place != "dnsaddr" else None
