"""The file of a store: opening it, its lock, its schema, reading all of it, and writing many changes in one commit.

Beside `<name>.db` stands `<name>.lock`, held as long as the database is open: the system gives it back when the process ends,
however that happens. SQLite keeps its write-ahead log in `<name>.db-wal`.

opened      by one process, exclusively: SQLite then needs no shared memory, which on a full disk would be a crash
written     in one transaction a batch. Where one fails for what an entry in it is, each entry is written for itself, and only
            those that SQLite cannot hold are left out; else a batch is written whole or not at all
versions    `PRAGMA user_version` says how many of MIGRATIONS a file has gone through; a new one goes through all of them

Everything here blocks: `writer.py` calls it from a thread. sqlite.org/wal.html, sqlite.org/pragma.html.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Self

from p2pkad.config import Durability
from p2pkad.core.peers import PeerId
from p2pkad.core.records import StoredProvider, StoredRecord
from p2pkad.errors import ConfigError, StoreError, StoreFailed, StoreFull
from p2pkad.store.base import KeptPeer
from p2pkad.store.contents import Place
from p2pkad.store.rows import Row, peer_of, peer_row, provider_of, provider_row, record_of, record_row

APPLICATION = 0x70326B64
"""`PRAGMA application_id`: "p2kd". By it our files are told from those of others."""

MIGRATIONS = (
    """
    CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE records (
        key BLOB PRIMARY KEY, value BLOB, time_received TEXT, publisher BLOB, ttl INTEGER,
        received REAL, expires REAL, own INTEGER, due REAL
    );
    CREATE TABLE providers (
        key BLOB, peer BLOB, addresses BLOB, received REAL, expires REAL, addresses_expire REAL, own INTEGER, due REAL,
        PRIMARY KEY (key, peer)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE peers (
        place INTEGER PRIMARY KEY, peer BLOB, addresses BLOB, since REAL, stayed REAL, tried REAL, tries INTEGER
    );
    """,
)
"""What makes a file of version n one of version n + 1. What has been released is not changed any more."""

ROOM = 256 * 1024
"""Bytes that fit on a disk which is not full any more. What takes a few may fit into the last page of one that is: that some
were written tells nothing."""

ROWS = 100
"""Rows in one statement. The interpreter is given up and waited for once a statement, not once a row: beside a busy event loop
that is the difference between a batch in 20 ms and one in half a second."""

UNFIT = (ValueError, OverflowError, sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError)
"""What a statement raises that has a value which no column can hold: text that is none, a number too large, another type."""

SYNCHRONOUS = {"normal": "NORMAL", "full": "FULL"}


@dataclass(slots=True)
class Batch:
    """What is written in one commit. latest: the latest time seen. peers: None leaves them as they are."""

    latest: float
    records: list[StoredRecord] = field(default_factory=list)
    providers: list[tuple[bytes, StoredProvider]] = field(default_factory=list)
    gone_records: list[bytes] = field(default_factory=list)
    gone_providers: list[tuple[bytes, PeerId]] = field(default_factory=list)
    peers: Sequence[KeptPeer] | None = None


class Database:
    """An open file. Made by `open`; one thread at a time may use it."""

    def __init__(self, path: Path, lock: int, connection: sqlite3.Connection) -> None:
        self.path = path
        self._lock = lock
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, owner: str, durability: Durability) -> Self:
        """Open a file, or make it, with its directory.

        owner: whose entries these are; in a file that is there it has to be the same. Raises ConfigError, with nothing left
        open and no file changed: it is in use, cannot be written, is broken, somebody else's, or of a newer version.
        """
        lock = _locked(path)
        try:
            _prepare(path)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                with _explained(path):
                    _begin(connection, path, owner, durability)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock, connection)

    def latest(self) -> float:
        """The latest time that any of its owners saw, as far as it was written."""
        found = self._connection.execute("SELECT value FROM about WHERE name = 'latest'").fetchone()
        return -inf if found is None else float(found[0])

    def records(self) -> Iterator[StoredRecord]:
        """All records, dead ones included."""
        with _explained(self.path):
            yield from map(record_of, self._connection.execute("SELECT * FROM records"))

    def providers(self) -> Iterator[tuple[bytes, StoredProvider]]:
        """All providers with their keys, dead ones included."""
        with _explained(self.path):
            yield from map(provider_of, self._connection.execute("SELECT * FROM providers"))

    def peers(self) -> tuple[KeptPeer, ...]:
        """The peers, in their order."""
        with _explained(self.path):
            return tuple(map(peer_of, self._connection.execute("SELECT * FROM peers ORDER BY place")))

    def write(self, batch: Batch) -> dict[Place, StoreError]:
        """Write a batch; returns which of its entries are left out because SQLite cannot hold them, and why.

        Raises StoreFull, StoreFailed, with nothing of it written.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._write_all(batch)
                left_out: dict[Place, StoreError] = {}
            except UNFIT:
                # Such a statement has changed nothing, those before it in the same batch have.
                self._connection.execute("ROLLBACK")
                self._connection.execute("BEGIN IMMEDIATE")
                left_out = self._write_each(batch)
            self._connection.execute("COMMIT")
        except Exception as error:
            with suppress(sqlite3.Error):  # where there is nothing to roll back, SQLite has done so
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error | MemoryError):
                raise _as_ours(self.path, error) from error
            raise
        return left_out

    def _write_all(self, batch: Batch) -> None:
        self._delete("records", "key", [(key,) for key in batch.gone_records])
        self._delete("providers", "key, peer", [(key, bytes(peer)) for key, peer in batch.gone_providers])
        self._replace("records", [record_row(stored) for stored in batch.records])
        self._replace("providers", [provider_row(key, stored) for key, stored in batch.providers])
        if batch.peers is not None:
            self._connection.execute("DELETE FROM peers")
            self._replace("peers", [peer_row(place, kept) for place, kept in enumerate(batch.peers)])
        self._replace("about", [("latest", batch.latest)])

    def _write_each(self, batch: Batch) -> dict[Place, StoreError]:
        """The same, a statement for each entry; what else of it SQLite cannot hold is left out without a word."""
        left_out: dict[Place, StoreError] = {}
        entries = [(Place("record", each.record.key), "records", record_row(each)) for each in batch.records]
        entries += [
            (Place("provider", key, each.provider.id), "providers", provider_row(key, each)) for key, each in batch.providers
        ]
        for place, table, row in entries:
            try:
                self._replace(table, [row])
            except UNFIT as error:
                left_out[place] = _as_ours(self.path, error)
        gone: list[tuple[str, str, Row]] = [("records", "key", (key,)) for key in batch.gone_records]
        gone += [("providers", "key, peer", (key, bytes(peer))) for key, peer in batch.gone_providers]
        for table, columns, which in gone:
            with suppress(*UNFIT):  # then it is not in the file
                self._delete(table, columns, [which])
        others = [("about", ("latest", batch.latest))]
        if batch.peers is not None:
            self._connection.execute("DELETE FROM peers")
            others += [("peers", peer_row(place, kept)) for place, kept in enumerate(batch.peers)]
        for table, row in others:
            with suppress(*UNFIT):
                self._replace(table, [row])
        return left_out

    def has_room(self) -> bool:
        """Whether ROOM bytes can be written, to the log and from there to the file: it tries, and keeps the place in the file.

        What the system says is free may be kept for root, who need not be root in a container; and what goes into a free page
        of the file has to stand in the log first.
        """
        try:
            self._connection.execute("REPLACE INTO about VALUES ('room', zeroblob(?))", (ROOM,))
            try:
                self._connection.execute("PRAGMA wal_checkpoint")
            finally:
                self._connection.execute("DELETE FROM about WHERE name = 'room'")
        except (sqlite3.Error, MemoryError):
            return False
        return True

    def close(self) -> None:
        """Move the log into the file, and give the lock back."""
        try:
            self._connection.close()
        finally:
            os.close(self._lock)

    def _replace(self, table: str, rows: Sequence[Row]) -> None:
        for chunk in _chunks(rows):
            self._connection.execute(f"REPLACE INTO {table} VALUES {_values(chunk)}", _flat(chunk))  # noqa: S608 - names of ours

    def _delete(self, table: str, columns: str, rows: Sequence[Row]) -> None:
        for chunk in _chunks(rows):
            which = f"({columns}) IN (VALUES {_values(chunk)})"
            self._connection.execute(f"DELETE FROM {table} WHERE {which}", _flat(chunk))  # noqa: S608 - the same


def _locked(path: Path) -> int:
    lock = path.with_suffix(".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path.parent, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(
            f"data directory {path.parent}: a node with this protocol id is running on it. Stop that one, or pass another "
            "directory"
        ) from None
    return descriptor


def _prepare(path: Path) -> None:
    # SQLite would make it with the rights of the umask; what is beside it has the rights of the file.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unusable(path, error) from None


def _begin(connection: sqlite3.Connection, path: Path, owner: str, durability: Durability) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # before anything is read: afterwards there is shared memory already
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    fresh = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    if application != APPLICATION and not (fresh and version == application == 0):
        raise ConfigError(f"{path}: the database of another program. Move it away, or pass another data directory")
    if version < 0:
        raise sqlite3.DatabaseError(f"version {version} of its tables")
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"{path}: written by a newer p2pkad (version {version} of its tables, this one knows {len(MIGRATIONS)}). "
            "Upgrade p2pkad, or pass another data directory"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
    (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        raise sqlite3.DatabaseError(" ".join(state.split()))
    # Before anything is changed. All versions have this table.
    known = version and connection.execute("SELECT value FROM about WHERE name = 'owner'").fetchone()
    if known and known != (owner,):
        raise ConfigError(f"{path}: the entries of another node. Use that node's key again, or move this file away")
    if version < len(MIGRATIONS):
        _migrate(connection, version)
    if not known:
        connection.execute("INSERT INTO about VALUES ('owner', ?)", (owner,))


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What SQLite says of a file that is there, as a sentence for whoever has to do something about it."""
    try:
        yield
    except (sqlite3.Error, ValueError, TypeError) as error:
        # SQLITE_ERROR: a statement does not fit the tables, whatever version the file says that they have. Without a code: what
        # Python cannot read. The lowest byte is the kind.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if isinstance(error, sqlite3.OperationalError) and code & 0xFF != sqlite3.SQLITE_ERROR:
            raise ConfigError(
                f"{path}: cannot be used ({error}). Make room and check its rights, or pass another data directory"
            ) from None
        raise ConfigError(
            f"{path}: broken, or no database ({error}). Move it away; the node then begins with nothing but its key"
        ) from None


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: cannot be written ({error.strerror}). Check its rights, or pass another data directory")


def _as_ours(path: Path, error: Exception) -> StoreError:
    # Python's module raises some without a code of SQLite's.
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StoreFull(f"{path}: the disk is full. Nothing more is stored until there is room; what is stored is served")
    return StoreFailed(f"{path}: cannot be written ({str(error) or type(error).__name__}). What is stored is served")


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[at : at + ROWS] for at in range(0, len(rows), ROWS))


def _values(rows: Sequence[Row]) -> str:
    row = f"({','.join('?' * len(rows[0]))})"
    return ",".join([row] * len(rows))


def _flat(rows: Sequence[Row]) -> list[object]:
    return [value for row in rows for value in row]
