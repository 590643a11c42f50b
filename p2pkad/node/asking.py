"""One request to one peer, and what it says about the peer.

Lookups, puts, bootstrap and admission checks all ask through here, so that every answer and every failure is booked
once, and nobody above ever sees an address, a peer or a value that is not believed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TypeVar

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import Failure
from p2pkad.core.hearsay import believed
from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import (
    NAMES,
    AddProvider,
    AnyReply,
    AnyRequest,
    FindNode,
    FindNodeReply,
    GetProvidersReply,
    GetValueReply,
)
from p2pkad.core.patience import FLOOR, Patience
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.records import Record
from p2pkad.core.tally import Tally
from p2pkad.errors import LocalLimit, NetworkError, PeerBusy, PeerUnreachable, RemoteProtocolError, RequestTimeout
from p2pkad.events import RequestEnded, RequestResult
from p2pkad.net.base import Connection, Network, Response
from p2pkad.node.clock import Clock
from p2pkad.node.limits import Limits, Turns
from p2pkad.node.membership import Membership
from p2pkad.node.telling import Telling
from p2pkad.validators.base import Validators

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Errand:
    """One request, for whoever wants to know how long its answer is due. Made before it, and given to `ask` with it.

    queue: where it waits for its turn, on this side; None when it does not. left: when its turn came; None before that.
    """

    queue: Turns | None = None
    left: float | None = None


RETRY_AFTER_LOCAL_LIMIT = 0.05
"""Seconds until a request is tried again that this node's own connection limit turned away."""

FIRST_PAUSE = 0.25
"""Seconds, about, until a peer is tried again that had no room; each further pause is twice as long. A connection of a full
node is free for somebody else after as much or little more."""

LONGEST_PAUSE = 2.0
"""Seconds, about, that such a pause grows to."""

Call = Callable[[float], Awaitable[T]]
"""Asks a peer for something by a deadline."""

DidNotAnswer = (NetworkError, RemoteProtocolError)
"""What `ask`, `tell` and `connect` raise."""


def failure_of(error: Exception) -> Failure:
    """What an error of the network says about the peer."""
    match error:
        case RemoteProtocolError():
            return Failure.MALFORMED
        case RequestTimeout():
            return Failure.SILENT
        case PeerUnreachable() | LocalLimit():
            return Failure.UNREACHABLE
        case PeerBusy():
            return Failure.BUSY
        case _:
            return Failure.REFUSED


def _result_of(error: BaseException) -> RequestResult | None:
    match error:
        case trio.Cancelled():
            return "cancelled"
        case LocalLimit():
            return "limited"
        case NetworkError() | RemoteProtocolError():
            return failure_of(error).value
        case _:
            return None


class Asking:
    """Requests, with their consequences for the routing table and the address book."""

    def __init__(
        self,
        network: Network,
        membership: Membership,
        validators: Validators,
        limits: Limits,
        config: KademliaConfig,
        clock: Clock,
        random: Random,
        tell: Telling,
    ) -> None:
        self._network = network
        self._membership = membership
        self._validators = validators
        self._limits = limits
        self._config = config
        self._clock = clock
        self._random = random
        self._tell = tell
        self._if_connected, self._if_dialled = Patience(config.late_after), Patience(config.late_after)
        self._if_full = Patience(config.late_after, usual=FLOOR)
        self._turned_away = Tally()

    def patience(self, peer: PeerId, asked_at: float, errand: Errand | None = None) -> tuple[float, Patience]:
        """Since when a peer that was asked at that moment is waited for, and how patiently; as far as is known now.

        Of connected peers, and of those that are dialled, it is known how long others took; whose dial took long for want of
        room has the time of an answer left when it is connected. While there is no room, here or there, silence says nothing.
        errand: the request; while it waits on this side for its turn nobody is silent, as long as others have theirs and are
        answered. Behind a peer that answers everybody late nobody is patient: it would keep all lookups that meet it waiting.
        """
        if errand is not None and errand.queue is not None:
            if errand.queue.slow:
                return asked_at, self._if_connected
            return max(asked_at, errand.queue.moved), self._if_full
        if errand is not None and errand.left is not None:
            asked_at = max(asked_at, errand.left)
        connection = self._network.connection(peer)
        if connection is None:
            waits = peer in self._turned_away or self._network.waits_for_room(peer)
            return asked_at, self._if_full if waits else self._if_dialled
        if asked_at <= connection.opened < asked_at + self._if_dialled.wait - self._if_connected.wait:
            return asked_at, self._if_dialled
        return max(asked_at, connection.opened), self._if_connected

    async def ask(self, peer: PeerInfo, message: AnyRequest, deadline: float, errand: Errand | None = None) -> AnyReply:
        """The peer's reply, with only what is believed left in it.

        deadline: monotonic seconds; from its turn on a request has `config.request_timeout` at most.
        Raises NetworkError or RemoteProtocolError, after the peer has been marked. Who has no room for a
        connection, this node or the peer, is waited for. That, any limit of this node, and a deadline too near for an answer
        are never held against the peer.
        """
        errand = errand or Errand()
        response = await self._in_turn(peer, message, partial(self._network.request, peer, message), deadline, errand)
        assert errand.left is not None
        self._learn_from(peer.id, errand.left)
        return self._booked(message, response)

    async def tell_and_ask(self, peer: PeerInfo, message: AddProvider, question: AnyRequest, deadline: float) -> AnyReply:
        """The reply to `question`, made after the peer has dealt with `message`. Raises as `ask`; a refusal of either."""
        send = partial(self._network.send_and_ask, peer, message, question)
        return self._booked(question, await self._in_turn(peer, message, send, deadline, Errand()))

    async def tell(self, peer: PeerInfo, message: AddProvider, deadline: float) -> None:
        """Send what has no reply; what returning says is in `Network.send`. Raises as `ask`."""
        await self._in_turn(peer, message, partial(self._network.send, peer, message), deadline, Errand())

    async def connect(self, peer: PeerInfo, deadline: float) -> Connection:
        """The connection to a peer. Raises as `ask`."""
        try:
            return await self._until_room(peer.id, partial(self._network.connect, peer), deadline, Errand())
        except DidNotAnswer as error:
            self._book_failure(peer, None, error)
            raise

    async def check(self, peer: PeerId, deadline: float) -> bool:
        """The admission check: a server answers FIND_NODE for its own id. False when it did not."""
        try:
            await self.ask(self._membership.info(peer), FindNode(bytes(peer)), deadline)
        except DidNotAnswer:
            return False
        return True

    def _learn_from(self, peer: PeerId, began: float) -> None:
        """It has answered."""
        connection, now = self._network.connection(peer), self._clock.monotonic()
        if connection is None:
            return  # closed at once: nobody knows any more whether it was dialled
        (self._if_connected if connection.opened < began else self._if_dialled).learn(now - began)

    async def _in_turn(self, peer: PeerInfo, message: AnyRequest, call: Call[T], deadline: float, errand: Errand) -> T:
        """What `call` returns, when the peer has fewer requests of this node under way than it is sent at a time.

        First this turn, then that of all requests together: who waits for one peer holds none of those. A failure is booked,
        and what became of `message` is told where somebody listens.
        """
        began = self._clock.monotonic() if self._tell.wanted(RequestEnded) else None
        turns = self._limits.requests_to(peer.id)
        try:
            if not turns.take_now():
                self._limits.reached("requests_to_peer", peer.id)
                await _wait_in(turns, "requests_to_peer", deadline, errand)
            try:
                result = await self._until_room(peer.id, call, deadline, errand)
                turns.answered(late=self._was_late(peer.id, errand))
            finally:
                turns.give_back()
        except BaseException as error:
            if isinstance(error, DidNotAnswer):
                self._book_failure(peer, message, error)
            self._tell_of_end(peer.id, message, began, _result_of(error))
            raise
        finally:
            self._limits.done_with(peer.id, turns)
        self._tell_of_end(peer.id, message, began, "answered")
        return result

    def _was_late(self, peer: PeerId, errand: Errand) -> bool:
        # Of one that was dialled for this, or has gone since, nothing can be said.
        connection, left = self._network.connection(peer), errand.left
        if connection is None or left is None or connection.opened >= left:
            return False
        # Against what most take: of a peer that is asked much, late answers soon make up the wait.
        return self._clock.monotonic() - left > 2 * self._if_connected.usual

    async def _until_room(self, peer: PeerId, call: Call[T], deadline: float, errand: Errand) -> T:
        """What `call` returns, in its turn, tried again while this node or the peer has no room for a connection."""
        turns = self._limits.requests
        if not turns.take_now():
            self._limits.reached("requests_in_flight", peer)
            await _wait_in(turns, "requests_in_flight", deadline, errand)
        try:
            errand.left = self._clock.monotonic()
            deadline = min(deadline, errand.left + self._config.request_timeout)
            pause = FIRST_PAUSE
            while True:
                try:
                    return await call(deadline)
                except (LocalLimit, PeerBusy) as error:
                    if isinstance(error, LocalLimit) and error.what != "connections":
                        raise
                    seconds = RETRY_AFTER_LOCAL_LIMIT
                    if isinstance(error, PeerBusy):
                        # All whom the peer turned away wait now: they are not to come back at the same moment.
                        seconds = pause * self._random.uniform(0.5, 1.5)
                        pause = min(2 * pause, LONGEST_PAUSE)
                    if self._clock.monotonic() + seconds >= deadline:
                        raise
                with self._turned_away.during(peer):
                    await trio.sleep(seconds)
        finally:
            turns.moved = self._clock.monotonic()
            turns.give_back()

    def _tell_of_end(self, peer: PeerId, message: AnyRequest, began: float | None, result: RequestResult | None) -> None:
        # Without a result nothing was sent: the message breaks a rule of this end.
        if began is not None and result is not None:
            now, name = self._clock.monotonic(), NAMES[type(message)]
            self._tell(RequestEnded(at=now, peer=peer, message=name, seconds=now - began, result=result))

    def _is_ours(self, error: Exception) -> bool:
        """Whether the failure is this node's: its own limit, or a caller's who gave the peer hardly any time."""
        fair = min(self._config.late_after, self._config.request_timeout / 2)
        return isinstance(error, LocalLimit) or (isinstance(error, RequestTimeout) and error.seconds < fair)

    def _book_failure(self, peer: PeerInfo, message: AnyRequest | None, error: Exception) -> None:
        if self._is_ours(error):
            return
        if isinstance(error, PeerUnreachable):
            self._membership.unreachable(peer, {address for address, _ in error.causes})
        failure = failure_of(error)
        if failure is Failure.REFUSED and not isinstance(message, FindNode):
            # A server may refuse a record, for want of a validator or because its own is better, and be of use all the
            # same. FIND_NODE is what every server answers: it is asked that before it goes.
            self._membership.doubt(peer.id)
        else:
            self._membership.failed(peer.id, failure)

    def _booked(self, message: AnyRequest, response: Response) -> AnyReply:
        reply = self._believed(message, response)
        told_nobody = isinstance(reply, FindNodeReply) and not reply.closer
        self._membership.answered(response.peer, response.remote_address, told_nobody=told_nobody)
        return reply

    def _believed(self, message: AnyRequest, response: Response) -> AnyReply:
        reply, via = response.message, response.remote_address
        match reply:
            case FindNodeReply():
                return FindNodeReply(self._heard(message, reply.closer, via))
            case GetValueReply():
                return replace(reply, record=self._valid(reply.record), closer=self._heard(message, reply.closer, via))
            case GetProvidersReply():
                providers = tuple(PeerInfo(info.id, self._membership.believed(info.addresses, via)) for info in reply.providers)
                return replace(reply, providers=providers, closer=self._heard(message, reply.closer, via))
            case _:
                return reply

    def _heard(self, message: AnyRequest, closer: tuple[PeerInfo, ...], via: Address | None) -> tuple[PeerInfo, ...]:
        # Cut first: a reply may name thousands, and each one heard is a place in the address book.
        nearest = believed(closer, SHA256.key(message.key), k=self._config.k, per_group=self._config.max_peers_per_group)
        return self._membership.heard(nearest, via)

    def _valid(self, record: Record | None) -> Record | None:
        if record is None or not self._validators.accepts(record.key, record.value, self._clock.wall()):
            return None
        return record


async def _wait_in(turns: Turns, what: str, deadline: float, errand: Errand) -> None:
    """Wait for a turn. Raises LocalLimit: none came by the deadline."""
    errand.queue = turns
    try:
        if not await turns.take_in_turn(deadline):
            raise LocalLimit(what, turns.most)
    finally:
        errand.queue = None
