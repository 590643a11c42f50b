"""What this node gives to one peer, and what it does at a time itself.

requests      a peer that asks too often is answered later; the streams that it may have, each with one request at a time,
              are what waits, so that the reset for those who would wait for long is seldom needed
stored        a peer has so many new records and bytes stored, and gets that back over hours
updates       records are changed only so often, under one key and by one publisher
lookups, requests in flight, all together and to one peer
              whoever comes beyond waits for a turn

All that is remembered of peers and keys is bounded (core/allowance.py). Nothing of this is held against a peer: its stream is
reset, and that is all. Each time somebody is turned away or has to wait `LimitReached` tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from hashlib import sha256

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.allowance import Allowance
from p2pkad.core.peers import PeerId
from p2pkad.core.records import Record, StoredProvider, StoredRecord
from p2pkad.errors import LocalLimit, StoreFailed, StoreFull
from p2pkad.events import Limit, LimitReached
from p2pkad.net.base import MAX_STREAMS
from p2pkad.node.clock import Clock
from p2pkad.node.telling import Telling
from p2pkad.store.base import Decide, Store

REMEMBERED = 10_000
"""Peers, or keys, of which each limit knows what they took: as many as the address book has."""

LONGEST_WAIT = 1.0
"""Seconds that a request waits for its turn; it is reset when it would be more. Peers wait 5 to 10 for an answer, and lookups
of this implementation go on without it after 2."""

RELAYED = b"relayed/"
"""Goes before the id of a publisher whose record came from somebody else."""

Cost = tuple[Limit, bytes, float]
"""Of which allowance, by whom, how much."""


class Limits:
    """The allowances of peers, keys and publishers, and the turns of the node's own lookups and requests."""

    def __init__(self, config: KademliaConfig, clock: Clock, tell: Telling) -> None:
        self.lookups = Turns(config.max_lookups)
        self.requests = Turns(config.max_requests_in_flight)
        self._to_peers: dict[PeerId, TurnsOfPeer] = {}
        self._clock = clock
        self._tell = tell
        self._most: dict[Limit, int] = {
            "requests_per_peer": config.max_requests_per_peer,
            "stored_per_peer": config.max_stored_per_peer,
            "stored_bytes_per_peer": config.max_stored_bytes_per_peer,
            "updates_per_key": config.max_updates_per_key,
            "updates_per_publisher": config.max_updates_per_publisher,
        }
        seconds = {
            "requests_per_peer": config.max_requests_per_peer / config.request_rate_per_peer,
            "stored_per_peer": config.stored_refill,
            "stored_bytes_per_peer": config.stored_refill,
            "updates_per_key": config.update_refill,
            "updates_per_publisher": config.update_refill,
        }
        self._allowed = {limit: Allowance(most, most / seconds[limit], most=REMEMBERED) for limit, most in self._most.items()}

    def reached(self, limit: Limit, peer: PeerId | None) -> None:
        """Somebody was turned away, or has to wait."""
        if self._tell.wanted(LimitReached):
            self._tell(LimitReached(at=self._clock.monotonic(), limit=limit, peer=peer))

    def requests_to(self, peer: PeerId) -> TurnsOfPeer:
        """The turns of requests to one peer, MAX_STREAMS at a time. `done_with` has to follow."""
        turns = self._to_peers.get(peer)
        if turns is None:
            turns = self._to_peers[peer] = TurnsOfPeer(MAX_STREAMS)
        turns.users += 1
        return turns

    def done_with(self, peer: PeerId, turns: TurnsOfPeer) -> None:
        """They are remembered until the last one is."""
        turns.users -= 1
        if not turns.users:
            del self._to_peers[peer]

    async def let_in(self, peer: PeerId) -> None:
        """Wait until a request of this peer may be dealt with, LONGEST_WAIT at most. Raises LocalLimit: not even then."""
        allowed, now = self._allowed["requests_per_peer"], self._clock.monotonic()
        wait = allowed.wait(peer, 1, now)
        if wait > 0:
            self.reached("requests_per_peer", peer)
            if wait > LONGEST_WAIT:
                raise LocalLimit("requests_per_peer", self._most["requests_per_peer"])
        # Before the wait: the next one waits behind this one.
        allowed.take(peer, 1, now)
        if wait > 0:
            await trio.sleep(wait)

    async def put(self, store: Store, peer: PeerId, key: bytes, keep: Decide) -> StoredRecord | None:
        """Have the store decide by `keep` on a record that `peer` sent. Raises what both do, and LocalLimit."""
        with self._bill(store, peer) as bill:

            def decide(stored: StoredRecord | None) -> StoredRecord | None:
                bill.give_back()  # it may run more than once
                chosen = keep(stored)
                if chosen is not None:
                    bill.take(_costs_of_put(peer, stored, chosen))
                return chosen

            return await store.update(key, decide)

    async def add_provider(self, store: Store, key: bytes, provider: StoredProvider) -> None:
        """Have the store remember what a provider said of itself. Raises what the store does, and LocalLimit."""
        peer = provider.provider.id
        known = await store.providers(key, provider.received)
        with self._bill(store, peer) as bill:
            bill.take(_costs_of_provider(key, next((each for each in known if each.provider.id == peer), None), provider))
            await store.add_provider(key, provider)

    @contextmanager
    def _bill(self, store: Store, peer: PeerId) -> Iterator[Bill]:
        """Around what the store is asked to do for a peer. What does not come to be costs nothing.

        It is taken before the disk has it: whatever else comes by then would find it untaken. Where it is cancelled it is
        stored or not, and the peer itself may have brought that about.
        """
        bill = Bill(self._allowed, self._most, self._clock)
        try:
            yield bill
        except Exception as error:
            if not (isinstance(error, StoreFailed) and error.in_use):
                bill.give_back()
            if isinstance(error, OverLimit):
                self.reached(error.name, peer)
            elif isinstance(error, StoreFull) and store.trouble is None:  # else its disk is full, which is no limit
                self.reached("store", peer)
            raise


class Bill:
    """What one thing that is stored costs, and what of that is taken."""

    def __init__(self, allowed: Mapping[Limit, Allowance], most: Mapping[Limit, int], clock: Clock) -> None:
        self._allowed = allowed
        self._most = most
        self._clock = clock
        self._taken: list[Cost] = []

    def take(self, costs: list[Cost]) -> None:
        """Take all of it. Raises OverLimit: there is not so much, and nothing is taken."""
        now = self._clock.monotonic()
        for limit, name, amount in costs:
            if self._allowed[limit].wait(name, amount, now) > 0:
                raise OverLimit(limit, self._most[limit])
        for limit, name, amount in costs:
            self._allowed[limit].take(name, amount, now)
        self._taken = costs

    def give_back(self) -> None:
        """It costs nothing, so far."""
        now = self._clock.monotonic()
        for limit, name, amount in self._taken:
            self._allowed[limit].give_back(name, amount, now)
        self._taken = []


class OverLimit(LocalLimit):
    """A LocalLimit that knows which one it is."""

    def __init__(self, name: Limit, limit: int) -> None:
        super().__init__(name, limit)
        self.name = name


def _costs_of_put(peer: PeerId, stored: StoredRecord | None, chosen: StoredRecord) -> list[Cost]:
    """A renewal of what is there costs nothing: holders and readers do that, for each other."""
    size = _size(chosen.record)
    if stored is None:
        return [("stored_per_peer", peer, 1), ("stored_bytes_per_peer", peer, size)]
    if stored.record.value == chosen.record.value:
        return []
    costs: list[Cost] = [("updates_per_key", sha256(chosen.record.key).digest(), 1)]  # of any length, and remembered
    costs += [("updates_per_publisher", name, 1) for name in _publishers(peer, chosen.record)]
    growth = size - _size(stored.record)
    return [*costs, ("stored_bytes_per_peer", peer, growth)] if growth > 0 else costs


def _publishers(peer: PeerId, record: Record) -> Iterator[bytes]:
    # Anybody can name any publisher. So whom a record names counts beside its sender, not in its stead, or one could use
    # many names; and apart from what the publisher sends itself, or others could use up what it may.
    yield peer
    if record.publisher and record.publisher != peer:
        yield RELAYED + record.publisher


def _costs_of_provider(key: bytes, known: StoredProvider | None, provider: StoredProvider) -> list[Cost]:
    """The same again costs nothing. known: what it said of itself before, as far as that is still told."""
    peer = provider.provider.id
    if known is None:
        size = len(key) + len(peer) + _size_of_addresses(provider)
        return [("stored_per_peer", peer, 1), ("stored_bytes_per_peer", peer, size)]
    growth = _size_of_addresses(provider) - _size_of_addresses(known)
    return [("stored_bytes_per_peer", peer, growth)] if growth > 0 else []


def _size_of_addresses(stored: StoredProvider) -> int:
    return sum(len(each.raw) for each in stored.provider.addresses)


def _size(record: Record) -> int:
    return len(record.key) + len(record.value) + len(record.publisher)


class Lane(Enum):
    """Who waits for a turn: somebody who called the node, or one of its chores."""

    CALLS = "calls"
    CHORES = "chores"

    @property
    def other(self) -> Lane:
        return Lane.CHORES if self is Lane.CALLS else Lane.CALLS


class Turns:
    """So many at a time. Who comes beyond waits in the order of coming; while both lanes wait, they take turns.

    most: how many at a time. moved: when one was done with last, in seconds of trio's clock, as told by whoever knows: while
    that goes on, who waits waits for nobody in particular.
    """

    @property
    def slow(self) -> bool:
        """Whether those who wait do so because a peer is slow."""
        return False

    def __init__(self, most: int) -> None:
        self.most = most
        self.moved = float("-inf")
        self._free = most
        self._waiting: dict[Lane, trio.lowlevel.ParkingLot] = {}  # seldom any, and these are made by the request
        self._next = Lane.CALLS

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<Turns {self.most - self._free}/{self.most} waiting={waiting}>"

    def take_now(self) -> bool:
        """Take a place that is free; False when there is none. Each one that was taken is to be given back."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take_in_turn(self, deadline: float, lane: Lane = Lane.CALLS) -> bool:
        """Wait for a place; False when there was none by the deadline. Cancelled: none is taken."""
        with trio.move_on_at(deadline):
            await self._waiting.setdefault(lane, trio.lowlevel.ParkingLot()).park()
            return True  # who is woken has the place of whoever gave it back
        return False

    def give_back(self) -> None:
        """Done: the next one that waits has the place."""
        if self._waiting:
            for lane in (self._next, self._next.other):
                if waiting := self._waiting.get(lane):
                    self._next = lane.other
                    waiting.unpark()
                    return
        self._free += 1


class TurnsOfPeer(Turns):
    """Those of requests to one peer. users: for whoever keeps it."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.users = 0
        self._late = 0

    @property
    def slow(self) -> bool:
        """Whether a whole round of answers came late, one after the other."""
        return self._late >= self.most

    def answered(self, *, late: bool) -> None:
        """The peer has answered a request."""
        self.moved = trio.current_time()
        self._late = self._late + 1 if late else 0
