"""A store in a file: what was acknowledged is there after the process has ended, in whatever way.

All of it is in memory, too (`contents.py`): reads wait for nothing, and decisions run on the thread of the event loop. A call
that changes something returns when the change is committed:

    loop      changes the contents, and waits
    writer    the store's one thread (`writer.py`): writes what has changed in one commit, all that came meanwhile in the next
    loop      wakes those whose changes are written, or takes the changes back and says why

One commit at a time is under way, with any number of callers; so many share one as came during the last. No more than
MAX_WAITING wait for the next: the others have not begun yet.

When the disk is full, reads go on; changes are taken back in reverse order, with all that came after them. What is `firm`
(contents.py: the dead are dead, a time that was set is set) stays in memory and is written with the next commit that succeeds.
An entry that SQLite cannot hold is taken back alone, and whoever changed it is told; what made room for it stays away.

A reader may see what is not committed yet; whoever put it is told only afterwards. The latest time seen is written with each
commit and each `expire`: after `kill -9` a clock that also goes back could revive what died since, no more.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from math import inf
from pathlib import Path

import trio

from p2pkad.config import Durability, KademliaConfig, StoreBounds
from p2pkad.core.keyspace import SHA256, Key, KeySpace
from p2pkad.core.peers import Address, PeerId
from p2pkad.core.records import StoredProvider, StoredRecord
from p2pkad.errors import NodeClosed, StoreError, StoreFailed
from p2pkad.store.base import Decide, Due, KeptPeer, Kind, Store, StoreStats
from p2pkad.store.contents import BATCH, Change, Contents, Place
from p2pkad.store.database import Batch, Database
from p2pkad.store.writer import LeftOut, Writer

MAX_WAITING = 1000
"""Calls that wait for one commit: what a quick disk takes in a tenth of a second."""

PATIENCE = 30.0
"""Seconds that a commit may take: then something is wrong, and whoever waits for it, or for the next, is told. So long closing
waits, too. A writer that is stuck for longer ends with the process, or when the disk moves."""

CANNOT_BE_WRITTEN = "the store cannot be written"

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiter:
    """A call that waits for its commit. places: what it has changed that can be taken back."""

    places: frozenset[Place]
    over: trio.Event = field(default_factory=trio.Event)
    error: StoreError | None = None


@dataclass(slots=True)
class _Changes:
    """What one commit is about: what can be taken back, in order; where firm changes were; who waits.

    owned: how many of the loose ones belong to somebody who waits. began: when it was handed to the writer.
    """

    loose: list[Change] = field(default_factory=list)
    firm: dict[Place, None] = field(default_factory=dict)
    peers: bool = False
    waiters: list[_Waiter] = field(default_factory=list)
    owned: int = 0
    began: float = inf

    def wait(self) -> _Waiter:
        """Somebody more waits, whose are the changes that are nobody's so far."""
        waiter = _Waiter(frozenset(change.place for change in self.loose[self.owned :]))
        self.owned = len(self.loose)
        self.waiters.append(waiter)
        return waiter


class SqliteStore:
    """A `p2pkad.store.base.Store` in the file `path`. `open_store` makes the one of a node.

    own_key: the key of the node's id in `space`. Making it reads the whole file, and blocks meanwhile: `open_store` does so in
    a thread. Raises ConfigError: the file cannot be used; the sentence says why, and nothing is left open.
    Where a change raises StoreFull or StoreFailed nothing is changed, but for a disk that has not answered for PATIENCE: what
    was begun by then is `in_use`, and written when the disk moves, or not.
    """

    def __init__(
        self,
        path: Path,
        own_key: Key,
        bounds: StoreBounds,
        *,
        space: KeySpace = SHA256,
        durability: Durability = "normal",
    ) -> None:
        self._next = _Changes()
        self._under_way: _Changes | None = None
        self._turns = trio.lowlevel.ParkingLot()
        self._watched = False
        self._closed = False
        self._ended = trio.Event()
        self._database = Database.open(path, owner=f"{own_key:x}", durability=durability)
        try:
            self._contents = Contents(own_key, space, bounds, self._changed)
            self._load()
        except BaseException:
            self._database.close()
            raise
        self._writer = Writer(self._database)

    def __repr__(self) -> str:
        return f"<SqliteStore {self._database.path} {self._contents!r}{' closed' if self._closed else ''}>"

    async def get(self, key: bytes, now: float) -> StoredRecord | None:
        """The record under `key`; None when there is none or it has expired."""
        self._check_open()
        return self._contents.get(key, now)

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        """Replace what is under `key` by what `decide` makes of it; returns what is there now.

        Raises what `decide` raises, with nothing changed, StoreFull and StoreFailed. Cancelled: it is stored or not.
        """
        await self._turn()
        chosen = self._contents.update(key, decide)
        await self._commit()
        return chosen

    async def add_provider(self, key: bytes, provider: StoredProvider) -> None:
        """Remember who provides `key`; a peer that is known for it is replaced.

        At the limit of providers per key the one that expires first makes room; an own one never does.
        Raises StoreFull and StoreFailed. Cancelled: it is stored or not.
        """
        await self._turn()
        self._contents.add_provider(key, provider)
        await self._commit()

    async def providers(self, key: bytes, now: float) -> tuple[StoredProvider, ...]:
        """Who provides `key` and has not expired; addresses that have are left out."""
        self._check_open()
        return self._contents.providers(key, now)

    async def remove_provider(self, key: bytes, peer: PeerId) -> bool:
        """Forget that `peer` provides `key`; False when it did not. Raises StoreFull and StoreFailed."""
        await self._turn()
        removed = self._contents.remove_provider(key, peer)
        await self._commit()
        return removed

    async def due(self, now: float, horizon: float, limit: int) -> tuple[Due, ...]:
        """Own entries whose `due` is at or before `now`, or after `horizon`."""
        self._check_open()
        return self._contents.due(now, horizon, limit)

    async def next_due(self) -> float:
        """The earliest `due` of all own entries; infinite when there is none."""
        self._check_open()
        return self._contents.next_due()

    async def set_due(self, kind: Kind, key: bytes, at: float) -> bool:
        """Change when an own entry is due; False when there is no such own entry."""
        self._check_open()
        changed = self._contents.set_due(kind, key, at)
        await self._commit_or_later()
        return changed

    async def set_addresses(self, key: bytes, addresses: Sequence[Address], now: float) -> bool:
        """Change where the node's own provider of `key` is said to be; False when there is no such own entry.

        Raises StoreFull and StoreFailed.
        """
        await self._turn()
        changed = self._contents.set_addresses(key, addresses, now)
        await self._commit()
        return changed

    async def expire(self, now: float) -> int:
        """Remove everything that has expired; returns how many records and providers that were.

        Cancelled: the rest is removed by the next call.
        """
        removed, batch = 0, BATCH
        while batch == BATCH:
            self._check_open()
            self._contents.see(now)
            batch = self._contents.sweep(now, BATCH)
            removed += batch
            await self._commit_or_later()
            await trio.lowlevel.checkpoint()  # which the commit is not while the disk hangs
        return removed

    async def save_peers(self, peers: Sequence[KeptPeer]) -> None:
        """Keep these peers instead of those that were kept, the first MAX_PEERS."""
        self._check_open()
        self._contents.save_peers(peers)
        self._next.peers = True
        await self._commit_or_later()

    async def saved_peers(self) -> tuple[KeptPeer, ...]:
        """The peers that were saved last."""
        self._check_open()
        return self._contents.peers

    def stats(self) -> StoreStats:
        """What is stored at this moment, what has expired but was not removed yet included."""
        self._check_open()
        return self._contents.stats()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be stored, or soon nothing; None: nothing is wrong. `expire` tries whether it still is."""
        return str(self._hanging(in_use=True)) if self._hangs else self._writer.trouble

    async def aclose(self) -> None:
        """Write what is left, close the file, give the lock back, end the thread. Idempotent, and not cut short by cancelling.

        Calls that wait for their commit get it. Every later call raises NodeClosed.
        """
        if self._closed:
            return
        self._closed = True
        self._turns.unpark_all()
        self._next.wait()
        if self._under_way is None:
            self._write()
        with trio.move_on_after(PATIENCE) as patience:
            patience.shield = True
            await self._ended.wait()
            self._writer.join()
            self._contents.clear()
            return
        log.error("the store did not close in time", extra={"path": str(self._database.path), "seconds": PATIENCE})

    # On the loop

    def _load(self) -> None:
        for record in self._database.records():
            self._contents.put_back(Place("record", record.record.key), record)
        for key, provider in self._database.providers():
            self._contents.put_back(Place("provider", key, provider.provider.id), provider)
        self._contents.peers = self._database.peers()
        self._contents.latest = self._database.latest()
        self._next = _Changes()
        self._contents.trim()

    def _changed(self, change: Change) -> None:
        if change.firm:
            self._next.firm[change.place] = None
        else:
            self._next.loose.append(change)

    def _check_open(self) -> None:
        if self._closed:
            raise NodeClosed

    async def _turn(self) -> None:
        """Before a change that can be taken back: whether it may be made, and that there is room for one more that waits.

        Raises StoreFailed: the disk hangs. What is firm needs no turn: there is little of it.
        """
        self._check_open()
        while not self._hangs and len(self._next.waiters) >= MAX_WAITING:
            await self._turns.park()
            self._check_open()
        if self._hangs:
            raise self._hanging(in_use=False)

    async def _commit(self) -> None:
        """Return when all that has been changed so far is written. Raises StoreFull, StoreFailed: it was taken back.

        StoreFailed also when the disk hangs; then it is in use, and written when the disk moves, or not.
        """
        if self._hangs and self._next.waiters:
            raise self._hanging(in_use=True)
        waiter = self._next.wait()
        if self._under_way is None:
            self._write()
        if self._hangs:
            raise self._hanging(in_use=True)
        await waiter.over.wait()
        if waiter.error is not None:
            raise waiter.error

    async def _commit_or_later(self) -> None:
        """The same for firm changes: when this commit fails, they are part of the next."""
        with suppress(StoreError):
            await self._commit()

    @property
    def _hangs(self) -> bool:
        return self._under_way is not None and trio.current_time() >= self._under_way.began + PATIENCE

    def _hanging(self, *, in_use: bool) -> StoreFailed:
        path = self._database.path
        return StoreFailed(f"{path}: its disk has not answered for {PATIENCE:g} s. What is stored is served", in_use=in_use)

    def _write(self) -> None:
        changes = self._under_way = self._next
        changes.began = trio.current_time()
        self._next = _Changes()
        batch = Batch(self._contents.latest, peers=self._contents.peers if changes.peers else None)
        for place in dict.fromkeys([*changes.firm, *(change.place for change in changes.loose)]):
            match self._contents.at(place):
                case StoredRecord() as record:
                    batch.records.append(record)
                case StoredProvider() as provider:
                    batch.providers.append((place.key, provider))
                case None if place.kind == "record":
                    batch.gone_records.append(place.key)
                case None:
                    batch.gone_providers.append((place.key, place.peer))
        if not self._watched:
            self._watched = True
            trio.lowlevel.spawn_system_task(self._watch)
        self._writer.write(batch, self._written)
        self._turns.unpark_all()

    async def _watch(self) -> None:
        """Tell all who wait when a commit takes too long. One deadline for all: one each would take a fifth of a busy loop."""
        changes = self._under_way
        while changes is not None and not self._hangs:
            await trio.sleep_until(changes.began + PATIENCE)
            changes = self._under_way
        self._watched = False
        if changes is not None:
            waiters = changes.waiters + self._next.waiters
            for waiter in waiters:
                waiter.error = self._hanging(in_use=True)
                waiter.over.set()
            self._turns.unpark_all()
            log.warning(CANNOT_BE_WRITTEN, extra={"reason": self.trouble, "calls": len(waiters)})

    def _written(self, error: StoreError | None, left_out: LeftOut) -> None:
        assert self._under_way is not None
        done, self._under_way = self._under_way, None
        if error is not None:
            self._take_back(done, error)
        self._take_out(done, left_out)
        for waiter in done.waiters:
            waiter.over.set()
        if self._next.waiters:
            self._write()
        elif self._closed:
            self._writer.close(lambda error, left_out: self._ended.set())

    def _take_back(self, failed: _Changes, error: StoreError) -> None:
        """Undo what was not written, and all that was built on it."""
        later, self._next = self._next, _Changes()
        for change in reversed(failed.loose + later.loose):
            self._contents.put_back(change.place, change.before)
        # What was put back is what the file has: only what is firm is still to be written.
        self._next = _Changes(firm=failed.firm | later.firm, peers=failed.peers or later.peers)
        for waiter in failed.waiters + later.waiters:
            waiter.error = type(error)(*error.args)
        failed.waiters += later.waiters
        self._turns.unpark_all()  # those who waited for room have it, and no commit comes that would say so
        log.warning(CANNOT_BE_WRITTEN, extra={"reason": str(error), "calls": len(failed.waiters)})

    def _take_out(self, done: _Changes, left_out: LeftOut) -> None:
        """Undo what SQLite cannot hold, and no more than that."""
        for place, error in left_out.items():
            log.warning("the store cannot hold an entry", extra={"reason": str(error)})
            first = next((change for change in done.loose if change.place == place), None)
            if first is None:
                continue  # nothing but firm changes
            later = next((at for at, change in enumerate(self._next.loose) if change.place == place), None)
            if later is not None:  # it is another one by now
                self._next.loose[later] = replace(self._next.loose[later], before=first.before)
            else:
                self._contents.put_back(place, first.before)
                self._next.loose.pop()  # what was put back is what the file has
            if place in done.firm:  # but for a time that was set before
                self._next.firm[place] = None
        for waiter in done.waiters:
            for place in waiter.places & left_out.keys():
                waiter.error = type(left_out[place])(*left_out[place].args)


@asynccontextmanager
async def open_store(directory: str | Path, own: PeerId, config: KademliaConfig) -> AsyncIterator[Store]:
    """The store of a node in a directory: `async with open_store("state", host.id, config) as store`, for
    `KademliaService(host, config, store=store)`. `open_node` does so where `data_dir` is set.

    The file is named after `config.protocol`: services with different ones can share a directory. own: the id of the host.
    Its bounds and its durability are those of `config`. Raises ConfigError: the file is in use, broken, or cannot be written.
    Leaving the block closes it; that the service has closed it already does no harm.
    """
    make = partial(
        SqliteStore,
        Path(directory, f"{file_name(config.protocol)}.db"),
        SHA256.key(own),
        config.store_bounds,
        durability=config.durability,
    )
    # Not abandoned when cancelled: nobody would close it.
    store = await trio.to_thread.run_sync(make)
    try:
        yield store
    finally:
        await store.aclose()


def file_name(protocol: str) -> str:
    """The name of the file for a protocol id, without its end: what can be read of it, and what tells it from all others."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", protocol).strip("-.")[:60]
    return f"{readable}-{sha256(protocol.encode()).hexdigest()[:8]}".lstrip("-")
