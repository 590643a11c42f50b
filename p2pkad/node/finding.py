"""What the network is asked for: values, providers, a peer, the peers near a key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from math import inf
from typing import Self

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import ClosestPeers, OnePeer, Providers, Value
from p2pkad.core.lookup import Ending, Outcome
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record, served
from p2pkad.errors import LocalLimit, LocalProtocolError, LookupFailed, NoPeers, NotFound, QuorumNotMet, key_text
from p2pkad.net.base import Network
from p2pkad.node.arguments import check_count
from p2pkad.node.clock import Clock
from p2pkad.node.membership import Membership
from p2pkad.node.publishing import Publishing
from p2pkad.node.querying import Querying
from p2pkad.node.results import PeersFound, ValueFound
from p2pkad.store.base import Store
from p2pkad.validators.base import Validators

LOOKUPS_AT_ONCE = 4
"""Providers without addresses that are looked up at a time."""

NOBODY_ASKED = Outcome(closest=(), ending=Ending.NOBODY, asked=0, answered=0, failed=0, late=0)
ENOUGH_HERE = replace(NOBODY_ASKED, ending=Ending.REACHED)


class Finding:
    """The reading half of a node. Times out and raises as `run_lookup` does, with what there is by then."""

    def __init__(
        self,
        network: Network,
        membership: Membership,
        querying: Querying,
        publishing: Publishing,
        store: Store,
        validators: Validators,
        config: KademliaConfig,
        clock: Clock,
    ) -> None:
        self._network = network
        self._membership = membership
        self._querying = querying
        self._publishing = publishing
        self._store = store
        self._validators = validators
        self._config = config
        self._clock = clock

    async def get_record(self, key: bytes, *, quorum: int, timeout: float | None) -> ValueFound:
        """The best value under `key`. Raises InvalidRecord, NotFound, NoPeers, QuorumNotMet."""
        check_count("quorum", quorum)
        self._validators.require(key)
        asked_at = self._clock.wall()
        own = await self._own_copy(key)
        goal = Value(key, quorum, partial(self._validators.select, key), own)
        outcome = ENOUGH_HERE if goal.reached else await self._look_up_beside_own(goal, timeout, have_own=own is not None)
        asked, answered, complete = outcome.asked, outcome.answered, outcome.complete
        if goal.best is None:
            raise NotFound(key_text(key), asked=asked, answered=answered, complete=complete)
        if answered:
            self._publishing.correct(goal, outcome, asked_at)
        if quorum > len(goal.holders):
            raise QuorumNotMet(
                f"{key_text(key)}: {len(goal.holders)} of {quorum} equal answers ({asked} asked, {answered} answered)",
                asked=asked,
                answered=answered,
                agreed=len(goal.holders),
                best=goal.best.value,
            )
        return ValueFound(
            key=key, value=goal.best.value, holders=goal.holders, asked=asked, answered=answered, complete=complete
        )

    async def find_providers(self, key: bytes, *, count: int | None, timeout: float | None) -> PeersFound:
        """Who provides the multihash `key`: at most `count`, or all that the k nearest know of. Raises NoPeers.

        Those whose addresses nobody told are looked up, as far as there is time.
        """
        deadline = self._deadline(timeout)
        goal = await self._providers_goal(key, count)
        outcome = ENOUGH_HERE if goal.reached else await self._look_up_beside_own(goal, timeout, have_own=goal.fruitful)
        found = list(goal.found.values())[:count]
        located: dict[PeerId, PeerInfo] = {}
        rest = iter(found)

        async def locate() -> None:
            for info in rest:
                located[info.id] = await self._located(info, deadline)

        async with trio.open_nursery() as nursery:
            for _ in range(LOOKUPS_AT_ONCE):
                nursery.start_soon(locate)
        return _peers_found([located[info.id] for info in found], outcome)

    @asynccontextmanager
    async def stream_providers(self, key: bytes, *, count: int | None, timeout: float | None) -> AsyncIterator[ProviderStream]:
        """The same, one by one, as answers come. Leaving the block cancels the lookup. Raises NoPeers from the iterator."""
        goal = await self._providers_goal(key, count)
        stream = ProviderStream(goal, partial(self._located, deadline=self._deadline(timeout)))
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.follow, partial(self._querying.run_lookup, goal, timeout=timeout))
            # What the block raises is carried around the nursery, which would wrap it in a group.
            try:
                yield stream
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def find_peer(self, peer: PeerId, *, timeout: float | None) -> PeerInfo:
        """Where `peer` can be reached. A connected peer is answered from memory. Raises NotFound, NoPeers."""
        if peer == self._membership.own:
            raise LocalProtocolError(f"{peer} is this node's own id: it knows where it is")
        connected = self._network.connection(peer) is not None
        known = self._membership.info(peer)
        if connected and known.addresses:
            return known
        goal = OnePeer(peer)
        outcome = await self._querying.run_lookup(goal, timeout=timeout)
        # It may have connected, or identified itself, in the meantime.
        connected = connected or self._network.connection(peer) is not None
        if not goal.reached and goal.info is None and not connected:
            raise NotFound(f"peer {peer}", asked=outcome.asked, answered=outcome.answered, complete=outcome.complete)
        told = goal.info.addresses if goal.info is not None else ()
        return PeerInfo(peer, tuple(dict.fromkeys(self._membership.info(peer).addresses + told)))

    async def closest_peers(self, key: bytes, *, count: int | None, timeout: float | None) -> PeersFound:
        """The live peers nearest to `key`, nearest first: at most `count`, and at most k.

        Raises NoPeers; LocalProtocolError: the key is empty or too large, or `count` is no count.
        """
        if not key:
            raise LocalProtocolError("an empty key is none: every server refuses it")
        if count is not None:
            check_count("count", count)
        outcome = await self._querying.run_lookup(ClosestPeers(key), timeout=timeout)
        return _peers_found([self._membership.info(peer) for peer in outcome.closest[:count]], outcome)

    async def _own_copy(self, key: bytes) -> tuple[PeerId, Record] | None:
        now = self._clock.wall()
        stored = await self._store.get(key, now)
        if stored is None or not self._validators.accepts(key, stored.record.value, now):
            return None
        return self._membership.own, served(stored, now)

    async def _providers_goal(self, key: bytes, count: int | None) -> Providers:
        if count is not None:
            check_count("count", count)
        known = await self._store.providers(key, self._clock.wall())
        return Providers(key, count, (each.provider for each in known))

    async def _look_up_beside_own(self, goal: Value | Providers, timeout: float | None, *, have_own: bool) -> Outcome:
        """The lookup; nobody answered where there is nobody to ask, or no turn to do it, but something of our own to show."""
        try:
            return await self._querying.run_lookup(goal, timeout=timeout)
        except (NoPeers, LocalLimit):
            if not have_own:
                raise
            return NOBODY_ASKED

    async def _located(self, info: PeerInfo, deadline: float) -> PeerInfo:
        """A provider with its addresses. Holders forget these first: its id may be all that they tell."""
        if info.id == self._membership.own:
            return PeerInfo(info.id, self._network.local_addresses())
        known = info if info.addresses else self._membership.info(info.id)
        if known.addresses or self._clock.monotonic() >= deadline:
            return known
        try:
            return await self.find_peer(info.id, timeout=deadline - self._clock.monotonic())
        except (LookupFailed, LocalLimit):
            return known

    def _deadline(self, timeout: float | None) -> float:
        return self._clock.monotonic() + (self._config.lookup_timeout if timeout is None else timeout)


class ProviderStream:
    """Providers, one after the other, as answers come.

    asked, answered, complete: how the lookup ended, as in `ValueFound`; before it has, nobody answered, and it is not.
    """

    # There is no queue: the goal remembers everything once.
    def __init__(self, goal: Providers, locate: Callable[[PeerInfo], Awaitable[PeerInfo]]) -> None:
        self.asked, self.answered, self.complete = 0, 0, False
        self._goal = goal
        self._locate = locate
        self._progress = trio.lowlevel.ParkingLot()
        self._error: NoPeers | LocalLimit | None = None
        self._told = 0
        self._over = False

    async def follow(self, look_up: Callable[..., Awaitable[Outcome]]) -> None:
        """Let the goal be looked up, and whoever iterates see what it finds. look_up: is told of `progress`."""
        try:
            outcome = ENOUGH_HERE if self._goal.reached else await look_up(progress=self._progress)
            self.asked, self.answered, self.complete = outcome.asked, outcome.answered, outcome.complete
        except (NoPeers, LocalLimit) as error:
            self._error = error
        self._over = True
        self._progress.unpark_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PeerInfo:
        await trio.lowlevel.checkpoint()
        most = inf if self._goal.count is None else self._goal.count
        # Also where all is told it is waited for: before, nothing is known of how it ended.
        while not self._over or self._told < min(most, len(self._goal.found)):
            if self._told < min(most, len(self._goal.found)):
                info = await self._locate(next(islice(self._goal.found.values(), self._told, None)))
                self._told += 1
                return info
            await self._progress.park()
        if self._error is not None and not self._told:
            raise self._error
        raise StopAsyncIteration


def _peers_found(peers: Sequence[PeerInfo], outcome: Outcome) -> PeersFound:
    return PeersFound(peers=tuple(peers), asked=outcome.asked, answered=outcome.answered, complete=outcome.complete)
