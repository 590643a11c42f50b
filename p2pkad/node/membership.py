"""Who is in the routing table, and why; where peers are to be found.

enters     who answered a request, or the admission check (FIND_NODE for its own id)
stays      who answers; an inbound request alone proves nothing, clients send requests too
suspected  who could not be reached, was late when a lookup ended, or refused something else than FIND_NODE, as a server may:
           it stays until it fails once more after somebody else has answered (core/suspicion.py says why)
leaves     a suspect that failed again; who refused FIND_NODE or answered nonsense; who dropped the protocol
awaited    who left for failing, and a newcomer that knew nobody yet: it is tried again (core/awaited.py says when)

Who has no room for us is neither suspected nor leaves: it is there, and has its own limit. But for BUSY_FOR and no longer: who
accepts connections and closes them need not be a peer any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from itertools import islice
from typing import Literal

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.address_book import AddressBook, Pin
from p2pkad.core.awaited import Awaited, AwaitedPeer
from p2pkad.core.goals import Failure
from p2pkad.core.keyspace import SHA256, Key
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.core.routing_table import Added, Removed, RoutingTable
from p2pkad.core.scope import addresses_for, connection_scope, narrowest_for, passing, recalled
from p2pkad.core.suspicion import Suspicion
from p2pkad.events import NodeEvent, PeerAdmitted, PeerEvicted, PeerReturned
from p2pkad.node.clock import Clock

MAX_KNOWN_PEERS = 10_000
MAX_ADDRESSES_PER_PEER = 16

MAX_AWAITED = 256
"""Peers that are missed: more than a table holds in a network of a million."""

BUSY_FOR = 3600.0
"""Seconds since it last answered for which a peer is believed to be full."""

MAX_CHECKS = 16
"""Checks under way at a time: a crowd of newcomers must not crowd out the node's own lookups."""

MAX_UNCHECKED = 1_000
"""Peers that wait for their check; of more the first ones are forgotten, until they identify themselves again."""


class Membership:
    """The routing table and the address book of one node, and the rules of who comes and goes."""

    def __init__(self, own: PeerId, config: KademliaConfig, clock: Clock, tell: Callable[[NodeEvent], None]) -> None:
        self.own = own
        self.changed = trio.lowlevel.ParkingLot()
        """Whoever is parked here wakes when the table grows, or when suspects are to be asked again."""
        self.table = RoutingTable(
            own,
            bucket_size=config.bucket_size,
            max_per_group=config.max_peers_per_group,
            max_per_group_and_bucket=config.max_peers_per_group_and_bucket,
        )
        self.book = AddressBook(max_peers=MAX_KNOWN_PEERS, max_addresses=MAX_ADDRESSES_PER_PEER)
        self._config = config
        self._clock = clock
        self._tell = tell
        self.awaited = Awaited(MAX_AWAITED)
        self._suspicion = Suspicion()
        self._neighbours: frozenset[PeerId] | None = None  # until the table changes: asked for each connection at the limit
        self._unchecked: dict[PeerId, None] = {}
        self._under_check: dict[PeerId, None] = {}

    # Where peers are

    def info(self, peer: PeerId) -> PeerInfo:
        """A peer with the addresses known now, best first; possibly none."""
        return self.book.info(peer, self._clock.monotonic())

    def told(self, peer: PeerId) -> PeerInfo:
        """A peer as others are told of it."""
        return self.book.told(peer, self._clock.monotonic())

    def heard(self, infos: Iterable[PeerInfo], via: Address | None) -> tuple[PeerInfo, ...]:
        """Those that can be asked of the peers told by somebody connected through `via`, with the addresses believed.

        They are in the address book afterwards. A peer without a believable address counts only if it is known already.
        """
        now, narrowest = self._clock.monotonic(), narrowest_for(self._config.scope, connection_scope(via))
        lifetime = self._config.address_lifetime
        usable = []
        for info in infos:
            if info.id == self.own:
                continue
            addresses = passing(info.addresses, narrowest)
            if addresses is not info.addresses:
                info = PeerInfo(info.id, addresses)
            self.book.learn(info, now, lifetime)
            if addresses or self.book.info(info.id, now).addresses:
                usable.append(info)
        return tuple(usable)

    def declared(self, info: PeerInfo, via: Address | None) -> None:
        """A peer connected through `via` says where it is; what is believed of it counts more than what others say."""
        addresses = addresses_for(info.addresses, self._config.scope, connection_scope(via))
        if addresses:
            believed = PeerInfo(info.id, addresses)
            self.book.declared(believed, via, self._clock.monotonic(), self._config.address_lifetime)

    def believed(self, addresses: tuple[Address, ...], via: Address | None) -> tuple[Address, ...]:
        """What may be told to, or believed from, somebody who is connected through `via`."""
        return addresses_for(addresses, self._config.scope, connection_scope(via))

    def connected(self, peer: PeerId, at: Address | None) -> None:
        """There is a connection to `peer`; `at` is where it was dialled, None when it dialled us."""
        self.book.pin(peer, Pin.CONNECTED, self._clock.monotonic())
        if at is not None:
            self.book.worked(peer, at, self._clock.monotonic())

    def gone(self, peer: PeerId) -> None:
        """The last connection to `peer` is closed."""
        self.book.unpin(peer, Pin.CONNECTED, self._clock.monotonic())

    def unreachable(self, peer: PeerInfo, failed: Container[str]) -> None:
        """`peer` was dialled in vain at those of its addresses whose text is in `failed`."""
        for address in peer.addresses:
            if address.text in failed:
                self.book.failed(peer.id, address)

    # Who is near

    def nearest(self, target: Key, count: int) -> Iterator[PeerInfo]:
        """The `count` peers of the table nearest to `target`, nearest first, as others are told of them."""
        now, told = self._clock.monotonic(), self.book.told
        return (told(peer, now) for peer in self.table.closest(target, count))

    def seeds(self, name: bytes, count: int) -> list[PeerId]:
        """Whom a lookup of `name` begins with."""
        return self.table.closest(SHA256.key(name), count)

    @property
    def neighbours(self) -> Collection[PeerId]:
        """The k peers of the table that are nearest to this node."""
        if self._neighbours is None:
            self._neighbours = frozenset(self.seeds(self.own, self._config.k))
        return self._neighbours

    @property
    def usable(self) -> int:
        """Peers in the table that are not under suspicion."""
        return len(self.table) - len(self._suspicion)

    # Who comes and goes

    def answered(self, peer: PeerId, at: Address | None, *, told_nobody: bool) -> None:
        """`peer` answered a request, reached `at` this address. told_nobody: its answer named no closer peer."""
        self._suspicion.answered(peer)
        # go's lookup check: once the table is not small, who knows nobody helps nobody. A fresh rust node is such a one;
        # it is asked again when it identifies itself again, or after a while.
        if peer in self.table or not (told_nobody and len(self.table) >= self._config.k):
            self._admit(peer, at)
        else:
            self._await(peer, stayed=0.0)
        if self._suspicion.to_ask():
            self.changed.unpark_all()

    def failed(self, peer: PeerId, reason: Failure) -> None:
        """`peer` gave no answer to a request."""
        self._suspicion.failed(peer)
        if peer not in self.table:
            self.table.remove(peer)  # it may wait in the replacement cache
            self._try_another(self.table.replacement(self.table.bucket_of(peer)))
        elif reason is Failure.BUSY and self.table.seen(peer) > self._clock.monotonic() - BUSY_FOR:
            self._suspicion.trust(peer)
        elif reason in (Failure.REFUSED, Failure.MALFORMED) or self._suspicion.is_ripe(peer):
            self._evict(peer, "failed")
        else:
            self.doubt(peer)

    def doubt(self, peer: PeerId) -> None:
        """`peer` may be dead: if it is in the table it is to be checked, once somebody else has answered."""
        if peer in self.table:
            self._suspicion.doubt(peer)
            self.changed.unpark_all()

    def left(self, peer: PeerId) -> None:
        """`peer` does not speak the protocol any more."""
        self._unchecked.pop(peer, None)
        self._evict(peer, "left_protocol")
        self.awaited.forget(peer)
        self.book.unpin(peer, Pin.AWAITED, self._clock.monotonic())

    def introduce(self, peer: PeerId) -> None:
        """`peer` says that it is a server: it is to be checked, if that is of use to the table, or it is missed.

        In a large network most newcomers belong to buckets that are full: go does not ask them either (`UsefulNewPeer`).
        """
        if peer == self.own or peer in self.table:
            return
        if peer in self.awaited or self.table.has_use_for(peer):
            self._to_check(peer)

    def found(self, info: PeerInfo) -> None:
        """`info` was announced on the local network: a newcomer, if it is a server of this protocol. It is to be checked.

        It need not be connected, so it is remembered where it is; who fails the check is not missed.
        """
        addresses = addresses_for(info.addresses, self._config.scope, Scope.LOOPBACK)
        if addresses and info.id != self.own:
            self.book.learn(PeerInfo(info.id, addresses), self._clock.monotonic(), self._config.address_lifetime)
            self.introduce(info.id)

    def recheck(self, unseen_since: float) -> None:
        """The peers of the table that have not answered since that moment are to be checked."""
        for peer in self.table.last_seen_before(unseen_since):
            self._to_check(peer)

    # Who is missed

    @property
    def missing_from(self) -> float:
        """From when on `look_out` has somebody to look out for, in monotonic seconds; infinity when nobody is missed."""
        return float("-inf") if self._suspicion.blind else self.awaited.ready

    def look_out(self) -> None:
        """One of those who are missed is to be checked: when nobody answers any more a suspect, else whose turn it is."""
        suspect = self._suspicion.next_suspect() if self._suspicion.blind else None
        if suspect is None:
            self.awaited.call_next(self._clock.monotonic())
        else:
            self._to_check(suspect)
        self.changed.unpark_all()

    def recall(self, info: PeerInfo, missed: AwaitedPeer) -> None:
        """A peer of an earlier life is missed, and where it was is where it is looked for."""
        if info.id == self.own or not info.addresses:
            return
        now = self._clock.monotonic()
        info = PeerInfo(info.id, recalled(info.addresses, self._config.scope))
        self.book.pin(info.id, Pin.AWAITED, now)
        self.book.learn(info, now, self._config.address_lifetime)
        forgotten = self.awaited.restore(missed)
        if forgotten is not None:
            self.book.unpin(forgotten, Pin.AWAITED, now)

    async def wait_for_checks(self) -> None:
        """Return when nobody is called or under check any more."""
        while self.awaited.calls or self._under_check:
            await self.changed.park()

    def expire(self) -> None:
        """Forget who has been missed for too long, and addresses that are too old."""
        now = self._clock.monotonic()
        for peer in self.awaited.expire(now):
            self.book.unpin(peer, Pin.AWAITED, now)
        self.book.expire(now)

    # Who is to be checked

    def take_checks(self) -> list[PeerId]:
        """Who is to be asked FIND_NODE for its own id now. Each is named once, until `checked` says that it was asked.

        Suspects, since somebody else has answered; before that the witness, so that somebody may; then who is missed, then
        newcomers and who has not been heard of for long. No more than MAX_CHECKS are under way at a time.
        """
        due = self._not_under_check(self._suspicion.to_ask(), self._room)
        self._begin(due)
        missed = self._not_under_check(self.awaited.take_called(self._room, self._clock.monotonic()), self._room)
        self._begin(missed)
        others = self._not_under_check(self._unchecked, self._room)
        self._begin(others)
        return due + missed + others

    def checked(self, peer: PeerId) -> None:
        """`peer`, named by `take_checks`, was asked; `answered` or `failed` has said what came of it."""
        self._under_check.pop(peer, None)
        self.changed.unpark_all()

    @property
    def _room(self) -> int:
        return MAX_CHECKS - len(self._under_check)

    def _not_under_check(self, peers: Iterable[PeerId], room: int) -> list[PeerId]:
        return list(islice((peer for peer in peers if peer not in self._under_check), room))

    def _begin(self, peers: Iterable[PeerId]) -> None:
        for peer in peers:
            self._unchecked.pop(peer, None)
            self._under_check[peer] = None

    def _to_check(self, peer: PeerId) -> None:
        self._unchecked[peer] = None
        if len(self._unchecked) > MAX_UNCHECKED:
            del self._unchecked[next(iter(self._unchecked))]
        self.changed.unpark_all()

    def _try_another(self, replacement: PeerId | None) -> None:
        if replacement is not None:
            self.introduce(replacement)

    # How the table changes

    def _admit(self, peer: PeerId, at: Address | None) -> None:
        now = self._clock.monotonic()
        # Counted by the address it was reached at: what it merely claims would use up the places of others. A member is
        # counted anew, as it may have moved.
        self._unchecked.pop(peer, None)
        match self.table.add(PeerInfo(peer, () if at is None else (at,)), now):
            case Added(bucket):
                self._neighbours = None
                self.book.pin(peer, Pin.TABLE, now)
                self._tell(PeerAdmitted(at=now, peer=peer, bucket=bucket))
                self.changed.unpark_all()
            case Removed() as removed:
                self._departed(removed, "moved")
            case _:
                pass
        self._welcome_back(peer, now)

    def _evict(self, peer: PeerId, cause: Literal["failed", "left_protocol"]) -> None:
        removed = self.table.remove(peer)
        if removed is not None:
            self._departed(removed, cause)

    def _departed(self, removed: Removed, cause: Literal["failed", "left_protocol", "moved"]) -> None:
        now = self._clock.monotonic()
        self._neighbours = None
        self._suspicion.trust(removed.peer)
        if cause == "failed":
            self._await(removed.peer, stayed=now - removed.added)
        self.book.unpin(removed.peer, Pin.TABLE, now)
        self._tell(PeerEvicted(at=now, peer=removed.peer, bucket=removed.bucket, cause=cause))
        self._try_another(removed.replacement)
        self.changed.unpark_all()

    def _await(self, peer: PeerId, stayed: float) -> None:
        now = self._clock.monotonic()
        # Pinned: it is to be found again at the address it had, however long that takes.
        self.book.pin(peer, Pin.AWAITED, now)
        forgotten = self.awaited.add(peer, stayed, now)
        if forgotten is not None:
            self.book.unpin(forgotten, Pin.AWAITED, now)

    def _welcome_back(self, peer: PeerId, now: float) -> None:
        awaited = self.awaited.returned(peer, now)
        if awaited is None:
            return
        self.book.unpin(peer, Pin.AWAITED, now)
        if awaited.stayed:
            self._tell(PeerReturned(at=now, peer=peer, away=now - awaited.since))
        self.changed.unpark_all()
