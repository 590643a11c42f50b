"""What the methods of a node return: what happened, and to whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

from p2pkad.core.peers import PeerDescription, PeerId, PeerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class PutReceipt:
    """What became of a put. stored: who holds the record now, with this node's own id, unless its own copy was replaced,
    withdrawn or over by then.

    refused: who was reached and declined (it may hold a better record). unreachable: who never answered; such a peer may
    hold the record or not.
    """

    key: bytes
    stored: tuple[PeerId, ...]
    refused: tuple[PeerId, ...] = ()
    unreachable: tuple[PeerId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvideReceipt:
    """What became of an announcement. The protocol has no reply to it; a peer that answers a question behind it on the same
    stream has dealt with it.

    key: the multihash under which this node is now a provider. sent: who has dealt with it so, without taking it amiss; what
    such a peer keeps, and for how long, is its own affair. Empty only where `allow_zero_peers` lets a node be alone:
    otherwise that is an error. refused: who was reached and declined, or may be told none of this node's addresses.
    unreachable: who failed; such a peer may have been told or not.
    Of those in `sent`, where the call was told to `confirm`: confirmed, who names this node when it is asked for providers;
    unknown, who does not, though it may have taken the announcement: rust leaves out whoever asks, and of more providers
    than a message holds some are left out by all.
    """

    key: bytes
    sent: tuple[PeerId, ...]
    refused: tuple[PeerId, ...] = ()
    unreachable: tuple[PeerId, ...] = ()
    confirmed: tuple[PeerId, ...] = ()
    unknown: tuple[PeerId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueFound:
    """A value and where it comes from.

    holders: who gave this value, this node's own id when its own copy counted. complete: False when the lookup was cut off
    by its deadline, or nobody answered. asked, answered: how many peers; the others failed, were late or not waited for.
    """

    key: bytes
    value: bytes
    holders: tuple[PeerId, ...]
    asked: int
    answered: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersFound(Sequence[PeerInfo]):
    """Peers, as a sequence, with how they were found. complete: as in `ValueFound`."""

    peers: tuple[PeerInfo, ...]
    asked: int
    answered: int
    complete: bool

    @overload
    def __getitem__(self, index: int) -> PeerInfo: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PeerInfo]: ...
    def __getitem__(self, index: int | slice) -> PeerInfo | Sequence[PeerInfo]:
        return self.peers[index]

    def __len__(self) -> int:
        return len(self.peers)

    def __iter__(self) -> Iterator[PeerInfo]:
        return iter(self.peers)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """A peer that is connected, or in the routing table, or both.

    bucket: the bucket that it is in or would be in, by common prefix in bits. connected: who dialled, this node (outbound)
    or the peer; None when there is no connection. description: what it says of itself, while it is connected.
    """

    info: PeerInfo
    bucket: int
    in_table: bool
    connected: Literal["inbound", "outbound"] | None
    description: PeerDescription | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    """A node in figures.

    peers: connected ones; inbound: how many of these dialled this node. table: peers in the routing table; silent: how many of
    these did not answer when they were asked last; buckets: how many in each that is not empty, by common prefix in bits.
    lookups: running now. published: records that it publishes and keys that it provides; provided: these keys alone.
    store_bytes: keys, values and addresses kept. store_trouble: why its disk takes nothing; None: it takes what comes, or
    there is none.
    """

    mode: str
    peers: int
    inbound: int
    table: int
    silent: int
    buckets: dict[int, int]
    lookups: int
    records: int
    provider_keys: int
    providers: int
    published: int
    provided: int
    store_bytes: int
    store_trouble: str | None
