"""The events of one lookup, told step by step while `querying` drives it.

An event of a single step is made only when somebody wants it.
"""

from __future__ import annotations

from collections.abc import Iterable

from p2pkad.core.goals import Failure, Goal
from p2pkad.core.lookup import Outcome
from p2pkad.core.messages import AnyReply, FindNodeReply, GetProvidersReply, GetValueReply
from p2pkad.core.peers import PeerId
from p2pkad.events import (
    LookupCancelled,
    LookupEnded,
    LookupStarted,
    PeerAnswered,
    PeerAsked,
    PeerFailed,
    PeerLate,
    ProvidersHeard,
    ValueHeard,
)
from p2pkad.node.telling import Telling


class Chronicle:
    """Tells of one lookup. number: which one of this node. began: when, in monotonic seconds, as all times here."""

    def __init__(self, number: int, goal: Goal, began: float, tell: Telling) -> None:
        self._number = number
        self._kind = type(goal).__name__
        self._key = goal.key
        self._began = began
        self._tell = tell
        self._late: dict[PeerId, None] = {}

    def started(self, at: float, seeds: int) -> None:
        """There are peers to ask."""
        if self._tell.wanted(LookupStarted):
            self._tell(LookupStarted(at=at, lookup=self._number, kind=self._kind, key=self._key, seeds=seeds))

    def asked(self, at: float, peer: PeerId) -> None:
        """A request to `peer` is about to leave."""
        if self._tell.wanted(PeerAsked):
            self._tell(PeerAsked(at=at, lookup=self._number, key=self._key, peer=peer))

    def answered(self, at: float, peer: PeerId, seconds: float, reply: AnyReply) -> None:
        """`peer` answered after `seconds`; the reply has only what is believed left in it."""
        if self._tell.wanted(PeerAnswered):
            told = reply.closer if isinstance(reply, FindNodeReply | GetValueReply | GetProvidersReply) else ()
            self._tell(PeerAnswered(at=at, lookup=self._number, key=self._key, peer=peer, seconds=seconds, closer=len(told)))
        match reply:
            case GetValueReply(record=record) if record is not None and self._tell.wanted(ValueHeard):
                self._tell(ValueHeard(at=at, lookup=self._number, key=self._key, peer=peer, record=record))
            case GetProvidersReply(providers=providers) if providers and self._tell.wanted(ProvidersHeard):
                self._tell(ProvidersHeard(at=at, lookup=self._number, key=self._key, peer=peer, providers=providers))

    def failed(self, at: float, peer: PeerId, seconds: float, reason: Failure) -> None:
        """`peer` turned out not to answer after `seconds`."""
        if self._tell.wanted(PeerFailed):
            self._tell(PeerFailed(at=at, lookup=self._number, key=self._key, peer=peer, seconds=seconds, reason=reason))

    def late(self, at: float, peers: Iterable[PeerId]) -> None:
        """These are late now; of whom that was said before it is not said again."""
        for peer in peers:
            if peer not in self._late:
                self._late[peer] = None
                self._tell(PeerLate(at=at, lookup=self._number, key=self._key, peer=peer))

    @property
    def tells_of_late(self) -> bool:
        """Whether it is worth the while to look who is late."""
        return self._tell.wanted(PeerLate)

    def over(self, at: float, outcome: Outcome | None) -> None:
        """The lookup ended, or, without an outcome, was cancelled."""
        seconds = at - self._began
        if outcome is None:
            if self._tell.wanted(LookupCancelled):
                self._tell(LookupCancelled(at=at, lookup=self._number, kind=self._kind, key=self._key, seconds=seconds))
        elif self._tell.wanted(LookupEnded):
            self._tell(
                LookupEnded(at=at, lookup=self._number, kind=self._kind, key=self._key, seconds=seconds, outcome=outcome)
            )
