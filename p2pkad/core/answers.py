"""What a server answers: whom it names, with which addresses, and how much of it fits into a reply.

FIND_NODE       the k nearest; before them the peer whose id the key is, whoever it is
GET_VALUE       the record, the k nearest
GET_PROVIDERS   a random part of the providers, the k nearest

The nearest are neither the asker nor this node, and each has an address that the asker may hear: go and js drop the others.
A reply stays within 16 KiB, as rust reads no longer one. Where not everything fits, those with the most addresses lose
their last ones first, then the farthest peers are left out. A record never makes room for peers.

kad-dht r2, "RPC messages".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from p2pkad.config import ScopeRule
from p2pkad.core.messages import (
    AnyReply,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
)
from p2pkad.core.peers import PeerId, PeerInfo, Scope
from p2pkad.core.records import Record
from p2pkad.core.scope import narrowest_for, passing

# A provider keeps this many addresses (say, TCP and QUIC over IPv4 and IPv6) before other providers are left out: who
# asks wants to reach one, and the other holders of the key tell other parts.
FEW_ADDRESSES = 4

Peers = tuple[PeerInfo, ...]
Reply = TypeVar("Reply", FindNodeReply, GetValueReply, GetProvidersReply)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and from how far away: `scope.connection_scope` of its connection."""

    id: PeerId
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How one node answers.

    size: the bytes of a reply on the wire, or an upper bound; what is added to a reply never makes it smaller.
    max_reply: bytes of a reply; max_message: of one whose record alone is longer than that.
    """

    own: PeerId
    k: int
    rule: ScopeRule
    size: Callable[[AnyReply], int]
    max_reply: int
    max_message: int

    def find_node(
        self, request: FindNode, asker: Asker, nearest: Iterable[PeerInfo], known: PeerInfo | None = None
    ) -> FindNodeReply:
        """The nearest to the key (`nearest`: nearest first, a few more than k), after the peer whose id the key is.

        known: that peer, also when it is the asker, a client or this node; None when there is none.
        """
        closer = self._tellable(nearest, asker)
        target = known and _told(known, self._narrowest(asker))
        # Asked for this node the answer has its entry, be it without addresses: go counts entries, and takes no peer into
        # a full routing table that answers such a question with none.
        if target and (target.addresses or target.id == self.own):
            closer = (target, *(peer for peer in closer if peer.id != target.id))
        return self._fitted(FindNodeReply, closer, self.max_reply)

    def get_value(self, request: GetValue, asker: Asker, nearest: Iterable[PeerInfo], record: Record | None) -> GetValueReply:
        """The record (that it lives and is valid is the caller's care) and the nearest."""
        closer = self._tellable(nearest, asker)
        reply = GetValueReply(request.key, record, closer)
        if self.size(reply) <= self.max_reply:
            return reply
        # A record beyond 16 KiB was put by somebody who knows that rust cannot read it. go, js and we read 4 MiB: they get
        # it, and the peers without which their lookup would end here. What nobody can read is not told.
        alone = self.size(GetValueReply(request.key, record, ()))
        if alone > self.max_message:
            record = None
        limit = self.max_reply if record is None or alone <= self.max_reply else self.max_message
        return self._fitted(lambda peers: GetValueReply(request.key, record, peers), closer, limit)

    def get_providers(
        self, request: GetProviders, asker: Asker, nearest: Iterable[PeerInfo], providers: Iterable[PeerInfo]
    ) -> GetProvidersReply:
        """As many of the providers as fit, which come shuffled, and the nearest.

        A provider is told without addresses too, as go does: its id is the answer, and who asked can look for it.
        """
        closer = self._tellable(nearest, asker)
        narrowest = self._narrowest(asker)
        told = tuple(_told(provider, narrowest) for provider in providers)
        reply = GetProvidersReply(request.key, told, closer)
        if self.size(reply) <= self.max_reply:
            return reply
        rest = self.max_reply - self.size(GetProvidersReply(request.key, told, ()))
        beside = self._fitted(lambda peers: GetProvidersReply(request.key, (), peers), closer, max(rest, self.max_reply // 2))
        return self._cut(
            lambda peers: GetProvidersReply(request.key, peers, beside.closer), told, self.max_reply, FEW_ADDRESSES
        )

    def _narrowest(self, asker: Asker) -> Scope:
        return narrowest_for(self.rule, asker.scope)

    def _tellable(self, peers: Iterable[PeerInfo], asker: Asker) -> tuple[PeerInfo, ...]:
        # Where the asker may hear no address of a peer, the next one takes its place: it asked for k that it can use.
        chosen: list[PeerInfo] = []
        narrowest, k, nobody = self._narrowest(asker), self.k, (self.own, asker.id)
        for peer in peers:
            if len(chosen) == k:
                break
            if peer.id not in nobody and (told := _told(peer, narrowest)).addresses:
                chosen.append(told)
        return tuple(chosen)

    def _fitted(self, make: Callable[[Peers], Reply], peers: Peers, limit: int) -> Reply:
        whole = make(peers)
        return whole if self.size(whole) <= limit else self._cut(make, peers, limit, fewest=1)

    def _cut(self, make: Callable[[Peers], Reply], peers: Peers, limit: int, fewest: int) -> Reply:
        """The reply with as much of `peers` as keeps it within `limit`; with none of them when nothing does.

        Searched is a row of replies, each a little fuller than the one before: first peers are added, with `fewest`
        addresses each, then addresses, one for each peer that has more.
        """
        few = tuple(PeerInfo(peer.id, peer.addresses[:fewest]) for peer in peers)

        def filled(step: int) -> Reply:
            if step <= len(peers):
                return make(few[:step])
            addresses = fewest + step - len(peers)
            return make(tuple(PeerInfo(peer.id, peer.addresses[:addresses]) for peer in peers))

        last = len(peers) + max((len(peer.addresses) for peer in peers), default=0)
        fitting = bisect_right(range(last + 1), limit, key=lambda step: self.size(filled(step)))
        return filled(max(0, fitting - 1))


def _told(peer: PeerInfo, narrowest: Scope) -> PeerInfo:
    addresses = passing(peer.addresses, narrowest)
    return peer if addresses is peer.addresses else PeerInfo(peer.id, addresses)
