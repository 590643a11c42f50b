"""What a lookup is for: which request it sends, what it makes of the answers, and when it has enough.

goal           request        ends early when                          has something to show when
ClosestPeers   FindNode       never                                    anybody answered
OnePeer        FindNode       the peer itself was reached              its addresses were heard
Value          GetValue       `quorum` peers gave the best value       there is a valid value
Providers      GetProviders   `count` providers are known              there is a provider

A goal is told what is believed already: values validated, addresses filtered. What it keeps of the answers is bounded,
whatever they say and however many come: of values the best one, of providers so many. kad-dht r2, "DHT Operations".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Protocol

from p2pkad.core.messages import AnyReply, AnyRequest, FindNode, GetProviders, GetProvidersReply, GetValue, GetValueReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import InvalidRecord

ANSWERS = 16
"""So many answers, each with all that it may bring, are kept: those of a few liars leave room for what the others tell."""
PROVIDERS_OF_ONE_ANSWER = 1024
"""That nobody has told before. Of p2pkad, rust and js they are some 200, of go they may be thousands."""
ADDRESSES_OF_ONE_ANSWER = 4096
"""The same, of all providers. One beyond it is found without them, and can be looked up."""
MOST_ADDRESSES = 512
"""Of one peer, as different peers tell them: of an answer 64 are read."""


class Failure(Enum):
    """Why a peer gave no answer."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"  # it is there, and closes the connection: it has no room for us
    SILENT = "silent"
    REFUSED = "refused"  # it was reached, and closed the stream or does not speak the protocol
    MALFORMED = "malformed"


class Goal(Protocol):
    """What `Lookup` asks of its goal. Every call is legal at any time."""

    @property
    def key(self) -> bytes:
        """The name that is looked up; its hash is the lookup's target."""
        ...

    @property
    def request(self) -> AnyRequest:
        """What each peer is asked."""
        ...

    @property
    def reached(self) -> bool:
        """There is nothing left to ask for."""
        ...

    @property
    def fruitful(self) -> bool:
        """There is something to show. While there is not, peers that are late are waited for."""
        ...

    def on_reply(self, peer: PeerId, reply: AnyReply) -> None:
        """`peer` answered."""
        ...

    def on_failure(self, peer: PeerId, reason: Failure) -> None:
        """`peer` did not."""
        ...


class ClosestPeers:
    """The k live peers nearest to a key."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.request: AnyRequest = FindNode(key)
        self.fruitful = False

    @property
    def reached(self) -> bool:
        return False

    def on_reply(self, peer: PeerId, reply: AnyReply) -> None:
        self.fruitful = True

    def on_failure(self, peer: PeerId, reason: Failure) -> None:
        pass


class OnePeer:
    """One peer, by id: reached when it answered, or refused in person (a client does). `info` is what was heard of it."""

    def __init__(self, peer: PeerId) -> None:
        self.key = bytes(peer)
        self.request: AnyRequest = FindNode(self.key)
        self.info: PeerInfo | None = None
        self.reached = False
        self._peer = peer

    @property
    def fruitful(self) -> bool:
        return self.info is not None

    def on_reply(self, peer: PeerId, reply: AnyReply) -> None:
        self.reached = self.reached or peer == self._peer
        for info in getattr(reply, "closer", ()):
            if info.id == self._peer and info.addresses:
                self._hear(info)

    def on_failure(self, peer: PeerId, reason: Failure) -> None:
        self.reached = self.reached or (peer == self._peer and reason is Failure.REFUSED)

    def _hear(self, info: PeerInfo) -> None:
        known = self.info.addresses if self.info else ()
        self.info = PeerInfo(info.id, tuple(dict.fromkeys(known + info.addresses))[:MOST_ADDRESSES])


class Value:
    """The best value under a key.

    quorum: how many peers that give the best value are enough; 0 asks all of the k nearest.
    select: the index of the best of several valid values, as a validator's; it may raise InvalidRecord.
    own: the record that this node holds already, with the id that stands for it; it counts as one answer.
    best: the first record with the best value, as it came.
    """

    def __init__(
        self,
        key: bytes,
        quorum: int,
        select: Callable[[Sequence[bytes]], int],
        own: tuple[PeerId, Record] | None = None,
    ) -> None:
        self.key = key
        self.request: AnyRequest = GetValue(key)
        self.quorum = quorum
        self.best: Record | None = None
        self._select = select
        self._copies: list[tuple[PeerId, Record]] = []  # of the best value
        self._outdated: list[PeerId] = []
        if own is not None:
            self._hear(*own)

    @property
    def fruitful(self) -> bool:
        return self.best is not None

    @property
    def reached(self) -> bool:
        return 0 < self.quorum <= len(self.holders)

    @property
    def holders(self) -> tuple[PeerId, ...]:
        """Who gave the best value, in the order of their answers."""
        return tuple(peer for peer, _ in self._copies)

    @property
    def copies(self) -> tuple[Record, ...]:
        """The records with the best value as they came: they may differ in what they say of their age."""
        return tuple(record for _, record in self._copies)

    def outdated(self) -> tuple[PeerId, ...]:
        """Who gave a value that is not the best one."""
        return tuple(self._outdated)

    def on_reply(self, peer: PeerId, reply: AnyReply) -> None:
        if isinstance(reply, GetValueReply) and reply.record is not None:
            self._hear(peer, reply.record)

    def on_failure(self, peer: PeerId, reason: Failure) -> None:
        pass

    def _hear(self, peer: PeerId, record: Record) -> None:
        best, value = self.best, record.value
        if best is not None and value == best.value:
            self._copies.append((peer, replace(record, value=best.value)))  # which may be large: once is enough
            return
        try:
            better = best is None or self._select((best.value, value)) == 1
        except InvalidRecord:
            return  # its validator cannot tell which is better: that is no answer
        if better:
            self._outdated += self.holders
            self.best, self._copies = record, [(peer, record)]
        else:
            self._outdated.append(peer)


class Providers:
    """Who provides a key. count: how many are enough; None asks all of the k nearest. known: those this node knows of."""

    def __init__(self, key: bytes, count: int | None, known: Iterable[PeerInfo] = ()) -> None:
        self.key = key
        self.request: AnyRequest = GetProviders(key)
        self.count = count
        self.found: dict[PeerId, PeerInfo] = {}
        self._addresses = 0
        self._hear(known, providers=ANSWERS * PROVIDERS_OF_ONE_ANSWER)

    @property
    def fruitful(self) -> bool:
        return bool(self.found)

    @property
    def reached(self) -> bool:
        return self.count is not None and len(self.found) >= self.count

    def on_reply(self, peer: PeerId, reply: AnyReply) -> None:
        if isinstance(reply, GetProvidersReply):
            self._hear(reply.providers)

    def on_failure(self, peer: PeerId, reason: Failure) -> None:
        pass

    def _hear(self, told: Iterable[PeerInfo], providers: int = PROVIDERS_OF_ONE_ANSWER) -> None:
        providers = min(providers, ANSWERS * PROVIDERS_OF_ONE_ANSWER - len(self.found))
        addresses = min(ADDRESSES_OF_ONE_ANSWER, ANSWERS * ADDRESSES_OF_ONE_ANSWER - self._addresses)
        for info in told:
            before = self.found.get(info.id)
            if before is None:
                if not providers:
                    continue
                providers -= 1
            # A provider is listed once, with all addresses that are told: one holder has forgotten them, another one has
            # those from before it moved.
            known = before.addresses if before is not None else ()
            all_told = tuple(dict.fromkeys(known + info.addresses))[: min(MOST_ADDRESSES, len(known) + addresses)]
            addresses -= len(all_told) - len(known)
            self._addresses += len(all_told) - len(known)
            self.found[info.id] = PeerInfo(info.id, all_told)
