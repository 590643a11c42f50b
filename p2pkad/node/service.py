"""A Kademlia node: what an application holds in its hands.

The service has the rooms of `node/` (node/rooms.py) on one network and offers their work as methods. Every method that asks
others for one thing takes `timeout=` (seconds for all of it; None takes the configured one), and every one raises NodeClosed
once the service is closed. Those that look something up raise LocalLimit where `max_lookups` others had all the turns for so
long; those that begin or end a publication StoreFull and StoreFailed, where the store does not take it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from random import Random
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Any, Self, get_args

import trio

from p2pkad.config import KademliaConfig, Mode
from p2pkad.core.address_book import Pin
from p2pkad.core.peers import PeerDescription, PeerId, PeerInfo
from p2pkad.errors import ConfigError, NodeClosed, NotReady
from p2pkad.events import ModeChanged, NodeEvent
from p2pkad.identity import peer_id
from p2pkad.net.base import Network, Router
from p2pkad.net.hosts import AnyHost, as_host
from p2pkad.node.arguments import as_bytes, bootstrap_peers, named, other
from p2pkad.node.clock import SYSTEM, Clock
from p2pkad.node.finding import ProviderStream
from p2pkad.node.results import NodeStats, PeersFound, PeerState, ProvideReceipt, PutReceipt, ValueFound
from p2pkad.node.rooms import put_together, store_of
from p2pkad.node.telling import Telling
from p2pkad.node.work import Work
from p2pkad.store.base import Store
from p2pkad.wire.addresses import address_text
from p2pkad.wire.content import Content, multihash_of

if TYPE_CHECKING:
    from p2pkad.identity import AnyPeerId

log = logging.getLogger(__name__)


class KademliaService:
    """Kademlia on a host: `async with KademliaService(host, config) as dht`.

    host: an armoured host (`p2pkad.new_host`), or any of py-libp2p's; it has to be running, and may have connections and
    protocols of its own. router: finds peers through this service while it is open. store: closed with the service,
    `p2pkad.open_store` makes one; None keeps all in memory. clock, random: for runs in virtual time.
    Leaving the block, or cancelling it, leaves no task and no stream behind; the host stays as it was.
    """

    def __init__(
        self,
        host: AnyHost,
        config: KademliaConfig | None = None,
        *,
        router: Router | None = None,
        store: Store | None = None,
        clock: Clock = SYSTEM,
        random: Random | None = None,
    ) -> None:
        self._host = as_host(host)
        self._router = router
        self._config = config or KademliaConfig()
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - it shuffles answers and picks refresh targets, no secrets
        self._given_store = store
        self._bootstrap_peers = bootstrap_peers(self._config)
        self._tell = Telling()
        self._stack = AsyncExitStack()
        self._work = Work()
        self._open = False
        self._ended = False
        self._mode: Mode = self._config.mode

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(
                self._host.open_network(protocol=self._config.protocol, max_message=self._config.max_message)
            )
            self._assemble(network)
            stack.push_async_callback(self._store.aclose)
            await self._remembering.recall()
            stack.push_async_callback(self._remembering.save_at_close)
            # Before the nursery, which would wrap what it raises.
            await self._network.set_server(self._mode == "server")
            self._nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(self._nursery.cancel_scope.cancel)
            self._nursery.start_soon(self._work.run, self._maintenance.run, name=self._maintenance.run)
            if self._router is not None:
                stack.enter_context(self._router.through(self.find_peer))
            if self._ended:
                raise NodeClosed
            self._stack = stack.pop_all()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What the block raised does not go through the nursery, which would wrap it: `except NotFound` around it works.
        await self.aclose()

    async def aclose(self) -> None:
        """Close the service, as leaving its block does; twice is once. Calls of other tasks end with NodeClosed.

        From the task that opened it, and where that has left all cancel scopes and nurseries that it opened afterwards.
        """
        self._open = False
        self._work.end()
        await self._stack.aclose()

    def __repr__(self) -> str:
        state = f"table={len(self._membership.table)}" if self._open else "closed"
        return f"<KademliaService {self._config.protocol} {self._mode} {state}>"

    # Who this node is

    @property
    def id(self) -> PeerId:
        """This node's peer id."""
        return self._host.id

    @property
    def config(self) -> KademliaConfig:
        """Its options; with `open_node` a `Config`, which has those of the host, too."""
        return self._config

    @property
    def protocol(self) -> str:
        """The protocol id: nodes with another one are another network."""
        return self._config.protocol

    @property
    def mode(self) -> Mode:
        """server or client, as of now."""
        return self._mode

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this node can be reached, each with /p2p/<id> at its end: what other nodes' bootstrap lists take."""
        self._require_open()
        return tuple(address_text(address, self.id) for address in self._network.local_addresses())

    def stats(self) -> NodeStats:
        """The node in figures, at this moment."""
        self._require_open()
        stored, connections = self._store.stats(), self._network.connections()
        return NodeStats(
            mode=self._mode,
            peers=len(connections),
            inbound=sum(connection.inbound for connection in connections.values()),
            table=len(self._membership.table),
            silent=len(self._membership.table) - self._membership.usable,
            buckets={bucket.prefix: len(bucket.entries) for bucket in self._membership.table.buckets()},
            lookups=self._querying.running,
            records=stored.records,
            provider_keys=stored.provider_keys,
            providers=stored.providers,
            published=stored.own,
            provided=stored.provided,
            store_bytes=stored.bytes,
            store_trouble=self._store.trouble,
        )

    def routing_table(self) -> tuple[PeerInfo, ...]:
        """The peers of the routing table, with the addresses known."""
        self._require_open()
        return tuple(self._membership.info(peer) for peer in self._membership.table)

    def peers(self) -> tuple[PeerState, ...]:
        """Who is connected or in the routing table, and what is known of each: those of the table first, by bucket."""
        self._require_open()
        return self._meeting.peers()

    def observed_addresses(self) -> dict[str, int]:
        """Where connected peers see this node, and how many of them do: what they say, most of them first.

        Of a connection that this node dialled its port is seen, which nobody can dial back to.
        """
        self._require_open()
        return self._meeting.observed()

    def subscribe(self, listener: Callable[[Any], None], kinds: type[NodeEvent] | UnionType = NodeEvent) -> Callable[[], None]:
        """Call `listener` with each event of these kinds, as it happens, from the event loop, until the result is called.

        kinds: a class of `p2pkad.events`, or several: `PeerAdmitted | PeerEvicted`. The listener must not take long; what
        it raises is logged. Raises ConfigError: it cannot be called, or is async; or these are no such classes.
        """
        return self._tell.subscribe(listener, kinds)

    # Its place in the network

    async def wait_ready(self, peers: int = 1, timeout: float | None = None) -> None:
        """Return once the routing table holds `peers` peers. Raises NotReady after `timeout` seconds (None: never)."""
        with self._call():
            with trio.move_on_after(float("inf") if timeout is None else max(0.0, timeout)):
                while len(self._membership.table) < peers:
                    await self._membership.changed.park()
                return
            found = len(self._membership.table)
            raise NotReady(found, peers, timeout or 0.0, "" if found else self._bootstrap.trouble)

    async def set_mode(self, mode: Mode) -> None:
        """Turn server or client. Connected peers are told, and add or drop this node on it; open requests end at once.

        Raises ConfigError: there is no such mode, or something else on the host serves the protocol.
        """
        if mode not in get_args(Mode):
            raise ConfigError(f"mode={mode!r}: must be one of {', '.join(get_args(Mode))}")
        with self._call():
            if mode != self._mode:
                before, self._mode = self._mode, mode
                try:
                    await self._network.set_server(mode == "server")
                except ConfigError:
                    self._mode = before
                    raise
                finally:  # also when the news is being pushed and that is cancelled
                    if self._mode == mode:
                        self._tell(ModeChanged(at=self._clock.monotonic(), mode=mode))

    async def refresh(self) -> None:
        """Look up the own id and a random name in each bucket that this leaves open. Two at once are one. Raises NoPeers."""
        with self._call():
            await self._refreshing.refresh()

    async def connect(self, peer: PeerInfo | str, timeout: float | None = None) -> PeerId:
        """Connect to a peer: a PeerInfo, or an address that ends in /p2p/<id>. It enters the table if it is a server.

        Raises PeerUnreachable, PeerBusy, RequestTimeout, LocalLimit; LocalProtocolError: the own id. ConfigError: neither.
        """
        with self._call():
            info = self._learn(peer)
            await self._network.connect(info, self._deadline(timeout))
            return info.id

    async def ping(self, peer: PeerInfo | AnyPeerId, timeout: float | None = None) -> float:
        """The round trip to a peer in seconds, over libp2p's ping. The peer: an id in any form, or as for `connect`.

        A peer whose addresses are not known is looked up first. Raises as `connect`, and RequestFailed, NotFound, NoPeers.
        """
        with self._call():
            deadline = self._deadline(timeout)
            if isinstance(peer, PeerInfo) or (isinstance(peer, str) and peer.startswith("/")):
                info = self._learn(peer)
            else:
                info = self._membership.info(other(peer_id(peer), self.id))
                if not info.addresses and self._network.connection(info.id) is None:
                    info = await self.find_peer(info.id, timeout=deadline - self._clock.monotonic())
            return await self._network.ping(info, deadline)

    async def identify(self, peer: PeerInfo | str, timeout: float | None = None) -> PeerDescription:
        """What a peer says of itself: its program, its protocols, where it is and where it sees this node.

        The peer: as for `connect`. Raises as `connect`, and RequestTimeout when it is there and does not say.
        """
        with self._call():
            return await self._meeting.identify(self._learn(peer), self._deadline(timeout))

    async def compare_clocks(self, peer: AnyPeerId, timeout: float | None = None) -> float:
        """Seconds by which a peer's clock is ahead of this node's, about; below 0 when it is behind.

        The peer is sent this node's public key as a record, under /pk, asked for it, and says when it received it: go, js
        and p2pkad do, to within the round trip. It drops the record in time.
        Raises RequestFailed: it does not say, or keeps no such records. Raises as `connect`. LocalProtocolError: this node's
        key is of a kind that is not in its peer id (RSA, ECDSA).
        """
        with self._call():
            info = self._membership.info(other(peer_id(peer), self.id))
            return await self._meeting.compare_clocks(info, self._deadline(timeout))

    # Values

    async def put_value(
        self, key: bytes, value: bytes, *, min_stored: int = 1, allow_large: bool = False, timeout: float | None = None
    ) -> PutReceipt:
        """Store `value` on the live peers nearest to `key`, and here.

        min_stored: how many must hold it in the end, this node included: 1 is met by the own copy, while that
        is there; 2 takes somebody else. allow_large: also when it does not fit the 16 KiB that every implementation decodes.
        Returns who stored it, who refused, who never answered.
        From now on this node publishes it: it puts it again in time, also after a restart with the same store and after a
        call that failed or was cancelled, until `stop_publishing`, until the value itself says that it is over, or until
        somebody else's better one is known.
        Raises InvalidRecord, RecordTooLarge, StaleRecord: nothing was sent. NoPeers: only this node holds it, for nobody was
        found who should. QuorumNotMet: fewer than `min_stored`; `.receipt` names them, and their copies stay.
        Cancelled: streams are reset; a peer already asked may hold the value or not.
        kad-dht r2, "Value storage".
        """
        as_bytes("value", value)
        with self._call():
            return await self._publishing.put_value(
                as_bytes("key", key), value, min_stored=min_stored, allow_large=allow_large, timeout=timeout
            )

    async def stop_publishing(self, key: bytes) -> bool:
        """Publish nothing under `key` any more; False when this node published nothing there.

        Its own copy goes at once, the copies of others with their lifetime. It stays so after a restart.
        """
        with self._call():
            return await self._publishing.stop_publishing(as_bytes("key", key))

    async def get_value(self, key: bytes, *, quorum: int = 0, timeout: float | None = None) -> bytes:
        """The best value under `key`. As `get_record`, the value alone."""
        return (await self.get_record(key, quorum=quorum, timeout=timeout)).value

    async def get_record(self, key: bytes, *, quorum: int = 0, timeout: float | None = None) -> ValueFound:
        """The best valid value under `key`, and who holds it.

        quorum: how many equal best answers end the lookup, this node's own copy counted; 0 asks all of the k nearest.
        Peers nearest to the key that hold none or a worse one are sent the best one afterwards.
        Raises InvalidRecord: no validator, or no key. LocalProtocolError: too large, or `quorum` is no count. NotFound.
        NoPeers. QuorumNotMet: `.best`. kad-dht r2, "Value retrieval" and "Entry correction".
        """
        with self._call():
            return await self._finding.get_record(as_bytes("key", key), quorum=quorum, timeout=timeout)

    async def local_value(self, key: bytes) -> bytes | None:
        """The value that this node itself keeps under `key`; None when there is none. Nobody is asked."""
        with self._call():
            stored = await self._store.get(as_bytes("key", key), self._clock.wall())
            return None if stored is None else stored.record.value

    # Providers

    async def provide(self, content: Content, *, confirm: bool = False, timeout: float | None = None) -> ProvideReceipt:
        """Tell the peers nearest to `content` (a CID or multihash) that this node provides it.

        From now on it says so again in time, also after a restart with the same store, until `stop_providing`.
        There is no reply to an announcement: returns who has answered a question behind it, and so dealt with it. confirm: let
        that be a question for the providers; the receipt then says who names this node.
        Raises LocalProtocolError: not a CID or multihash (`content_key(data)` makes one of the content itself), or this node
        has no address to be reached at. NoPeers: nobody was found to tell. QuorumNotMet: all who were told refused or failed;
        `.receipt` names them.
        kad-dht r2, "Content provider advertisement".
        """
        with self._call():
            return await self._publishing.provide(multihash_of(content), confirm=confirm, timeout=timeout)

    async def stop_providing(self, content: Content) -> bool:
        """Forget that this node provides `content`; False when it did not. Other holders forget it with its lifetime."""
        with self._call():
            return await self._publishing.stop_providing(multihash_of(content))

    async def find_providers(self, content: Content, *, count: int | None = 20, timeout: float | None = None) -> PeersFound:
        """Who provides `content`, with addresses where they are known: at most `count`, or all that the k nearest tell of.

        Finding nobody is an empty result; 16,384 are the most. Raises LocalProtocolError: not a CID or multihash. NoPeers.
        kad-dht r2, "Content provider discovery".
        """
        with self._call():
            return await self._finding.find_providers(multihash_of(content), count=count, timeout=timeout)

    @asynccontextmanager
    async def stream_providers(
        self, content: Content, *, count: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[ProviderStream]:
        """Providers of `content` as answers come: `async with node.stream_providers(cid) as found: async for info in found`.

        Leaving the block cancels the lookup; closing the node ends the block with NodeClosed. Once it has ended `found` says
        how. Raises as `find_providers`, NoPeers from the iterator.
        """
        with self._call():
            async with self._finding.stream_providers(multihash_of(content), count=count, timeout=timeout) as found:
                yield found

    async def local_providers(self, content: Content) -> tuple[PeerInfo, ...]:
        """The providers of `content` that this node itself keeps records of. Nobody is asked."""
        with self._call():
            known = await self._store.providers(multihash_of(content), self._clock.wall())
            return tuple(each.provider for each in known)

    # Peers

    async def find_peer(self, peer: AnyPeerId, *, timeout: float | None = None) -> PeerInfo:
        """Where `peer` can be reached; a connected one is answered from memory.

        Raises LocalProtocolError: the own id. NotFound. NoPeers. kad-dht r2, "Peer routing".
        """
        with self._call():
            return await self._finding.find_peer(peer_id(peer), timeout=timeout)

    async def closest_peers(self, key: bytes, *, count: int | None = None, timeout: float | None = None) -> PeersFound:
        """The live peers nearest to `key`, nearest first, at most k of them; never this node.

        Raises NoPeers; LocalProtocolError: the key is empty or too large, or `count` is no count.
        """
        with self._call():
            return await self._finding.closest_peers(as_bytes("key", key), count=count, timeout=timeout)

    # Between the network and the rooms

    def _assemble(self, network: Network) -> None:
        self._network = network
        store = self._store = self._given_store or store_of(network.id, self._config)
        rooms = put_together(
            network, store, self._config, self._clock, self._random, self._tell, self._bootstrap_peers, self._spawn, self._end
        )
        self._membership, self._querying, self._maintenance = rooms.membership, rooms.querying, rooms.maintenance
        self._publishing, self._finding, self._refreshing = rooms.publishing, rooms.finding, rooms.refreshing
        self._remembering, self._meeting, self._bootstrap = rooms.remembering, rooms.meeting, rooms.bootstrap
        for peer in self._bootstrap.peers:
            self._membership.book.pin(peer.id, Pin.BOOTSTRAP, self._clock.monotonic())
            self._learn(peer)
        network.serve(rooms.responding.answer)
        network.subscribe(rooms.hearing.on_event)
        network.rank_connections(rooms.hearing.usefulness)

    def _spawn(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        self._nursery.start_soon(self._work.run_contained, work, *arguments, name=work)

    def _learn(self, peer: PeerInfo | str) -> PeerInfo:
        """A peer that the user named: its addresses are remembered as they are, whatever their scope."""
        info = named(peer, self.id)
        self._membership.book.learn(info, self._clock.monotonic(), self._config.address_lifetime)
        return info

    def _deadline(self, timeout: float | None) -> float:
        return self._clock.monotonic() + (self._config.request_timeout if timeout is None else timeout)

    def _end(self) -> None:
        """The host, or the store, has ended before the service."""
        self._ended = True
        if not self._open:
            return
        log.warning("the host or the store of a service has ended before it: every call raises NodeClosed")
        self._open = False
        self._work.end()

    def _require_open(self) -> None:
        if not self._open:
            raise NodeClosed

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Around the work of a method: it ends with NodeClosed when the service closes."""
        self._require_open()
        with self._work.piece() as piece:
            try:
                yield
            except ExceptionGroup as group:  # of a lookup's tasks, whose host has ended
                if group.split(NodeClosed)[1] is None:
                    raise NodeClosed from group
                raise
        if piece.cancelled_caught:
            raise NodeClosed
