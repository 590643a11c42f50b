"""The routing table: which peers this node knows well, many near its own key and few far away.

A peer's bucket is the number of leading bits that its key shares with the own key: bucket 0 is the far half of the key
space, each next one half as wide. What `add` makes of a peer:

                                     not in the table    in the table
  its key is the own, or taken       Refused
  its address group has enough       Refused             Removed: it moved there
  its bucket is full                 Cached              Known
  its bucket has room                Added               Known

A full bucket keeps whom it has: who has been there for long is likely to stay (paper, sections 2.2 and 4.1). Newcomers
wait in the bucket's replacement cache, and when a peer leaves, the most recently seen of them that the limits allow is
handed out, to be checked first: it was alive when it was cached, and need not be now.

The table holds no addresses but the groups they belong to. Times: monotonic seconds, from the caller.
Follows Maymounkov and Mazieres, "Kademlia"; kad-dht r2, "Kademlia Routing Table"; the limits on address groups are go's.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from p2pkad.core.keyspace import SHA256, Key, KeySpace
from p2pkad.core.peers import PeerId, PeerInfo

# go's table of names ends here as well (go-libp2p-kbucket, table_refresh.go). A network needs 2**15 * bucket_size peers
# before this bucket is full; deeper ones hold only the nearest neighbours, whom a lookup of the own id finds.
MAX_REFRESH_PREFIX = 15
"""The deepest bucket that is refreshed."""

NAME_TRIES = 2048
"""How many names `name_in_bucket` tries unless told: about 2 ms."""

# What a peer id looks like, a SHA-256 multihash: of all keys in FIND_NODE these are the ones every implementation expects.
_NAME_HEAD = b"\x12\x20"


class Refusal(Enum):
    """Why a peer was not taken in."""

    OWN_KEY = "it is this node"
    KEY_TAKEN = "another peer has its key"  # only where keys are narrower than a hash
    GROUP = "the table has enough peers of its address group"
    GROUP_IN_BUCKET = "the bucket has enough peers of its address group"


@dataclass(frozen=True, slots=True)
class Added:
    """The peer is in the table now. bucket: the bits its key shares with the own key."""

    bucket: int


@dataclass(frozen=True, slots=True)
class Known:
    """The peer was in the table and stays; it counts as seen."""


@dataclass(frozen=True, slots=True)
class Cached:
    """The bucket is full; the peer is the first to replace somebody in it."""

    bucket: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer is neither in the table nor in a cache."""

    reason: Refusal


@dataclass(frozen=True, slots=True)
class Removed:
    """The peer left the table, in which it had been since `added`.

    replacement: who is to be checked for its place; None when the cache had nobody.
    """

    peer: PeerId
    bucket: int
    added: float
    replacement: PeerId | None


Admission = Added | Known | Cached | Refused | Removed


@dataclass(frozen=True, slots=True)
class Entry:
    """A peer of the table. groups: of its public addresses. added, seen: since when, and when it was last of use."""

    peer: PeerId
    key: Key
    groups: tuple[str, ...]
    added: float
    seen: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as it is now. entries: longest in the table first. replacements: in the order in which they will be tried."""

    prefix: int
    entries: tuple[Entry, ...]
    replacements: tuple[PeerId, ...]


class RoutingTable:
    """The peers around `own`. It never holds `own` itself, and no bound is ever exceeded.

    bucket_size: peers in one bucket. replacement_size: peers in its cache, 1 or more; None takes `bucket_size`.
    max_per_group, max_per_group_and_bucket: peers that share a public address group, in the table and in one bucket.
    """

    def __init__(
        self,
        own: PeerId,
        *,
        bucket_size: int,
        max_per_group: int,
        max_per_group_and_bucket: int,
        replacement_size: int | None = None,
        space: KeySpace = SHA256,
    ) -> None:
        self._space = space
        self._own_key = space.key(own)
        self._bucket_size = bucket_size
        self._replacement_size = bucket_size if replacement_size is None else replacement_size
        self._max_per_group_and_bucket = max_per_group_and_bucket
        self._groups = _Groups(max_per_group)
        self._buckets: dict[int, _Bucket] = {}
        self._keys: list[Key] = []  # of all peers in the table, ascending
        self._peers: dict[Key, PeerId] = {}
        self._to_refresh: range | None = None  # until a peer comes or goes: it is asked for after each request

    def add(self, peer: PeerInfo, now: float) -> Admission:
        """Take a peer in that has just proved to be alive and a server; the table in the head says what comes of it.

        Its addresses should be those it was reached at: what it merely claims would use up the places of others.
        A peer that is known is counted anew by them; without addresses it is counted as before.
        """
        key = self._space.key(peer.id)
        if self._peers.get(key) == peer.id:
            return self._renew(peer, now)
        if key == self._own_key:
            return Refused(Refusal.OWN_KEY)
        if key in self._peers:
            return Refused(Refusal.KEY_TAKEN)
        return self._admit(Entry(peer.id, key, peer.public_groups, added=now, seen=now))

    def remove(self, peer: PeerId) -> Removed | None:
        """Let a peer go that failed or left the protocol, from the caches too. None: it was not in the table."""
        prefix = self.bucket_of(peer)
        bucket = self._buckets.get(prefix)
        if bucket is None:
            return None
        bucket.cache.pop(peer, None)
        if peer not in bucket.entries:
            return None
        return self._leave(prefix, bucket, bucket.entries[peer])

    def replacement(self, prefix: int) -> PeerId | None:
        """Whom to check for a free place in a bucket; it leaves the cache. When it does not answer, ask for the next.

        None: the bucket is full, or its cache has nobody whom the limits allow.
        """
        bucket = self._buckets.get(prefix)
        if bucket is None or len(bucket.entries) >= self._bucket_size:
            return None
        for entry in reversed(bucket.cache.values()):
            if self._refusal(bucket, entry.groups) is None:
                del bucket.cache[entry.peer]
                return entry.peer
        return None

    def has_use_for(self, peer: PeerId) -> bool:
        """Whether there is room for a peer that is not in the table: in its bucket, or at least in that one's cache."""
        bucket = self._buckets.get(self.bucket_of(peer))
        full = bucket is not None and len(bucket.entries) >= self._bucket_size
        return bucket is None or not full or len(bucket.cache) < self._replacement_size

    def closest(self, target: Key, n: int) -> list[PeerId]:
        """The `n` peers nearest to `target`, nearest first; all of them when there are fewer."""
        return [self._peers[key] for key in _nearest(self._keys, target, n)]

    def bucket_of(self, peer: PeerId) -> int:
        """The number of the bucket that a peer belongs to, in the table or not. The own id belongs to none: it gets `bits`."""
        return self._space.common_prefix(self._own_key, self._space.key(peer))

    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets with peers in them, widest first."""
        held = [(prefix, self._buckets[prefix]) for prefix in sorted(self._buckets)]
        return tuple(
            Bucket(prefix, tuple(bucket.entries.values()), tuple(reversed(bucket.cache)))
            for prefix, bucket in held
            if bucket.entries
        )

    def refresh_prefixes(self) -> range:
        """The buckets to look into at a refresh, as of now: widest first, down to the deepest with a peer, 16 at most.

        An empty one on the way is a gap. Where even a wide part of the key space has nobody, narrower ones hardly will, but
        for a neighbour or two that are near by chance, and a lookup of the own id finds those: behind the first gap, in
        bucket c, only buckets up to 2 * (c + 1) are looked into. As go; ask again after each bucket, which may fill a gap.
        """
        if self._to_refresh is None:
            held = {prefix for prefix, bucket in self._buckets.items() if bucket.entries}
            deepest = min(max(held, default=-1), MAX_REFRESH_PREFIX)
            gap = next((prefix for prefix in range(deepest + 1) if prefix not in held), deepest)
            self._to_refresh = range(min(deepest, 2 * (gap + 1)) + 1)
        return self._to_refresh

    def seen(self, peer: PeerId) -> float:
        """When a peer of the table was last of use; KeyError: it is not in the table."""
        return self._entry(peer).seen

    def last_seen_before(self, moment: float) -> list[PeerId]:
        """The peers that have not been of use since then, by bucket, widest first."""
        return [peer for peer in self if self.seen(peer) < moment]

    def __contains__(self, peer: PeerId) -> bool:
        return self._peers.get(self._space.key(peer)) == peer

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[PeerId]:
        """All peers, widest bucket first, in it longest in the table first."""
        for prefix in sorted(self._buckets):
            yield from list(self._buckets[prefix].entries)

    def __repr__(self) -> str:
        cached = sum(len(bucket.cache) for bucket in self._buckets.values())
        return f"<RoutingTable peers={len(self)} buckets={len(self.buckets())} cached={cached}>"

    def _entry(self, peer: PeerId) -> Entry:
        return self._buckets[self.bucket_of(peer)].entries[peer]

    def _renew(self, peer: PeerInfo, now: float) -> Known | Removed:
        prefix = self.bucket_of(peer.id)
        bucket = self._buckets[prefix]
        entry = bucket.entries[peer.id]
        groups = peer.public_groups if peer.addresses else entry.groups
        if groups != entry.groups:
            if self._refusal(bucket, [group for group in groups if group not in entry.groups]) is not None:
                return self._leave(prefix, bucket, entry)
            self._uncount(bucket, entry.groups)
            self._count(bucket, groups)
        bucket.entries[peer.id] = Entry(entry.peer, entry.key, groups, entry.added, seen=now)
        return Known()

    def _admit(self, entry: Entry) -> Added | Cached | Refused:
        prefix = self._space.common_prefix(self._own_key, entry.key)
        bucket = self._buckets.get(prefix)
        if bucket is None:
            bucket = self._buckets[prefix] = _Bucket(_Groups(self._max_per_group_and_bucket))
        bucket.cache.pop(entry.peer, None)
        refusal = self._refusal(bucket, entry.groups)
        if refusal is not None:
            return Refused(refusal)
        if len(bucket.entries) < self._bucket_size:
            self._enter(bucket, entry)
            return Added(prefix)
        bucket.cache[entry.peer] = entry
        if len(bucket.cache) > self._replacement_size:
            del bucket.cache[next(iter(bucket.cache))]
        return Cached(prefix)

    def _enter(self, bucket: _Bucket, entry: Entry) -> None:
        bucket.entries[entry.peer] = entry
        self._to_refresh = None
        self._peers[entry.key] = entry.peer
        insort(self._keys, entry.key)
        self._count(bucket, entry.groups)

    def _leave(self, prefix: int, bucket: _Bucket, entry: Entry) -> Removed:
        self._to_refresh = None
        del bucket.entries[entry.peer], self._peers[entry.key], self._keys[bisect_left(self._keys, entry.key)]
        self._uncount(bucket, entry.groups)
        return Removed(entry.peer, prefix, entry.added, self.replacement(prefix))

    def _refusal(self, bucket: _Bucket, groups: Iterable[str]) -> Refusal | None:
        if self._groups.full(groups):
            return Refusal.GROUP
        if bucket.groups.full(groups):
            return Refusal.GROUP_IN_BUCKET
        return None

    def _count(self, bucket: _Bucket, groups: Iterable[str]) -> None:
        self._groups.enter(groups)
        bucket.groups.enter(groups)

    def _uncount(self, bucket: _Bucket, groups: Iterable[str]) -> None:
        self._groups.leave(groups)
        bucket.groups.leave(groups)


class _Groups:
    """How many peers of each address group there are."""

    __slots__ = ("_count", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count: dict[str, int] = {}

    def full(self, groups: Iterable[str]) -> bool:
        """One of the groups has as many as it may have."""
        return any(self._count.get(group, 0) >= self._limit for group in groups)

    def enter(self, groups: Iterable[str]) -> None:
        for group in groups:
            self._count[group] = self._count.get(group, 0) + 1

    def leave(self, groups: Iterable[str]) -> None:
        for group in groups:
            self._count[group] -= 1
            if not self._count[group]:
                del self._count[group]


@dataclass(slots=True)
class _Bucket:
    groups: _Groups
    entries: dict[PeerId, Entry] = field(default_factory=dict)
    cache: dict[PeerId, Entry] = field(default_factory=dict)  # most recently seen last


def name_in_bucket(
    own: Key, prefix: int, random_bits: Callable[[int], int], *, space: KeySpace = SHA256, tries: int = NAME_TRIES
) -> bytes | None:
    """A random name whose key falls into a bucket of the node with key `own`: what a refresh looks up.

    Peers are told a name and hash it themselves, so a key will not do, and finding a name takes 2**(prefix + 1) tries on
    average: 65,536 for the deepest bucket that is refreshed. random_bits: as `random.Random.getrandbits`; called once.
    None: no luck within `tries`. Let others run, and call again.
    """
    head = _NAME_HEAD + random_bits(8 * 28).to_bytes(28, "big")
    for number in range(tries):
        name = head + number.to_bytes(4, "big")
        if space.common_prefix(own, space.key(name)) == prefix:
            return name
    return None


def _nearest(keys: Sequence[Key], target: Key, n: int) -> list[Key]:
    """The `n` of the ascending `keys` that are nearest to `target`, nearest first, without looking at all of them.

    Keys with a common prefix are neighbours in the list. A range is cut where the first bit in which its keys differ turns
    from 0 to 1; each key of the half that has the target's bit is nearer than any key of the other, so that half goes first.
    A range of 2 * n keys is sorted, cheaper than cut. Both halves have keys: each cut counts, however unevenly keys are spread.
    """
    found: list[Key] = []
    ranges = [(0, len(keys))]
    while ranges and len(found) < n:
        low, high = ranges.pop()
        if high - low <= 2 * n:
            found += sorted(keys[low:high], key=target.__xor__)
            continue
        bit = (keys[low] ^ keys[high - 1]).bit_length() - 1
        middle = bisect_left(keys, keys[high - 1] >> bit << bit, low, high)
        if target >> bit & 1:
            ranges += (low, middle), (middle, high)
        else:
            ranges += (middle, high), (low, middle)
    return found[:n]
