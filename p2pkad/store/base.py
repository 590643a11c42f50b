"""What a store promises.

A store keeps records and provider records of one node, and the peers it knew when it was up last. It decides nothing about
the protocol: which of two records stays is the `decide` that comes with an update. Every implementation passes the suite in
`p2pkad.testing`.

`memory.py` forgets all of it with the process, `sqlite.py` has it in a file.

All times are wall-clock seconds; "now" comes from the caller, so that a store needs no clock. What is put was received now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.records import StoredProvider, StoredRecord

Decide = Callable[[StoredRecord | None], StoredRecord | None]
"""Given what is stored, what is to be stored: pure, it may run more than once. None: nothing. Raising changes nothing.

Validators run inside. Both stores here call it on the thread of the event loop, where user code expects to run.
"""


Kind = Literal["record", "provider"]
"""What a node publishes: a value, or that it provides something."""


@dataclass(frozen=True, slots=True)
class Due:
    """Something of the node's own, and when it is to be published again, in wall seconds."""

    kind: Kind
    key: bytes
    at: float


MAX_PEERS = 1000
"""Peers that a store keeps; a node has some 500 at most, members of its routing table and those it misses there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPeer:
    """A peer that a node knew, and how to find it again.

    since: when it left the routing table, in wall seconds; None: it was in it, or had left a moment before. stayed: seconds
    that it had been there. tried, tries: when it failed last, in wall seconds, and how often since it left, or 0.
    """

    peer: PeerInfo
    since: float | None = None
    stayed: float = 0.0
    tried: float = 0.0
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """What is in a store. bytes: what counts against its bound, all that is kept with an allowance for keeping it.

    own: records that the node publishes and keys that it provides; provided: these keys alone.
    """

    records: int
    provider_keys: int
    providers: int
    own: int
    provided: int
    bytes: int


class Store(Protocol):
    """Records by key and providers by key.

    Bounded in count and bytes: under pressure the keys farthest from the node's own id go first; what the node itself
    publishes or provides (`own`) never does. A returned call is a kept promise: what it stored is stored. One that raises has
    changed nothing, but for a StoreFailed that is `in_use`.
    """

    async def get(self, key: bytes, now: float) -> StoredRecord | None:
        """The record under `key`; None when there is none or it has expired."""
        ...

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        """Replace what is under `key` by what `decide` makes of it, atomically for this key; returns what is there now.

        Raises what `decide` raises, with nothing changed. StoreFull: at the bound, and all that is kept is nearer or own; or
        the disk is full. StoreFailed: the disk fails. Cancelled: it is stored or not.
        """
        ...

    async def add_provider(self, key: bytes, provider: StoredProvider) -> None:
        """Remember who provides `key`; a peer that is known for it is replaced. Raises StoreFull, as `update`.

        At the limit of providers per key the one that expires first makes room; an own one never does.
        """
        ...

    async def providers(self, key: bytes, now: float) -> tuple[StoredProvider, ...]:
        """Who provides `key` and has not expired; addresses that have are left out. In no particular order."""
        ...

    async def remove_provider(self, key: bytes, peer: PeerId) -> bool:
        """Forget that `peer` provides `key`; False when it did not. Raises StoreFull, StoreFailed."""
        ...

    async def due(self, now: float, horizon: float, limit: int) -> Sequence[Due]:
        """Own entries whose `due` is at or before `now`, the longest due first, then those after `horizon`; at most `limit`.

        After the horizon nobody sets one: what is there was set before the clock went back. One that is never due is in
        neither part. Costs no look at what is not due.
        """
        ...

    async def next_due(self) -> float:
        """The earliest `due` of all own entries; infinite when there is none."""
        ...

    async def set_due(self, kind: Kind, key: bytes, at: float) -> bool:
        """Change when an own entry is due, and nothing else of it; False when there is no such own entry.

        Where a disk does not take it, it holds until the process ends, and is written as soon as the disk does.
        """
        ...

    async def set_addresses(self, key: bytes, addresses: Sequence[Address], now: float) -> bool:
        """Change where the node's own provider of `key` is said to be, since `now`; False when there is no such own entry.

        When it is due stays as it is. Raises StoreFull, StoreFailed.
        """
        ...

    async def expire(self, now: float) -> int:
        """Remove everything that has expired; returns how many records and providers that were. A disk follows as it can."""
        ...

    async def save_peers(self, peers: Sequence[KeptPeer]) -> None:
        """Keep these peers instead of those that were kept, the first MAX_PEERS. A disk follows as it can, as for `set_due`."""
        ...

    async def saved_peers(self) -> Sequence[KeptPeer]:
        """The peers that were saved last, in their order."""
        ...

    def stats(self) -> StoreStats:
        """What is stored at this moment, what has expired but was not removed yet included."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why nothing can be stored, or soon nothing, in a sentence; None: nothing is wrong, or there is no disk."""
        ...

    async def aclose(self) -> None:
        """Let go of files and memory. Idempotent. Every later call raises NodeClosed."""
        ...
