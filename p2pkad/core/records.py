"""Records: values under keys, which of two stays, and how long they live.

`Record` is what travels, `StoredRecord` what a node keeps; the same for providers. Times in stored records are wall-clock
seconds since 1970: a lifetime has to hold across restarts. kad-dht r2, "Value storage" and "Content provider
advertisement and discovery".

A put (`keep`) finds under its key
  nothing, or what has expired      it is stored; it lives until `expiry`
  what is not valid any more        the same: its rules may have changed since it came
  a worse value                     it replaces it; if that was the node's own, the node publishes this key no more
  a better value                    StaleRecord
  the same value                    the stored one may be renewed, and is never shortened: anybody could end a record

Holders pass records on: rust every hour with the seconds left, readers of every implementation when they find a peer
without one. So the same value again is the publisher's renewal or a copy on its way round, and a copy must neither make
a short lifetime long nor keep alive what its publisher has left to die. The same value renews
  what this node publishes          only by this node itself
  a record that came without `ttl`  always, as long as is left of what came: nobody said that it is to end before the
                                    usual time
  a record that came with one       only with a `ttl` again, and with a publisher where the stored one names its own: what
                                    go and js put they make of the value alone, and where rust passes such a copy on it
                                    has a new ttl, but still no publisher
A renewal is measured by `expiry`, as the first put was: what the validator says always holds.

How old a copy is, `time_received` tells: when the publisher put or renewed it, as far as is known. Publishers say now, or
nothing, which means now. A copy keeps it (`passed_on`), however many hands it goes through, and its lifetime is counted
from it: what its publisher no longer renews is gone everywhere after one lifetime. A ttl runs on while a
reader looks up: what is passed on has the seconds left. A copy of a record without a ttl has one for rust, which reads no
time; here the two together, without a publisher, are what tells it from a record whose publisher gave it a ttl.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import floor
from typing import Protocol

from p2pkad.core.peers import PeerInfo
from p2pkad.errors import InvalidRecord, StaleRecord

Expires = Callable[[bytes, bytes], float | None]
"""When a value under a key dies, in wall seconds; None: it does not say."""


class Rules(Protocol):
    """What `keep` asks of those who know what a record may say: `p2pkad.validators.base.Validators`."""

    def accepts(self, key: bytes, value: bytes, now: float) -> bool:
        """Whether a value is valid under a key at wall time `now`."""
        ...

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The index of the best of several valid values under a key; of equal ones the first."""
        ...

    def expires(self, key: bytes, value: bytes) -> float | None:
        """When a valid value under a key dies, in wall seconds; None: it does not say."""
        ...


NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Record:
    """A value as it travels.

    time_received: RFC 3339 with nanoseconds, UTC, stamped by whoever stored it first hand; empty from rust.
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
    """A record in a store. received, expires: wall seconds. own: this node publishes it; it is never evicted.

    The ttl inside is the one it came with; `served` has what is left of it. due: when the node is to publish its own one
    again, in wall seconds; a record of others has no such time.
    """

    record: Record
    received: float
    expires: float
    own: bool = False
    due: float = NEVER


@dataclass(frozen=True, slots=True)
class StoredProvider:
    """Somebody who provides a key. received, expires, addresses_expire: wall seconds.

    Addresses age faster than the fact itself (go: 24 h and 48 h): after `addresses_expire` only the id is told. own: it is
    this node; due: when it is to say so again, in wall seconds.
    """

    provider: PeerInfo
    received: float
    expires: float
    addresses_expire: float = NEVER
    own: bool = False
    due: float = NEVER


def renewed_at(record: Record, *, now: float, lifetime: float) -> float:
    """When its publisher put or renewed a record, as far as it tells at `now`: wall seconds, never later than now.

    Where its time cannot be, because no record of that age lives, the clock of whoever stamped it is wrong: then now.
    """
    told = parse_time(record.time_received)
    begun = told if told is not None and now - lifetime < told < now else now
    if _is_copy(record):
        begun = min(begun, now + record.ttl - lifetime)
    return begun


def expiry(record: Record, *, now: float, lifetime: float, expires: Expires) -> float:
    """When a record that is received `now` dies: by the network's `lifetime`, by its ttl or by what its value says."""
    ends = [renewed_at(record, now=now, lifetime=lifetime) + lifetime]
    if record.ttl > 0:
        ends.append(now + record.ttl)
    said = expires(record.key, record.value)
    if said is not None:
        ends.append(said)
    return min(ends)


def keep(
    record: Record,
    *,
    now: float,
    lifetime: float,
    rules: Rules,
    own: bool = False,
    due: float = NEVER,
) -> Callable[[StoredRecord | None], StoredRecord]:
    """The decision to store a valid `record`, for `Store.update`: the table in the head of this module.

    now, lifetime: wall time and seconds. own, due: this node publishes it, and is to do so again then. The decision raises
    StaleRecord; making it raises InvalidRecord when the record is dead already.
    """
    end = expiry(record, now=now, lifetime=lifetime, expires=rules.expires)
    if end <= now:
        raise InvalidRecord(record.key, f"it expired {now - end:.0f} seconds ago")
    begun = renewed_at(record, now=now, lifetime=lifetime)
    as_stored = replace(record, time_received=format_time(begun), ttl=0 if _is_copy(record) else record.ttl)
    fresh = StoredRecord(as_stored, received=now, expires=end, own=own, due=due)

    def decide(stored: StoredRecord | None) -> StoredRecord:
        if stored is None or stored.expires <= now:
            return fresh
        if stored.record.value == record.value:
            return _renewed(stored, fresh)
        if not rules.accepts(record.key, stored.record.value, now):
            return fresh
        if rules.select(record.key, [stored.record.value, record.value]) == 0:
            raise StaleRecord(record.key, "a better record is stored, by the rules of its namespace")
        return fresh

    return decide


def _is_copy(record: Record) -> bool:
    return record.ttl > 0 and not record.publisher and bool(record.time_received)


def _renewed(stored: StoredRecord, fresh: StoredRecord) -> StoredRecord:
    if fresh.own:
        return fresh
    ended = stored.record.ttl > 0
    first_hand = fresh.record.ttl > 0 and (fresh.record.publisher or not stored.record.publisher)
    if stored.own or fresh.expires <= stored.expires or (ended and not first_hand):
        return stored
    # A ttl that comes later does not turn a record without one into one that ends: its publisher, who gives none, could
    # not renew it any more.
    again = fresh.record if ended else replace(stored.record, time_received=fresh.record.time_received)
    return replace(fresh, record=again)


def served(stored: StoredRecord, now: float) -> Record:
    """A stored record as it is told: with the seconds left where it came with a ttl, and without one where it did not.

    rust says the seconds left of each record, of those too that got their end from its own configuration. A reader who
    passes those on would end a record early whose publisher renews it without a ttl, as go and js do. The node's own record
    is as fresh as if it had been renewed this moment.
    """
    record = replace(stored.record, time_received=format_time(now)) if stored.own else stored.record
    return record if record.ttl == 0 else replace(record, ttl=seconds_left(stored.expires, now))


def passed_on(copies: Sequence[Record], *, asked: float, now: float, lifetime: float) -> Record | None:
    """The record that a reader, who got these copies of one value, brings to a peer without it: the one that lives longest.

    It goes with the seconds that are left of its ttl or, where it has none, of `lifetime`, counted from when it was renewed.
    None when no more than one is left: of its last second a holder tells a whole one (`seconds_left`), and where many read,
    these add up, so that it never died.
    asked: when the reader began to ask, in wall seconds. A ttl was told later, and so lasts until `asked` + ttl at least:
    counted from now, each reader would give a record the length of a lookup. Whether a time can be is judged as of then, too:
    a copy that has ended since was told rightly, and must not pass for one whose time is wrong, and which begins anew.
    """

    def begun(record: Record) -> float:
        return renewed_at(record, now=asked, lifetime=lifetime)

    def end(record: Record) -> float:
        return asked + record.ttl if record.ttl > 0 else begun(record) + lifetime

    best = max(copies, key=end)
    now = max(now, asked)  # a clock that is set back adds nothing
    if end(best) - now <= 1:
        return None
    told = best.time_received if best.ttl > 0 else format_time(begun(best))
    return replace(best, time_received=told, ttl=seconds_left(end(best), now))


def seconds_left(expires: float, now: float) -> int:
    """A ttl for the wire: whole seconds, at least 1, because 0 means that none is said (rust does so too); a uint32."""
    return max(1, int(min(expires - now, 2**32 - 1)))


def provider_at(stored: StoredProvider, now: float) -> StoredProvider | None:
    """What is left of a provider record: all of it, all but the addresses, or None."""
    if stored.expires <= now:
        return None
    if stored.addresses_expire <= now and stored.provider.addresses:
        return replace(stored, provider=PeerInfo(stored.provider.id))
    return stored


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_time(seconds: float) -> str:
    """Wall seconds as `timeReceived` has them: RFC 3339, section 5.6, in UTC.

    Always with nine digits of fraction, from which js takes the milliseconds.
    """
    whole = floor(seconds)
    nanoseconds = int((seconds - whole) * 1e9)
    return f"{(_EPOCH + timedelta(seconds=whole)).replace(tzinfo=None).isoformat()}.{nanoseconds:09}Z"


def parse_time(text: str) -> float | None:
    """What `format_time` and other implementations write, in wall seconds; None for what is no such time."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if told.tzinfo is None else (told - _EPOCH).total_seconds()
