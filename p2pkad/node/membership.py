"""Who is in the routing table, and why; where peers are to be found.

enters     who answered a request, or the admission check (FIND_NODE for its own id)
stays      who answers; an inbound request alone proves nothing, clients send requests too
suspected  who could not be reached, was late when a lookup ended, or refused something else than FIND_NODE, as a server may:
           it stays until it fails once more after somebody else has answered
leaves     a suspect that failed again; who refused FIND_NODE or answered nonsense; who dropped the protocol

Suspicion is what keeps the table when the own cable is pulled: then everybody fails, nobody answers, and nobody is
evicted. So a failure is followed by a question to a witness, the peer that answered last: its answer shows that the
fault is not on this side, and the suspects are asked once more.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from itertools import chain, islice
from typing import Literal

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.address_book import AddressBook, Pin
from p2pkad.core.goals import Failure
from p2pkad.core.keyspace import SHA256, Key
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.routing_table import Added, Removed, RoutingTable
from p2pkad.core.scope import addresses_for, connection_scope
from p2pkad.events import NodeEvent, PeerAdmitted, PeerEvicted
from p2pkad.node.clock import Clock

MAX_KNOWN_PEERS = 10_000
MAX_ADDRESSES_PER_PEER = 16

MAX_CHECKS = 16
"""Checks under way at a time: a crowd of newcomers must not crowd out the node's own lookups."""

MAX_NEWCOMERS = 1_000
"""Newcomers that wait for their check; of more the first ones are forgotten, until they identify themselves again."""


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
        self._newcomers: dict[PeerId, None] = {}
        self._under_check: dict[PeerId, None] = {}
        self._answers = 0  # how many requests were answered so far: the order of events, which a clock may not tell
        self._suspects: dict[PeerId, int] = {}  # and how many had been answered when they failed
        self._witness: PeerId | None = None  # who answered last

    # Where peers are

    def info(self, peer: PeerId) -> PeerInfo:
        """A peer with the addresses known now, best first; possibly none."""
        return self.book.info(peer, self._clock.monotonic())

    def heard(self, infos: Iterable[PeerInfo], via: Address | None) -> tuple[PeerInfo, ...]:
        """Those that can be asked of the peers told by somebody connected through `via`, with the addresses believed.

        They are in the address book afterwards. A peer without a believable address counts only if it is known already.
        """
        now, scope = self._clock.monotonic(), connection_scope(via)
        usable = []
        for info in infos:
            if info.id == self.own:
                continue
            addresses = addresses_for(info.addresses, self._config.scope, scope)
            if addresses:
                self.book.learn(info.id, addresses, now, self._config.address_lifetime)
            if addresses or self.book.info(info.id, now).addresses:
                usable.append(info if addresses is info.addresses else PeerInfo(info.id, addresses))
        return tuple(usable)

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

    def nearest(self, target: Key, count: int) -> list[PeerInfo]:
        """The `count` peers of the table nearest to `target`, nearest first."""
        return [self.info(peer) for peer in self.table.closest(target, count)]

    def seeds(self, name: bytes, count: int) -> list[PeerId]:
        """Whom a lookup of `name` begins with."""
        return self.table.closest(SHA256.key(name), count)

    @property
    def usable(self) -> int:
        """Peers in the table that are not under suspicion."""
        return len(self.table) - len(self._suspects)

    # Who comes and goes

    def answered(self, peer: PeerId, at: Address | None, *, told_nobody: bool) -> None:
        """`peer` answered a request, reached `at` this address. told_nobody: its answer named no closer peer."""
        now = self._clock.monotonic()
        self._answers += 1
        self._witness = peer
        self._suspects.pop(peer, None)
        # go's lookup check: once the table is not small, who knows nobody helps nobody. A fresh rust node is such a one;
        # it is asked again when it identifies itself again.
        if peer in self.table or not (told_nobody and len(self.table) >= self._config.k):
            self._admit(peer, at, now)
        if self._suspects:
            self.changed.unpark_all()

    def failed(self, peer: PeerId, reason: Failure) -> None:
        """`peer` gave no answer to a request."""
        if peer == self._witness:
            self._witness = None
        if peer not in self.table:
            self.table.remove(peer)  # it may wait in the replacement cache
            self._try_another(self.table.replacement(self.table.bucket_of(peer)))
        elif reason in (Failure.REFUSED, Failure.MALFORMED) or self._others_answered_since_it_failed(peer):
            self._evict(peer, "failed")
        else:
            self.doubt(peer)

    def doubt(self, peer: PeerId) -> None:
        """`peer` may be dead: if it is in the table it is to be checked, once somebody else has answered."""
        if peer in self.table:
            self._suspects.setdefault(peer, self._answers)
            self.changed.unpark_all()

    def left(self, peer: PeerId) -> None:
        """`peer` does not speak the protocol any more."""
        self._newcomers.pop(peer, None)
        self._evict(peer, "left_protocol")

    def introduce(self, peer: PeerId) -> None:
        """`peer` says that it is a server: it is to be checked, unless it is in the table."""
        if peer != self.own and peer not in self.table:
            self._newcomers[peer] = None
            if len(self._newcomers) > MAX_NEWCOMERS:
                del self._newcomers[next(iter(self._newcomers))]
            self.changed.unpark_all()

    def take_checks(self) -> list[PeerId]:
        """Who is to be asked FIND_NODE for its own id now. Each is named once, until `checked` says that it was asked.

        Suspects, since somebody else has answered; before that the witness, so that somebody may; then newcomers. No more
        than MAX_CHECKS are under way at a time.
        """
        suspects = [peer for peer in self._suspects if self._others_answered_since_it_failed(peer)]
        witness = [self._witness] if self._suspects and not suspects and self._witness is not None else []
        waiting = (peer for peer in chain(suspects, witness, self._newcomers) if peer not in self._under_check)
        due = list(islice(waiting, MAX_CHECKS - len(self._under_check)))
        for peer in due:
            self._newcomers.pop(peer, None)
            self._under_check[peer] = None
        return due

    def checked(self, peer: PeerId) -> None:
        """`peer`, named by `take_checks`, was asked; `answered` or `failed` has said what came of it."""
        self._under_check.pop(peer, None)
        self.changed.unpark_all()

    def _others_answered_since_it_failed(self, peer: PeerId) -> bool:
        return self._suspects.get(peer, self._answers) < self._answers

    def _admit(self, peer: PeerId, at: Address | None, now: float) -> None:
        # Counted by the address it was reached at: what it merely claims would use up the places of others. A member is
        # counted anew, as it may have moved.
        match self.table.add(PeerInfo(peer, () if at is None else (at,)), now):
            case Added(bucket):
                self._newcomers.pop(peer, None)
                self.book.pin(peer, Pin.TABLE, now)
                self._tell(PeerAdmitted(at=now, peer=peer, bucket=bucket))
                self.changed.unpark_all()
            case Removed() as removed:
                self._departed(removed, "moved")
            case _:
                pass

    def _evict(self, peer: PeerId, cause: Literal["failed", "left_protocol"]) -> None:
        removed = self.table.remove(peer)
        if removed is not None:
            self._departed(removed, cause)

    def _departed(self, removed: Removed, cause: Literal["failed", "left_protocol", "moved"]) -> None:
        now = self._clock.monotonic()
        self._suspects.pop(removed.peer, None)
        self.book.unpin(removed.peer, Pin.TABLE, now)
        self._tell(PeerEvicted(at=now, peer=removed.peer, bucket=removed.bucket, cause=cause))
        self._try_another(removed.replacement)
        self.changed.unpark_all()

    def _try_another(self, replacement: PeerId | None) -> None:
        if replacement is not None:
            self.introduce(replacement)
