"""What the network is told: values and providers, on the k live peers nearest to their key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import ClosestPeers, Failure, Value
from p2pkad.core.lookup import Ending, Outcome
from p2pkad.core.messages import AddProvider, AnyReply, GetProviders, GetProvidersReply, PutValue, PutValueReply
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.records import NEVER, Record, StoredProvider, StoredRecord, keep, passed_on, seconds_left
from p2pkad.errors import (
    InvalidRecord,
    LocalProtocolError,
    NoPeers,
    P2pkadError,
    QuorumNotMet,
    RecordTooLarge,
    StoreError,
    StoreFailed,
    key_text,
)
from p2pkad.events import NodeEvent, Published, PublishFailed
from p2pkad.net.base import Connection, Network
from p2pkad.node.arguments import check_count
from p2pkad.node.asking import Asking, DidNotAnswer, failure_of
from p2pkad.node.clock import Clock
from p2pkad.node.cycle import Cycle
from p2pkad.node.limits import Lane
from p2pkad.node.membership import Membership
from p2pkad.node.placing import Word, fill_places, who
from p2pkad.node.querying import Querying
from p2pkad.node.results import ProvideReceipt, PutReceipt
from p2pkad.node.superseding import Superseding
from p2pkad.store.base import Decide, Kind, Store
from p2pkad.validators.base import Validators
from p2pkad.wire.codec import encode_request

R = TypeVar("R", PutReceipt, ProvideReceipt)

LOOKUP_SHARE = 2 / 3
"""Of the time for a put: what the lookup may take, so that there is some left to store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Who is to hold something. nearest, others: as for `fill_places`; there may be nobody.

    missed: how many more may be among the k nearest, because they did not answer in time, or were not asked before it was over.
    """

    nearest: Sequence[PeerId] = ()
    others: Sequence[PeerId] = ()
    missed: int = 0


class Publishing:
    """The writing half of a node. spawn: starts what goes on after a call has returned."""

    def __init__(
        self,
        network: Network,
        membership: Membership,
        asking: Asking,
        querying: Querying,
        store: Store,
        validators: Validators,
        config: KademliaConfig,
        clock: Clock,
        cycle: Cycle,
        superseding: Superseding,
        spawn: Callable[..., None],
        tell: Callable[[NodeEvent], None],
    ) -> None:
        self._network = network
        self._membership = membership
        self._asking = asking
        self._querying = querying
        self._store = store
        self._validators = validators
        self._config = config
        self._clock = clock
        self._cycle = cycle
        self._superseding = superseding
        self._spawn = spawn
        self._tell = tell

    async def put_value(
        self, key: bytes, value: bytes, *, min_stored: int, allow_large: bool, timeout: float | None
    ) -> PutReceipt:
        """Store `value` here and on the live peers nearest to `key`.

        Raises, with nothing sent: InvalidRecord; RecordTooLarge; StaleRecord, a better value is known here. NoPeers: only
        the own copy was stored, nobody was found. QuorumNotMet: fewer than `min_stored` hold it; `.receipt` names them.
        """
        return await self._told("record", key, self._put_value(key, value, min_stored, allow_large, timeout))

    async def _put_value(
        self, key: bytes, value: bytes, min_stored: int, allow_large: bool, timeout: float | None
    ) -> PutReceipt:
        check_count("min_stored", min_stored)
        record = self._record(key, value, allow_large=allow_large)
        deadline = self._deadline(timeout)
        with self._stored_by(deadline, "record"):
            await self._store.update(key, self._keep_own(record))
        receipt = await self._publish(record, await self._nearest("record", key, deadline), deadline)
        if len(receipt.stored) < min_stored:
            answered = len({*receipt.stored, *receipt.refused} - {self._membership.own})
            here = "this node included; " if self._membership.own in receipt.stored else ""
            raise QuorumNotMet(
                f"{key_text(key)}: stored by {len(receipt.stored)} of {min_stored} ({here}"
                f"{len(receipt.refused)} refused, {len(receipt.unreachable)} unreachable)",
                asked=answered + len(receipt.unreachable),
                answered=answered,
                receipt=receipt,
            )
        return receipt

    async def put_again(self, key: bytes) -> PutReceipt | None:
        """Put the node's own record under `key` once more; None when it publishes none any more.

        Somebody else may have a better one: this node keeps that instead, where it has room, and tells so.
        Raises InvalidRecord: its validator refuses it by now. NoPeers. StoreFull, StoreFailed: of the disk.
        """
        stored = await self._store.get(key, self._clock.wall())
        if stored is None or not stored.own:
            return None
        record = self._record(key, stored.record.value, allow_large=True)
        deadline = self._deadline(None)
        asked = self._clock.wall()
        goal = Value(key, 0, partial(self._validators.select, key), (self._membership.own, record))
        outcome = await self._querying.run_lookup(goal, timeout=self._for_lookup(deadline), lane=Lane.CHORES)
        better = self._passed_on(goal, asked) if goal.best is not None and goal.best.value != record.value else None
        if better is not None:
            try:
                await self._superseding.keep(key, partial(self._keep, better))
            except StoreError:  # of a disk that hangs the better one is in use all the same
                if _publishes(await self._store.get(key, self._clock.wall()), record):
                    raise
        stored = await self._store.get(key, self._clock.wall())
        if not _publishes(stored, record):  # nor where it was withdrawn, or replaced by a newer one of the node's own
            return None
        return await self._publish(record, self._holders(key, outcome), deadline)

    async def stop_publishing(self, key: bytes) -> bool:
        """Forget the node's own record under `key`; False when it had none. What others hold goes with its lifetime."""
        own = False

        def forget(stored: StoredRecord | None) -> StoredRecord | None:
            nonlocal own
            own = stored is not None and stored.own
            return None if own else stored

        await self._store.update(key, forget)
        return own

    async def provide(self, key: bytes, *, confirm: bool, timeout: float | None) -> ProvideReceipt:
        """Tell the live peers nearest to the multihash `key` that this node provides it, and ask whether they know.

        Raises LocalProtocolError: this node has no address at which it could be reached. NoPeers: nobody was found to tell.
        QuorumNotMet: none of those who were found took it; `.receipt` names them.
        """
        return await self._told("provider", key, self._provide(key, confirm, timeout))

    async def _provide(self, key: bytes, confirm: bool, timeout: float | None) -> ProvideReceipt:
        own = PeerInfo(self._membership.own, self._own_addresses())
        deadline = self._deadline(timeout)
        # It ends only when the node stops providing: the entry has no lifetime.
        due = self._cycle.first("provider")
        with self._stored_by(deadline, "provider"):
            await self._store.add_provider(key, StoredProvider(own, self._clock.wall(), expires=NEVER, own=True, due=due))
        return await self._announce_all(key, await self._nearest("provider", key, deadline), deadline, confirm=confirm)

    async def provide_again(self, key: bytes) -> ProvideReceipt | None:
        """Announce once more that this node provides `key`; None when it does no more. Raises as `provide`."""
        addresses = self._own_addresses()
        deadline = self._deadline(None)
        holders = await self._nearest("provider", key, deadline, Lane.CHORES)
        now = self._clock.wall()
        own = next((stored for stored in await self._store.providers(key, now) if stored.own), None)
        if own is None:
            return None
        # Before anybody is told: if the node moves meanwhile, some hear of the old place, and this shows it (node/moving.py).
        if own.provider.addresses != addresses and not await self._store.set_addresses(key, addresses, now):
            return None
        return await self._announce_all(key, holders, deadline, confirm=False)

    async def stop_providing(self, key: bytes) -> bool:
        """Forget that this node provides `key`; False when it did not. What others hold goes with its lifetime."""
        return await self._store.remove_provider(key, self._membership.own)

    def correct(self, goal: Value, outcome: Outcome, asked: float) -> None:
        """Bring the best record, no younger than it came, to those that should hold it, after the caller has got it.

        asked: when the caller began to ask, in wall seconds. What has ended since is brought to nobody.
        After a full lookup these are all of the k nearest that do not hold it; after one that a quorum ended early only
        those that answered with a worse one: of the others nothing is known. A worse own copy is replaced, too.
        kad-dht r2, "Entry correction".
        """
        best = self._passed_on(goal, asked)
        if best is None:
            return
        if self._membership.own in goal.outdated():
            self._spawn(self._correct_own, best)
        if outcome.ending is Ending.CONVERGED:
            holders = set(goal.holders)
            wrong = [peer for peer in outcome.closest if peer not in holders]
        else:
            wrong = [peer for peer in goal.outdated() if peer != self._membership.own]
        if wrong:
            deadline = self._clock.monotonic() + self._config.request_timeout
            self._spawn(self._put_all, best, Holders(nearest=wrong), deadline)

    async def _told(self, kind: Kind, key: bytes, work: Awaitable[R]) -> R:
        began = self._clock.monotonic()
        try:
            receipt = await work
        except P2pkadError as error:
            now = self._clock.monotonic()
            self._tell(PublishFailed(at=now, kind=kind, key=key, seconds=now - began, error=error))
            raise
        now = self._clock.monotonic()
        self._tell(Published(at=now, kind=kind, key=key, seconds=now - began, receipt=receipt))
        return receipt

    @contextmanager
    def _stored_by(self, deadline: float, kind: Kind) -> Iterator[None]:
        """Around the storing of an own entry. Raises StoreFailed: it took until the deadline; it is stored or not."""
        began = self._clock.monotonic()
        try:
            with trio.move_on_at(deadline) as scope:
                yield
        finally:
            self._cycle.stored(kind)
        if scope.cancelled_caught:
            seconds = max(0.0, deadline - began)
            raise StoreFailed(f"the store took more than {seconds:.3g} s, and may store it yet", in_use=True)

    def _passed_on(self, goal: Value, asked: float) -> Record | None:
        return passed_on(goal.copies, asked=asked, now=self._clock.wall(), lifetime=self._config.record_lifetime)

    async def _correct_own(self, record: Record) -> None:
        with suppress(StoreError):  # it is corrected by the next reader
            await self._superseding.keep(record.key, partial(self._keep, record))

    def _record(self, key: bytes, value: bytes, *, allow_large: bool) -> Record:
        now = self._clock.wall()
        if not value:
            raise InvalidRecord(key, "an empty value is no value to go and js")
        self._validators.validate(key, value, now)
        expires = self._validators.expires(key, value)
        record = Record(key, value)
        if expires is not None:
            # rust keeps a record for the seconds in its field 777 and knows nothing of what the value says about itself.
            # With a ttl goes the publisher: such a record is renewed only by whoever says that it is his.
            record = replace(record, ttl=seconds_left(expires, now), publisher=bytes(self._membership.own))
        size = len(encode_request(PutValue(key, record)))
        limit = self._config.max_message if allow_large else self._config.max_reply
        if size > limit:
            raise RecordTooLarge(key, size, limit, everywhere=not allow_large)
        return record

    def _keep(self, record: Record) -> Decide:
        return keep(record, now=self._clock.wall(), lifetime=self._config.record_lifetime, rules=self._validators)

    def _keep_own(self, record: Record) -> Decide:
        # As long as it is published it lives, unless its value says when it dies.
        due = self._cycle.first("record")
        return keep(record, now=self._clock.wall(), lifetime=NEVER, rules=self._validators, own=True, due=due)

    def _own_addresses(self) -> tuple[Address, ...]:
        addresses = self._network.local_addresses()
        if not addresses:
            raise LocalProtocolError("a provider needs an address: listen on one, or announce one")
        return addresses

    def _deadline(self, timeout: float | None) -> float:
        return self._clock.monotonic() + (self._config.put_timeout if timeout is None else timeout)

    def _for_lookup(self, deadline: float) -> float:
        return (deadline - self._clock.monotonic()) * LOOKUP_SHARE

    async def _nearest(self, kind: Kind, key: bytes, deadline: float, lane: Lane = Lane.CALLS) -> Holders:
        """The live peers nearest to `key`; nobody, where the configuration allows to be alone. Raises NoPeers, LocalLimit."""
        try:
            outcome = await self._querying.run_lookup(ClosestPeers(key), timeout=self._for_lookup(deadline), lane=lane)
            return self._holders(key, outcome)
        except NoPeers as nobody:
            if not nobody.asked and lane is Lane.CALLS:
                await self._cycle.held_up(kind, key)
            if not self._config.allow_zero_peers:
                raise
            return Holders()

    def _holders(self, key: bytes, outcome: Outcome) -> Holders:
        if not outcome.closest:
            raise NoPeers(key_text(key), asked=outcome.asked, late=outcome.ending is Ending.DEADLINE)
        missed = outcome.late if outcome.complete else len(outcome.others)
        return Holders(nearest=outcome.closest, others=outcome.others, missed=missed)

    async def _publish(self, record: Record, holders: Holders, deadline: float) -> PutReceipt:
        words = await self._put_all(record, holders, deadline)
        taken, lost = who(words, Word.TAKEN), who(words, Word.LOST)
        # While others were asked somebody may have withdrawn it, or put a better one here.
        stored = await self._store.get(record.key, self._clock.wall())
        if _publishes(stored, record):
            await self._book("record", record.key, reached=len(taken), missed=holders.missed + len(lost))
        here = stored is not None and stored.record.value == record.value
        return PutReceipt(
            key=record.key,
            stored=(self._membership.own, *taken) if here else taken,
            refused=who(words, Word.DECLINED),
            unreachable=lost,
        )

    async def _book(self, kind: Kind, key: bytes, *, reached: int, missed: int) -> None:
        # Less than half of them is not what the user wanted: it is tried again soon.
        if reached and reached >= min(missed, self._config.k - reached):
            await self._cycle.published(kind, key)

    async def _put_all(self, record: Record, holders: Holders, deadline: float) -> dict[PeerId, Word]:
        put = partial(self._put, record, deadline)
        return await fill_places(put, holders.nearest, holders.others, deadline=deadline)

    async def _put(self, record: Record, deadline: float, peer: PeerId) -> Word:
        info = self._membership.info(peer)
        try:
            reply = await self._asking.ask(info, PutValue(record.key, record), deadline)
        except DidNotAnswer as error:
            return self._word_of(peer, error)
        except LocalProtocolError:
            # It came in a message that was full, and with the date of its arrival it does not fit into one any more.
            return Word.DECLINED
        kept = isinstance(reply, PutValueReply) and reply.record.value == record.value
        return Word.TAKEN if kept else Word.DECLINED

    async def _announce_all(self, key: bytes, holders: Holders, deadline: float, *, confirm: bool) -> ProvideReceipt:
        announce = partial(self._announce, key, deadline, confirm)
        words = await fill_places(announce, holders.nearest, holders.others, deadline=deadline)
        taken, unknown, lost = who(words, Word.TAKEN), who(words, Word.UNKNOWN), who(words, Word.LOST)
        await self._book("provider", key, reached=len(taken + unknown), missed=holders.missed + len(lost))
        receipt = ProvideReceipt(
            key=key,
            sent=taken + unknown,
            refused=who(words, Word.DECLINED),
            unreachable=lost,
            confirmed=taken if confirm else (),
            unknown=unknown,
        )
        if words and not receipt.sent:
            raise QuorumNotMet(
                f"{key_text(key)}: announced to none of {len(words)} peers ({self._why_refused(receipt.refused)}, "
                f"{len(lost)} unreachable). It is announced again by itself",
                asked=len(words),
                answered=len(receipt.refused),
                receipt=receipt,
            )
        return receipt

    async def _announce(self, key: bytes, deadline: float, confirm: bool, peer: PeerId) -> Word:
        info = self._membership.info(peer)
        try:
            connection = await self._asking.connect(info, deadline)
            addresses = self._addresses_for(connection)
            if not addresses:
                return Word.DECLINED
            announcement = AddProvider(key, (PeerInfo(self._membership.own, addresses),))
            if confirm:
                return self._word_in(await self._asking.tell_and_ask(info, announcement, GetProviders(key), deadline))
            await self._asking.tell(info, announcement, deadline)
        except DidNotAnswer as error:
            return self._word_of(peer, error)
        return Word.TAKEN

    def _addresses_for(self, connection: Connection) -> tuple[Address, ...]:
        # Which of the own addresses a peer may be told depends on where it is connected through.
        return self._membership.believed(self._network.local_addresses(), connection.remote_address)

    def _why_refused(self, refused: Sequence[PeerId]) -> str:
        connections = [connection for peer in refused if (connection := self._network.connection(peer)) is not None]
        untold = sum(not self._addresses_for(connection) for connection in connections)
        if not untold:
            return f"{len(refused)} refused"
        return f"{len(refused)} refused, {untold} of them because no address of this node leads to it from where they are"

    def _word_in(self, reply: AnyReply) -> Word:
        told = isinstance(reply, GetProvidersReply) and any(each.id == self._membership.own for each in reply.providers)
        return Word.TAKEN if told else Word.UNKNOWN

    def _word_of(self, peer: PeerId, error: Exception) -> Word:
        match failure_of(error):
            case Failure.MALFORMED:
                return Word.DECLINED
            case Failure.REFUSED if self._network.connection(peer) is not None:
                return Word.DECLINED
            case _:  # a stream that ended together with its connection was not refused: the peer went away
                return Word.LOST


def _publishes(stored: StoredRecord | None, record: Record) -> bool:
    """Whether what is stored is this record, published by the node itself."""
    return stored is not None and stored.own and stored.record.value == record.value
