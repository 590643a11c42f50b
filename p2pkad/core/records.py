"""Records: values under keys, and how long they live.

`Record` is what travels, `StoredRecord` what a node keeps; the same for providers. Times in stored records are wall-clock
seconds since 1970: a lifetime has to hold across restarts. kad-dht r2, "Value storage" and "Content provider
advertisement and discovery".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pkad.core.peers import PeerInfo


@dataclass(frozen=True, slots=True)
class Record:
    """A value as it travels.

    time_received: RFC 3339 with nanoseconds, UTC, stamped by whoever stored it; empty from rust.
    publisher, ttl: rust's fields 666 and 777: who published it (peer id bytes, empty when unknown) and the seconds
    it has left to live (0: not said). They are kept as they came.
    """

    key: bytes
    value: bytes
    time_received: str = ""
    publisher: bytes = b""
    ttl: int = 0


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record in a store. received, expires: wall seconds. own: this node publishes it; it is never evicted."""

    record: Record
    received: float
    expires: float
    own: bool = False


@dataclass(frozen=True, slots=True)
class StoredProvider:
    """Somebody who provides a key. received, expires, addresses_expire: wall seconds.

    Addresses age faster than the fact itself (go: 24 h and 48 h): after `addresses_expire` only the id is told.
    """

    provider: PeerInfo
    received: float
    expires: float
    addresses_expire: float = field(default=float("inf"))
    own: bool = False
