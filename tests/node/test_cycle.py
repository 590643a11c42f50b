"""When own entries are due: a store, and clocks that the test moves."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from p2pkad.config import KademliaConfig
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.records import NEVER, Record, StoredProvider, StoredRecord
from p2pkad.node.clock import Clock
from p2pkad.node.cycle import LOOK_AGAIN, PACE, RETRY, SPREAD, Cycle
from p2pkad.store.base import Due
from p2pkad.store.memory import MemoryStore
from p2pkad.wire.addresses import parse_address

HOUR = 3600.0
BEGIN = 1_700_000_000.0


class Bench:
    """A cycle with everything that it needs. monotonic, wall: its clocks. woken: how often it found something sooner."""

    def __init__(self, **options: Any) -> None:
        self.monotonic, self.wall, self.woken = 0.0, BEGIN, 0
        self.store = MemoryStore(0, KademliaConfig().store_bounds)
        self.config = KademliaConfig(**options)
        self.cycle = self.another_life()

    def another_life(self) -> Cycle:
        clock = Clock(monotonic=lambda: self.monotonic, wall=lambda: self.wall)
        self.cycle = Cycle(self.store, self.config, clock, Random(1), self.wake)
        return self.cycle

    def wake(self) -> None:
        self.woken += 1

    def passes(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    async def put(self, key: bytes) -> None:
        stored = StoredRecord(Record(key, b""), self.wall, BEGIN * 2, own=True, due=self.cycle.first("record"))
        await self.store.update(key, lambda _: stored)
        self.cycle.stored("record")


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_was_published_is_due_within_the_last_quarter_of_its_interval(bench: Bench) -> None:
    dues = set()
    for number in range(100):
        key = b"%d" % number
        await bench.put(key)
        await bench.cycle.published("record", key)
        stored = await bench.store.get(key, bench.wall)
        assert stored is not None
        dues.add((stored.due - BEGIN) / bench.config.republish_interval)
    assert 1 - SPREAD <= min(dues) < 0.8
    assert 0.95 < max(dues) <= 1
    assert len(dues) == 100


async def test_what_was_not_published_is_due_again_soon(bench: Bench) -> None:
    await bench.put(b"k")
    assert await bench.cycle.take() is None
    bench.passes(RETRY)
    assert await bench.cycle.take() == Due("record", b"k", BEGIN + RETRY)
    assert await bench.cycle.take() is None, "it is taken"
    bench.passes(RETRY)
    assert await bench.cycle.take() is not None


async def test_a_short_interval_is_retried_sooner() -> None:
    bench = Bench(republish_interval=100.0)
    await bench.put(b"k")
    bench.passes(25)
    assert await bench.cycle.take() is not None


@pytest.mark.scenario("V12", "P4")
async def test_another_life_goes_on_where_this_one_ended(bench: Bench) -> None:
    await bench.put(b"k")
    await bench.cycle.published("record", b"k")
    bench.passes(10 * HOUR)
    cycle = bench.another_life()
    assert cycle.look_at == bench.monotonic, "the store may hold anything"
    assert await cycle.take() is None
    await cycle.look()
    assert cycle.look_at == bench.monotonic + LOOK_AGAIN
    bench.passes(12 * HOUR)
    assert await cycle.take() is not None


@pytest.mark.scenario("V8")
@pytest.mark.parametrize("back", [HOUR, 400 * 24 * HOUR])
async def test_a_clock_that_is_set_back_delays_nothing_by_more_than_an_interval(bench: Bench, back: float) -> None:
    await bench.put(b"k")
    await bench.cycle.published("record", b"k")
    bench.wall -= back
    taken = []
    for _ in range(24):
        bench.passes(HOUR)
        taken.append(await bench.cycle.take())
    assert any(taken)


async def test_an_interval_that_was_made_shorter_holds_at_once() -> None:
    bench = Bench()
    await bench.put(b"k")
    await bench.cycle.published("record", b"k")
    bench.config = KademliaConfig(republish_interval=HOUR, reprovide_interval=HOUR)
    assert await bench.another_life().take() is not None


async def test_with_nothing_published_there_is_nothing_to_look_at(bench: Bench) -> None:
    await bench.cycle.look()
    assert bench.cycle.look_at == float("inf")


async def test_a_new_entry_wakes_who_waits_for_a_later_one(bench: Bench) -> None:
    await bench.cycle.look()
    await bench.put(b"k")
    assert (bench.woken, bench.cycle.look_at) == (1, RETRY)
    await bench.cycle.published("record", b"k")
    assert bench.woken == 1


async def test_what_is_published_no_more_is_not_booked(bench: Bench) -> None:
    await bench.cycle.look()
    await bench.cycle.published("record", b"k")
    assert bench.cycle.look_at == float("inf")


@pytest.mark.long
@pytest.mark.scenario("P4")
@pytest.mark.parametrize(("keys", "seconds"), [(1, PACE), (10_000, PACE), (100_000 // 2, 22 * HOUR * SPREAD / 50_000)])
async def test_a_backlog_takes_a_quarter_of_the_interval_at_most(keys: int, seconds: float) -> None:
    bench = Bench()
    own = PeerInfo(PeerId(b"own"))
    for number in range(keys):
        await bench.store.add_provider(b"%d" % number, StoredProvider(own, BEGIN, BEGIN * 2, own=True, due=BEGIN))
    assert bench.cycle.spacing() == pytest.approx(seconds)


HERE, THERE = parse_address("/ip4/192.0.2.1/tcp/1"), parse_address("/ip4/192.0.2.2/tcp/1")


async def provide(bench: Bench, key: bytes, *addresses: Address, due: float = 20 * HOUR) -> None:
    own = PeerInfo(PeerId(b"own"), addresses)
    await bench.store.add_provider(key, StoredProvider(own, BEGIN, NEVER, own=True, due=BEGIN + due))


async def dues(bench: Bench) -> dict[bytes, float]:
    return {each.key: each.at - BEGIN for each in await bench.store.due(NEVER, NEVER, 10)}


@pytest.mark.scenario("P9")
async def test_only_what_was_announced_without_an_address_of_now_becomes_due(bench: Bench) -> None:
    await bench.cycle.look()
    await bench.put(b"record")
    await bench.cycle.published("record", b"record")
    before = (await dues(bench))[b"record"]
    await provide(bench, b"there", THERE)
    await provide(bench, b"both", HERE, THERE)
    await provide(bench, b"soon", THERE, due=RETRY)
    assert await bench.cycle.moved((HERE,))
    assert await dues(bench) == {b"there": 0.0, b"both": 20 * HOUR, b"soon": RETRY, b"record": before}
    assert bench.cycle.look_at == bench.monotonic


@pytest.mark.scenario("P9")
async def test_where_everything_was_announced_nothing_becomes_due(bench: Bench) -> None:
    await provide(bench, b"k", HERE, THERE)
    assert not await bench.cycle.moved((HERE, THERE))
    assert not await bench.cycle.moved((THERE,)), "an address less"
    assert not await bench.cycle.moved(()), "it has none to tell"
    assert await dues(bench) == {b"k": 20 * HOUR}
