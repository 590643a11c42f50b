"""The file of a store: what it refuses to open, and with which sentence; and how it is brought up to date."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from p2pkad.core.records import Record, StoredRecord
from p2pkad.errors import ConfigError, StoreFull
from p2pkad.store.database import APPLICATION, MIGRATIONS, Batch, Database
from p2pkad.testing.stores import NEAR, provider, record

NOBODY = 65534


def opened(path: Path, owner: str = "me") -> closing[Database]:
    return closing(Database.open(path, owner=owner, durability="normal"))


def text_file(path: Path) -> None:
    path.write_text("this is a letter to somebody, and longer than the head of a database is\n" * 99)


def broken_in_the_middle(path: Path) -> None:
    with opened(path) as database:
        database.write(Batch(0, records=[record(b"%d" % number, b"v" * 500) for number in range(500)]))
    content = bytearray(path.read_bytes())
    content[5 * 4096 : 9 * 4096] = os.urandom(4 * 4096)
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    broken_in_the_middle(path)
    path.write_bytes(path.read_bytes()[:9000])


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")


def newer(path: Path) -> None:
    with opened(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


def older_than_any(path: Path) -> None:
    newer(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = -1")


def not_of_its_version(path: Path) -> None:
    newer(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")


def of_nobody_who_can_be_read(path: Path) -> None:
    newer(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("UPDATE about SET value = CAST(x'ff' AS TEXT) WHERE name = 'owner'")
        connection.commit()


def of_another_node(path: Path) -> None:
    with opened(path, owner="somebody else"):
        pass


def a_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.scenario("H5")
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (text_file, "broken, or no database (file is not a database). Move it away"),
        (broken_in_the_middle, "broken, or no database ("),
        (cut_off, "broken, or no database ("),
        (of_another_program, "the database of another program. Move it away, or pass another data directory"),
        (newer, f"written by a newer p2pkad (version {len(MIGRATIONS) + 1} of its tables, this one knows {len(MIGRATIONS)})"),
        (older_than_any, "broken, or no database (version -1 of its tables). Move it away"),
        (not_of_its_version, "broken, or no database (table about already exists). Move it away"),
        (of_nobody_who_can_be_read, "broken, or no database (Could not decode to UTF-8"),
        (of_another_node, "the entries of another node"),
        (a_directory, "cannot be written (Is a directory)"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line_and_left_as_it_is(
    make: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "store.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for _ in range(2):  # the lock was given back
        with pytest.raises(ConfigError) as refused:
            Database.open(path, owner="me", durability="normal")
        assert f"{path}: {sentence}" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert before is None or path.read_bytes() == before


@contextmanager
def as_nobody() -> Iterator[None]:
    """Rights mean nothing to root."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.scenario("H5")
def test_a_directory_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o555)
        with as_nobody():
            for path in (directory / "store.db", directory / "made" / "store.db"):
                with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\)\. Check its rights"):
                    Database.open(path, owner="me", durability="normal")
        directory.chmod(0o755)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        Database.open(tmp_path / "file" / "store.db", owner="me", durability="normal")


HOLD = """
import sys, time
from pathlib import Path
from p2pkad.store.database import Database
database = Database.open(Path(sys.argv[1]), owner="me", durability="normal")
print("open", flush=True)
time.sleep(600)
"""


@pytest.mark.scenario("H5")
def test_two_processes_do_not_share_a_file_and_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            with pytest.raises(ConfigError, match="a node with this protocol id is running on it"):
                Database.open(path, owner="me", durability="normal")
        finally:
            other.kill()
        other.wait()
        with opened(path):
            pass
    with opened(path), pytest.raises(ConfigError, match="is running on it"):
        Database.open(path, owner="me", durability="normal")


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "for it"
    for _ in range(2):
        with opened(directory / "store.db") as database:
            database.write(Batch(0, records=[record(NEAR)]))
            rights = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
        # And no shared memory: on a full disk it would be a bus error.
        assert rights == {"store.db": 0o600, "store.db-wal": 0o600, "store.lock": 0o600}
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_a_file_of_an_older_version_is_brought_up_to_date_with_what_is_in_it(version: int, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        if version:
            for script in MIGRATIONS[:version]:
                connection.executescript(script)
            connection.execute("INSERT INTO about VALUES ('owner', 'me'), ('latest', 7.5)")
            told = (NEAR, b"value", "1970-01-01T00:00:01.000000000Z", b"publisher", 7, 1.5, 100, 0, float("inf"))
            connection.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", told)
            connection.execute("INSERT INTO providers VALUES (?, ?, ?, 1.5, 100, 100, 0, 9e999)", (NEAR, b"one", b""))
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.commit()
    for _ in range(2):
        with opened(path) as database:
            assert list(database.records()) == ([record(NEAR)] if version else [])
            assert list(database.providers()) == ([(NEAR, provider(b"one", addresses=0))] if version else [])
            assert database.peers() == ()
            assert database.latest() == (7.5 if version else float("-inf"))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_file_of_another_node_and_an_older_version_stays_of_that_version(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("INSERT INTO about VALUES ('owner', 'somebody else')")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.commit()
    with pytest.raises(ConfigError, match="the entries of another node"):
        Database.open(path, owner="me", durability="normal")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_an_update_that_is_cut_short_leaves_the_older_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    with opened(path) as database:
        database.write(Batch(0, records=[record(NEAR)]))
    with monkeypatch.context() as change:
        change.setattr("p2pkad.store.database.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE new (x); CREATE TABLE new (x)"))
        with pytest.raises(ConfigError, match=r"broken, or no database .table new already exists"):
            Database.open(path, owner="me", durability="normal")
    with opened(path) as database:
        assert list(database.records()) == [record(NEAR)]


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_how_long_a_commit_waits_for_the_disk_is_an_option(durability: str, level: int, tmp_path: Path) -> None:
    with closing(Database.open(tmp_path / "store.db", owner="me", durability=durability)) as database:  # type: ignore[arg-type]
        assert database._connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert database._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@contextmanager
def tmpfs(directory: Path, size: str) -> Iterator[Path]:
    directory.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("only root may mount a small disk")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.scenario("H5")
def test_there_is_room_where_a_quarter_of_a_mebibyte_fits_also_in_pages_that_hold_nothing(tmp_path: Path) -> None:
    keys = [b"%d" % number for number in range(100)]
    with opened(tmp_path / "store.db") as database:
        database.write(Batch(0, records=[record(key, b"v" * 5000) for key in keys]))
        (pages,) = database._connection.execute("PRAGMA page_count").fetchone()
        database._connection.execute(f"PRAGMA max_page_count = {pages + 10}")  # SQLite says then what it says of a full disk
        assert not database.has_room()
        database.write(Batch(0, records=[record(NEAR)]))
        assert not database.has_room(), "what is small has fitted"
        assert len(list(database.records())) == 101
        database.write(Batch(0, gone_records=keys))
        assert database.has_room()
        assert database.has_room(), "it keeps nothing"
        assert database._connection.execute("SELECT name FROM about").fetchall() == [("latest",), ("owner",)]


@pytest.mark.scenario("H5")
def test_on_a_disk_that_is_really_full_nothing_is_lost_and_it_works_again_when_there_is_room(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "2m") as small:
        written: list[StoredRecord] = []
        ballast = small / "ballast"
        ballast.write_bytes(bytes(1_500_000))
        with opened(small / "store.db") as database:

            def fill() -> None:
                while True:
                    each = StoredRecord(Record(b"%d" % len(written), b"v" * 2000), 1, 99)
                    database.write(Batch(0, records=[each]))
                    written.append(each)

            with pytest.raises(StoreFull, match="the disk is full"):
                fill()
            assert sorted(database.records(), key=str) == sorted(written, key=str)
            assert not database.has_room()
            ballast.unlink()
            assert database.has_room()
            database.write(Batch(0, records=[record(NEAR)]))
        with opened(small / "store.db") as database:
            assert sorted(database.records(), key=str) == sorted([*written, record(NEAR)], key=str)
