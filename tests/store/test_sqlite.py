"""The store in a file: the promises of every store, and what is its own."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from p2pkad.config import KademliaConfig, StoreBounds
from p2pkad.core.keyspace import KeySpace
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record, StoredRecord
from p2pkad.errors import NodeClosed, StoreError, StoreFailed, StoreFull
from p2pkad.store.base import Decide, KeptPeer, Store
from p2pkad.store.contents import Place
from p2pkad.store.database import Batch, Database
from p2pkad.store.sqlite import MAX_WAITING, PATIENCE, SqliteStore, file_name, open_store
from p2pkad.testing import STORE_PROMISES, Promise
from p2pkad.testing.stores import FAR, MIDDLE, NEAR, SPACE, always, kept, names, provider, put, record

BOUNDS = StoreBounds(max_records=5000, max_provider_keys=100, max_providers_per_key=100, max_bytes=2**24)


@asynccontextmanager
async def opened(path: Path, bounds: StoreBounds = BOUNDS) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path / "store.db", 0, bounds, space=SPACE)
    try:
        yield store
    finally:
        await store.aclose()


@pytest.mark.scenario("V8", "V15")
@pytest.mark.parametrize("promise", STORE_PROMISES)
async def test_it_keeps_its_promises(promise: Promise, tmp_path: Path) -> None:
    numbers = count()

    def make_store(own_key: int, bounds: StoreBounds, /, *, space: KeySpace) -> Store:
        return SqliteStore(tmp_path / f"{next(numbers)}.db", own_key, bounds, space=space)

    await promise(make_store)


# Restarts


@pytest.mark.scenario("V12", "P4", "V14")
async def test_after_a_restart_everything_is_as_it_was(tmp_path: Path) -> None:
    member = KeptPeer(peer=PeerInfo(PeerId(b"member")), stayed=7)
    async with opened(tmp_path) as store:
        await put(store, record(NEAR), record(FAR, own=True, due=30), record(MIDDLE, expires=40))
        await store.add_provider(NEAR, provider(b"own", own=True, due=20))
        await store.add_provider(NEAR, provider(b"one", addresses=2))
        await store.add_provider(FAR, provider(b"gone"))
        await store.remove_provider(FAR, PeerId(b"gone"))
        await store.set_due("record", FAR, 35)
        await store.save_peers([member])
        before = store.stats()
    async with opened(tmp_path) as store:
        assert store.stats() == before
        assert await store.get(NEAR, now=2) == record(NEAR)
        assert await store.get(FAR, now=2) == record(FAR, own=True, due=35)
        assert await store.get(MIDDLE, now=40) is None
        told = sorted(await store.providers(NEAR, now=2), key=lambda each: each.provider.id)
        assert told == [provider(b"one", addresses=2), provider(b"own", own=True, due=20)]
        assert await names(store, FAR) == []
        assert [(each.kind, each.at) for each in await store.due(99, 1000, 9)] == [("provider", 20), ("record", 35)]
        assert await store.saved_peers() == (member,)


@pytest.mark.scenario("V8")
async def test_a_clock_that_goes_back_revives_nothing_across_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, record(NEAR, expires=50), record(FAR, expires=90))
        await store.add_provider(NEAR, provider(b"one", expires=50))
        assert await store.get(NEAR, now=60) is None
    async with opened(tmp_path) as store:
        assert await kept(store, NEAR, FAR) == [FAR]
        assert await names(store, NEAR, now=40) == []


async def test_narrower_bounds_drop_the_farthest_and_the_first_to_expire_but_nothing_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, record(NEAR), record(MIDDLE), record(FAR, own=True))
        for name, expires, own in ((b"own", 10, True), (b"a", 70, False), (b"b", 60, False)):
            await store.add_provider(NEAR, provider(name, expires=expires, own=own))
    tiny = StoreBounds(max_records=9, max_provider_keys=9, max_providers_per_key=9, max_bytes=3500)
    narrow = StoreBounds(max_records=2, max_provider_keys=1, max_providers_per_key=2, max_bytes=2**20)
    for _ in range(2):
        async with opened(tmp_path, narrow) as store:
            assert await kept(store, NEAR, MIDDLE, FAR) == [NEAR, FAR]
            assert await names(store, NEAR) == [b"a", b"own"]
    async with opened(tmp_path) as store:
        assert await kept(store, NEAR, MIDDLE, FAR) == [NEAR, FAR], "what was dropped is gone from the file, too"
    async with opened(tmp_path, tiny) as store:
        assert await kept(store, NEAR, MIDDLE, FAR) == [FAR]
        assert store.stats().bytes <= 3500


# The disk fails


def fail(store: SqliteStore, error: type[Exception] = StoreFull, sentence: str = "no") -> Callable[[], None]:
    """Let nothing be written from now on; returns what mends it."""
    write = store._database.write

    def refuse(batch: Batch) -> None:
        raise error(sentence)

    store._database.write = refuse  # type: ignore[method-assign]
    return lambda: setattr(store._database, "write", write)


@pytest.mark.scenario("H5")
async def test_a_full_disk_is_told_and_what_is_stored_is_served(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, record(NEAR))
        store._database._connection.execute("PRAGMA max_page_count = 30")
        stored: list[bytes] = []

        async def fill() -> None:
            while True:
                key = b"\2%d" % len(stored)
                await put(store, record(key, b"v" * 1000))
                stored.append(key)

        with pytest.raises(StoreFull, match="the disk is full"):
            await fill()
        assert stored
        before = store.stats()
        for key in (NEAR, FAR):
            with pytest.raises(StoreFull):
                await put(store, record(key, b"w" * 9000))
        assert await store.get(NEAR, now=2) == record(NEAR)
        assert store.stats() == before
    async with opened(tmp_path) as store:
        assert store.stats() == before
        assert await kept(store, NEAR, FAR, *stored) == [NEAR, *stored]


@pytest.mark.scenario("H5")
@pytest.mark.parametrize("error", [StoreFull, StoreFailed])
async def test_what_could_not_be_written_is_taken_back_with_all_that_was_built_on_it(
    tmp_path: Path, error: type[Exception]
) -> None:
    bounds = StoreBounds(max_records=2, max_provider_keys=1, max_providers_per_key=1, max_bytes=2**20)
    async with opened(tmp_path, bounds) as store:
        await put(store, record(MIDDLE), record(FAR))
        await store.add_provider(FAR, provider(b"one"))
        before = store.stats()
        mend = fail(store, error)

        async def refused(call: Callable[[], object]) -> None:
            with pytest.raises(error):
                await call()  # type: ignore[misc]

        async with trio.open_nursery() as nursery:
            for number in range(5):  # the second and later ones change what the first one put, while that is written
                nursery.start_soon(refused, lambda n=number: put(store, record(NEAR, b"%d" % n)))
            nursery.start_soon(refused, lambda: store.add_provider(NEAR, provider(b"two")))
            nursery.start_soon(refused, lambda: store.update(MIDDLE, always(None)))
            nursery.start_soon(refused, lambda: store.remove_provider(FAR, PeerId(b"one")))
        assert store.stats() == before
        assert await kept(store, NEAR, MIDDLE, FAR) == [MIDDLE, FAR]
        assert await names(store, FAR) == [b"one"]
        mend()
        await put(store, record(NEAR))
        assert await kept(store, NEAR, MIDDLE, FAR) == [NEAR, MIDDLE]


@pytest.mark.scenario("H5")
async def test_a_store_that_cannot_write_says_why_until_it_can(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, record(NEAR))
        assert store.trouble is None
        mend = fail(store)
        await store.expire(now=2)  # it has nothing to write, and notices all the same
        assert store.trouble == "no"
        mend()
        await store.expire(now=3)
        assert store.trouble is None


@pytest.mark.scenario("H5")
async def test_a_disk_is_full_until_there_is_room_however_little_fits_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = False
    monkeypatch.setattr(Database, "has_room", lambda database: room)

    async def refused(error: type[StoreError], sentence: str) -> None:
        mend = fail(store, error, sentence)
        with pytest.raises(error):
            await put(store, record(NEAR, b"v" * 1000))
        mend()

    async with opened(tmp_path) as store:
        await refused(StoreFull, "full")
        await put(store, record(FAR))
        assert store.trouble == "full"
        await refused(StoreFailed, "broken")
        assert store.trouble == "broken"
        await put(store, record(FAR))
        assert store.trouble == "full", "it was before, and still is"
        room = True
        await store.expire(now=2)
        assert store.trouble is None
        room = False
        await refused(StoreFailed, "broken")
        await put(store, record(NEAR))
        assert store.trouble is None, "what is wrong with a disk that breaks is over when it takes something"


@pytest.mark.scenario("H5")
async def test_those_who_have_not_begun_when_the_disk_fails_begin_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pkad.store.sqlite.MAX_WAITING", 2)
    async with opened(tmp_path) as store:
        fail(store)
        failures = 0

        async def refused() -> None:
            nonlocal failures
            with pytest.raises(StoreFull):
                await put(store, record(NEAR))
            failures += 1

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(refused)
        assert failures == 20


@pytest.mark.scenario("H5")
@pytest.mark.parametrize(
    ("error", "why"),
    [(MemoryError(), "cannot be written (MemoryError)"), (ZeroDivisionError(), "(ZeroDivisionError), which is a bug")],
)
async def test_whatever_else_goes_wrong_is_told_and_the_next_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    def fails(database: Database, batch: Batch) -> None:
        raise error

    async with opened(tmp_path) as store:
        with monkeypatch.context() as ill:
            ill.setattr(Database, "_write_all", fails)
            with trio.fail_after(5), pytest.raises(StoreFailed) as told:
                await put(store, record(NEAR))
        assert why in str(told.value)
        assert await kept(store, NEAR) == []
        await put(store, record(NEAR))
        assert await kept(store, NEAR) == [NEAR]


@pytest.mark.scenario("H5")
async def test_what_is_firm_is_written_when_the_disk_takes_it_again(tmp_path: Path) -> None:
    member = KeptPeer(peer=PeerInfo(PeerId(b"member")))
    async with opened(tmp_path) as store:
        await put(store, record(NEAR, own=True, due=10), record(FAR, expires=50), record(MIDDLE))
        mend = fail(store)
        assert await store.set_due("record", NEAR, 30)
        await store.save_peers([member])
        assert await store.expire(now=50) == 1
        with pytest.raises(StoreFull):
            await put(store, record(NEAR, b"other"))
        assert await store.next_due() == 30
        assert await store.get(FAR, now=2) is None
        mend()
        await put(store, record(MIDDLE, b"other"))
        store._database.close()  # as after kill -9: nothing is written at the end
        store._writer._database = store._database = Database.open(tmp_path / "store.db", owner="0", durability="normal")
    async with opened(tmp_path) as store:
        assert await store.next_due() == 30
        assert await store.saved_peers() == (member,)
        assert await kept(store, NEAR, FAR, MIDDLE) == [NEAR, MIDDLE]


async def test_what_no_column_can_hold_is_refused_and_harms_nobody_else(tmp_path: Path) -> None:
    impossible = StoredRecord(Record(FAR, b"", "\ud800"), 1, 99)
    async with opened(tmp_path) as store:
        with pytest.raises(StoreFailed):
            await put(store, impossible)
        await put(store, record(NEAR))
        assert await kept(store, NEAR, FAR) == [NEAR]


@pytest.mark.scenario("H5")
async def test_one_entry_that_no_column_can_hold_fails_for_itself_in_a_commit_that_many_share(tmp_path: Path) -> None:
    impossible = StoredRecord(Record(FAR, b"", "\ud800"), 1, 99)
    member = KeptPeer(peer=PeerInfo(PeerId(b"member")))
    told: list[str] = []

    async def call(name: str, work: Awaitable[object]) -> None:
        try:
            await work
        except StoreFailed:
            told.append(name)

    async with opened(tmp_path) as store:
        await put(store, record(FAR), record(MIDDLE))
        before = await store.get(FAR, now=2)
        async with trio.open_nursery() as nursery:
            with held(store):
                nursery.start_soon(call, "first", store.add_provider(FAR, provider(b"one")))
                await trio.testing.wait_all_tasks_blocked()
                for name, work in (
                    ("near", put(store, record(NEAR))),
                    ("far", put(store, impossible)),
                    ("provider", store.add_provider(NEAR, provider(b"two"))),
                    ("gone", store.update(MIDDLE, always(None))),
                    ("peers", store.save_peers([member])),
                ):
                    nursery.start_soon(call, name, work)
                    await trio.testing.wait_all_tasks_blocked()
        assert told == ["far"]
        assert await store.get(FAR, now=2) == before
    async with opened(tmp_path) as store:
        assert await store.get(FAR, now=2) == before
        assert await kept(store, NEAR, MIDDLE) == [NEAR]
        assert (await names(store, NEAR), await names(store, FAR)) == ([b"two"], [b"one"])
        assert await store.saved_peers() == (member,)


@pytest.mark.scenario("H5")
async def test_what_replaces_an_entry_that_was_left_out_stays(tmp_path: Path) -> None:
    impossible = StoredRecord(Record(FAR, b"", "\ud800"), 1, 99)
    async with opened(tmp_path) as store:

        async def fails() -> None:
            with pytest.raises(StoreFailed):
                await put(store, impossible)

        async with trio.open_nursery() as nursery:
            with held(store):
                nursery.start_soon(fails)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(put, store, record(FAR, b"better"))
                await trio.testing.wait_all_tasks_blocked()
        assert await store.get(FAR, now=2) == record(FAR, b"better")


@pytest.mark.scenario("H5")
async def test_of_an_entry_that_was_left_out_nothing_stays_but_the_time_that_was_set_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, replace(record(FAR), own=True, due=5.0))

        async def fails() -> None:
            with pytest.raises(StoreFailed):
                await put(store, StoredRecord(Record(FAR, b"", "\ud800"), 1, 99, own=True, due=7.0))

        async with trio.open_nursery() as nursery:
            with held(store):
                nursery.start_soon(put, store, record(NEAR))  # a commit is under way, the others share the next
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(store.set_due, "record", FAR, 6.0)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(fails)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(store.set_due, "record", FAR, 8.0)
                await trio.testing.wait_all_tasks_blocked()
        assert await store.get(FAR, now=2) == replace(record(FAR), own=True, due=6.0)
        await put(store, record(MIDDLE))
    async with opened(tmp_path) as store:
        assert await store.get(FAR, now=2) == replace(record(FAR), own=True, due=6.0)


# Sharing commits, waiting, closing


async def test_the_writer_outlives_a_value_of_a_type_that_sqlite_does_not_have(tmp_path: Path) -> None:
    odd = replace(record(NEAR), received=cast("float", Fraction(1)))  # of a clock of somebody's own
    async with opened(tmp_path) as store:
        with pytest.raises(StoreFailed), trio.fail_after(10):
            await put(store, odd)
        await put(store, record(FAR))
        assert await store.get(FAR, 0) == record(FAR)


@contextmanager
def held(store: SqliteStore) -> Iterator[list[Batch]]:
    """Nothing is written until the end of the block; yields the batches that were."""
    write, go, batches = store._database.write, threading.Event(), []

    def wait(batch: Batch) -> dict[Place, StoreError]:
        batches.append(batch)
        go.wait()
        return write(batch)

    store._database.write = wait  # type: ignore[method-assign]
    try:
        yield batches
    finally:
        go.set()


async def test_those_who_come_during_a_commit_share_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        async with trio.open_nursery() as nursery:
            with held(store) as batches:
                for number in range(50):
                    nursery.start_soon(put, store, record(b"%d" % number))
                await trio.testing.wait_all_tasks_blocked()
                assert store.stats().records == 50
        assert [len(batch.records) for batch in batches] == [1, 49]


async def test_no_more_wait_than_may_and_the_others_have_not_begun(tmp_path: Path) -> None:
    async with opened(tmp_path) as store, trio.open_nursery() as nursery:
        with held(store):
            for number in range(MAX_WAITING + 500):
                nursery.start_soon(put, store, record(b"%d" % number, b""))
            await trio.testing.wait_all_tasks_blocked()
            assert store.stats().records == MAX_WAITING + 1
    async with opened(tmp_path) as store:
        assert store.stats().records == MAX_WAITING + 500


@pytest.mark.scenario("H5")
async def test_nothing_is_told_before_it_is_written(tmp_path: Path) -> None:
    told = []

    async def tell(decide: Decide) -> None:
        await store.update(NEAR, decide)
        told.append(NEAR)

    async with opened(tmp_path) as store, trio.open_nursery() as nursery:
        with held(store):
            nursery.start_soon(tell, always(record(NEAR)))
            nursery.start_soon(tell, lambda stored: stored)  # changes nothing, and confirms what is not there yet
            await trio.testing.wait_all_tasks_blocked()
            assert told == []


async def test_a_caller_who_is_cancelled_breaks_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in range(200):
            with trio.move_on_after(0 if number % 2 else 0.0005):
                await put(store, record(NEAR, b"%d" % number))
        await put(store, record(NEAR, b"last"))
    async with opened(tmp_path) as store:
        assert await store.get(NEAR, now=2) == record(NEAR, b"last")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("p2pkad")]


@pytest.mark.scenario("H8")
async def test_closing_leaves_no_thread_no_lock_and_no_descriptor(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        with trio.CancelScope() as scope:
            async with opened(tmp_path) as store:
                await put(store, record(b"%d" % number))
                scope.cancel()
                await trio.lowlevel.checkpoint()
        await store.aclose()
        with pytest.raises(NodeClosed):
            await put(store, record(NEAR))
    assert threads() == []
    assert len(os.listdir("/proc/self/fd")) == before
    async with opened(tmp_path) as store:
        assert store.stats().records == 20


async def test_closing_writes_what_others_wait_for(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", 0, BOUNDS, space=SPACE)
    async with trio.open_nursery() as nursery:
        with held(store):
            for number in range(MAX_WAITING // 2):
                nursery.start_soon(put, store, record(b"%d" % number))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(store.aclose)
            await trio.testing.wait_all_tasks_blocked()
    async with opened(tmp_path) as store:
        assert store.stats().records == MAX_WAITING // 2


async def test_those_who_have_not_begun_when_it_closes_are_told_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", 0, BOUNDS, space=SPACE)
    closed = []

    async def try_to_put(number: int) -> None:
        try:
            await put(store, record(b"%d" % number))
        except NodeClosed:
            closed.append(number)

    async with trio.open_nursery() as nursery:
        with held(store):
            for number in range(MAX_WAITING + 11):
                nursery.start_soon(try_to_put, number)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(store.aclose)
            await trio.testing.wait_all_tasks_blocked()
    assert len(closed) == 10


async def test_decisions_run_on_the_thread_of_the_event_loop(tmp_path: Path) -> None:
    where = []

    def decide(stored: StoredRecord | None) -> StoredRecord:
        where.append(threading.get_ident())
        return record(NEAR)

    async with opened(tmp_path) as store:
        await store.update(NEAR, decide)
    assert where == [threading.get_ident()]


# A node's store


OWN = PeerId(b"\x12\x20" + bytes(32))


async def test_services_with_different_protocols_share_a_directory(tmp_path: Path) -> None:
    one, two = KademliaConfig(protocol="/a/kad/1.0.0"), KademliaConfig(protocol="/a-kad/1.0.0")
    async with open_store(tmp_path, OWN, one) as first, open_store(tmp_path, OWN, two) as second:
        await put(first, record(NEAR))
        assert await second.get(NEAR, now=2) is None
    async with open_store(tmp_path, OWN, one) as again:
        assert await again.get(NEAR, now=2) == record(NEAR)
    assert {name for name in os.listdir(tmp_path) if name.endswith(".db")} == {
        "a-kad-1.0.0-4d400678.db",
        "a-kad-1.0.0-775f33a9.db",
    }
    assert file_name("/ä") == "325e06d1"


async def test_it_shows_its_state_on_one_line(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, record(b"k", b"v"))
        shown = f"records=1 provider_keys=0 providers=0 bytes={store.stats().bytes}"
        assert repr(store) == f"<SqliteStore {tmp_path / 'store.db'} {shown}>"
    assert "closed" in repr(store)


async def hurried(store: SqliteStore, key: bytes) -> None:
    with suppress(StoreFailed):
        await put(store, record(key))


@pytest.mark.scenario("H5")
async def test_nobody_waits_for_a_disk_that_hangs_and_all_of_it_is_written_when_it_moves(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    store = SqliteStore(tmp_path / "store.db", 0, BOUNDS, space=SPACE)
    async with trio.open_nursery() as nursery:
        with held(store):
            for key in (NEAR, FAR):
                nursery.start_soon(hurried, store, key)
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(store.aclose)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(PATIENCE)
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks
        await store._ended.wait()
    store._writer.join(10)
    async with opened(tmp_path) as store:
        assert await kept(store, NEAR, FAR) == [NEAR, FAR]


@pytest.mark.scenario("H8")
def test_a_writer_whose_loop_is_over_gives_the_file_back_when_the_disk_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begun() -> tuple[SqliteStore, ExitStack]:
        store, hung = SqliteStore(tmp_path / "store.db", 0, BOUNDS, space=SPACE), ExitStack()
        hung.enter_context(held(store))
        await store.aclose()
        return store, hung

    async def again() -> None:
        async with opened(tmp_path) as store:
            await put(store, record(NEAR))

    with monkeypatch.context() as hasty:
        hasty.setattr("p2pkad.store.sqlite.PATIENCE", 0.01)
        store, hung = trio.run(begun)
    hung.close()
    store._writer.join(10)
    trio.run(again)


@pytest.mark.scenario("H5")
async def test_nobody_waits_longer_for_a_disk_than_it_takes_to_say_so(
    tmp_path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("p2pkad.store.sqlite.MAX_WAITING", 1)
    failed: list[bytes] = []
    in_use: list[bytes] = []
    late = b"late"

    async def fails(key: bytes) -> None:
        with pytest.raises(StoreFailed, match="has not answered for 30 s") as told:
            await put(store, record(key))
        failed.append(key)
        in_use.extend([key] if told.value.in_use else [])

    async with opened(tmp_path) as store:
        with held(store):
            async with trio.open_nursery() as nursery:
                for key in (NEAR, MIDDLE, FAR):  # one is being written, one waits, and one has not begun
                    nursery.start_soon(fails, key)
                    await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(store.expire, 2)
                await trio.testing.wait_all_tasks_blocked()
                assert failed == []
                mock_clock.jump(PATIENCE)
                await trio.testing.wait_all_tasks_blocked()
                assert sorted(failed) == [NEAR, MIDDLE, FAR]
                await fails(late)  # at once
                await trio.testing.wait_all_tasks_blocked()
                assert not nursery.child_tasks  # what can be written later goes on, too
        assert [log.reason for log in caplog.records if log.message == "the store cannot be written"] == [
            f"{tmp_path}/store.db: its disk has not answered for 30 s. What is stored is served"
        ]
        await store.expire(3)
        assert await kept(store, NEAR, MIDDLE, FAR, late) == [NEAR, MIDDLE] == sorted(in_use, key=[NEAR, MIDDLE].index)


@pytest.mark.scenario("H5")
async def test_a_sweep_can_be_cancelled_while_the_disk_hangs(
    tmp_path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pkad.store.sqlite.BATCH", 1)
    async with opened(tmp_path) as store, trio.open_nursery() as nursery:
        await put(store, record(NEAR, expires=50), record(MIDDLE, expires=50), record(FAR, expires=50))
        with held(store):
            nursery.start_soon(hurried, store, b"other")
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(PATIENCE)
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.expire(60)
            assert store.stats().records == 3  # of four: a batch is one here


@pytest.mark.scenario("H5")
async def test_a_store_without_a_thread_fails_and_goes_on_when_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(tmp_path) as store:
        with monkeypatch.context() as crowded, trio.fail_after(5):
            crowded.setattr("threading.Thread.start", refuse)
            for key in (NEAR, FAR):
                with pytest.raises(StoreFailed, match="can't start new thread"):
                    await put(store, record(key))
            assert "can't start new thread" in (store.trouble or "")
        await put(store, record(MIDDLE))
        assert await kept(store, NEAR, MIDDLE, FAR) == [MIDDLE]
        assert store.trouble is None
    with monkeypatch.context() as crowded:
        crowded.setattr("threading.Thread.start", refuse)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(SqliteStore(tmp_path / "store.db", 0, BOUNDS, space=SPACE).aclose)
    async with opened(tmp_path) as store:
        assert await kept(store, MIDDLE) == [MIDDLE]


@pytest.mark.scenario("H5")
async def test_a_disk_that_hangs_is_trouble_until_it_moves(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    async with opened(tmp_path) as store, trio.open_nursery() as nursery:
        with held(store):
            nursery.start_soon(hurried, store, NEAR)
            await trio.testing.wait_all_tasks_blocked()
            assert store.trouble is None
            mock_clock.jump(PATIENCE + 1)
            why = "its disk has not answered for 30 s. What is stored is served"
            assert store.trouble == f"{tmp_path}/store.db: {why}"
            await trio.testing.wait_all_tasks_blocked()  # who waits has been told: who comes now is not among them
            nursery.start_soon(store.expire, 2)
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks  # what can be written later waits for nothing
    assert store.trouble is None
