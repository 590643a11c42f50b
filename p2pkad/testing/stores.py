"""What the promises of a store are written with: a store to check, and things to put into it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Protocol

from p2pkad.config import StoreBounds
from p2pkad.core.keyspace import Key, KeySpace
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import NEVER, Record, StoredProvider, StoredRecord
from p2pkad.errors import P2pkadError
from p2pkad.store.base import Decide, Store
from p2pkad.wire.addresses import parse_address


class MakeStore(Protocol):
    """Opens an empty store with these bounds. It is called as `MemoryStore` is."""

    def __call__(self, own_key: Key, bounds: StoreBounds, /, *, space: KeySpace) -> Store: ...


Promise = Callable[[MakeStore], Awaitable[None]]
"""A check. Its name is the promise."""


class Suite(list[Promise]):
    """Promises in the order in which they are written down."""

    def promise(self, check: Promise) -> Promise:
        """Mark a check as one."""
        self.append(check)
        return check


# The store's own key is 0 in a space of 8 bits where the first byte of a name is its key: one sees who is far.
SPACE = KeySpace(8, key=lambda name: name[0] if name else 0)
NEAR, MIDDLE, FAR = b"\x01 near", b"\x40 middle", b"\xf0 far"
PLACE = parse_address("/ip4/1.2.3.4/tcp/4001")


def opened(
    make_store: MakeStore,
    *,
    max_records: int = 100,
    max_provider_keys: int = 100,
    max_providers_per_key: int = 100,
    max_bytes: int = 2**20,
) -> aclosing[Store]:
    """An empty store with these bounds, closed in the end."""
    bounds = StoreBounds(
        max_records=max_records,
        max_provider_keys=max_provider_keys,
        max_providers_per_key=max_providers_per_key,
        max_bytes=max_bytes,
    )
    return aclosing(make_store(0, bounds, space=SPACE))


def record(key: bytes, value: bytes = b"value", *, expires: float = 100, own: bool = False, due: float = NEVER) -> StoredRecord:
    """A record with something in each of its fields. Like all that the promises put, it came at 1.5."""
    return StoredRecord(Record(key, value, "1970-01-01T00:00:01.000000000Z", b"publisher", 7), 1.5, expires, own, due)


def provider(
    name: bytes,
    *,
    expires: float = 100,
    addresses_expire: float = 100,
    own: bool = False,
    addresses: int = 1,
    due: float = NEVER,
) -> StoredProvider:
    """A provider with this id."""
    return StoredProvider(PeerInfo(PeerId(name), (PLACE,) * addresses), 1.5, expires, addresses_expire, own, due)


class LargestWins:
    """Rules under which every value is valid, none says when it dies, and the larger bytes are the better ones."""

    def accepts(self, key: bytes, value: bytes, now: float) -> bool:
        return True

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        return values.index(max(values))

    def expires(self, key: bytes, value: bytes) -> float | None:
        return None


def always(stored: StoredRecord | None) -> Decide:
    """The decision for this record, whatever there is."""
    return lambda _: stored


async def put(store: Store, *records: StoredRecord) -> None:
    """Store these, one after the other."""
    for each in records:
        await store.update(each.record.key, always(each))


async def kept(store: Store, *keys: bytes) -> list[bytes]:
    """Which of `keys` have a record at 2."""
    return [key for key in keys if await store.get(key, now=2) is not None]


async def names(store: Store, key: bytes, now: float = 2) -> list[bytes]:
    """Who provides `key`, sorted."""
    return sorted(each.provider.id for each in await store.providers(key, now))


@contextmanager
def raises(expected: type[P2pkadError]) -> Iterator[None]:
    """A promise may be checked without pytest."""
    try:
        yield
    except expected:
        return
    raise AssertionError(f"{expected.__name__} was not raised")
