"""A store against a dictionary that is scanned from end to end for each answer. Names are one byte: their distance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2pkad.config import StoreBounds
from p2pkad.core.keyspace import KeySpace
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import NEVER, Record, StoredProvider, StoredRecord
from p2pkad.errors import StoreFull
from p2pkad.store.base import Kind, Store
from p2pkad.store.memory import MemoryStore
from p2pkad.store.sqlite import SqliteStore
from tests.support.generated import examples

names = st.integers(0, 12).map(lambda number: bytes([number]))
peers = st.integers(0, 6).map(lambda number: PeerId([number]))
times = st.integers(0, 100)
bounds = st.integers(1, 5)
dues = st.integers(0, 200) | st.just(NEVER)
OWN = PeerId([0])
SPACE = KeySpace(8, key=lambda name: name[0])


@dataclass
class Oracle:
    """What the store should hold. Each kind is {key: {peer: entry}}; a record has no peer."""

    max_keys: int
    max_entries: int
    kept: dict[bytes, dict[PeerId, StoredRecord | StoredProvider]] = field(default_factory=dict)

    def see(self, now: float) -> int:
        """Bury what is dead at `now`: it never comes back."""
        dead = [(key, peer) for key, entries in self.kept.items() for peer, each in entries.items() if each.expires <= now]
        for key, peer in dead:
            self.remove(key, peer)
        return len(dead)

    def remove(self, key: bytes, peer: PeerId) -> None:
        del self.kept[key][peer]
        if not self.kept[key]:
            del self.kept[key]

    def put(self, key: bytes, peer: PeerId, entry: StoredRecord | StoredProvider) -> None:
        self.see(entry.received)
        entries = self.kept.get(key, {})
        surplus = None
        if peer not in entries and len(entries) == self.max_entries:
            loose = [each for each in entries if not entries[each].own]
            if not loose:
                raise StoreFull
            surplus = min(loose, key=lambda each: entries[each].expires)
        if key not in self.kept and len(self.kept) == self.max_keys:
            farthest = max((each for each in self.kept if not self.own(each)), default=None)
            if farthest is None or (farthest < key and not entry.own):
                raise StoreFull
            del self.kept[farthest]
        if surplus is not None:
            self.remove(key, surplus)
        self.kept.setdefault(key, {})[peer] = entry

    def own(self, key: bytes) -> bool:
        return any(each.own for each in self.kept[key].values())


NOBODY = PeerId()


class StoreMachine(RuleBasedStateMachine):
    def make_store(self) -> Store:
        return MemoryStore(0, self.bounds, space=SPACE)

    @initialize(max_records=bounds, max_keys=bounds, max_providers=bounds)
    def open(self, max_records: int, max_keys: int, max_providers: int) -> None:
        self.bounds = StoreBounds(
            max_records=max_records, max_provider_keys=max_keys, max_providers_per_key=max_providers, max_bytes=2**30
        )
        self.store = self.make_store()
        self.records = Oracle(max_records, max_entries=1)
        self.providers = Oracle(max_keys, max_providers)

    def see(self, now: float) -> int:
        return self.records.see(now) + self.providers.see(now)

    def both(self, oracle: Callable[[], None], store: Callable[[], Awaitable[object]]) -> None:
        try:
            oracle()
        except StoreFull:
            with pytest.raises(StoreFull):
                trio.run(store)
        else:
            trio.run(store)

    @rule(key=names, value=st.binary(max_size=2), now=times, lifetime=st.integers(1, 50), own=st.booleans(), due=dues)
    def put_record(self, key: bytes, value: bytes, now: int, lifetime: int, own: bool, due: float) -> None:
        stored = StoredRecord(Record(key, value), now, now + lifetime, own, due)
        self.see(now)
        self.both(lambda: self.records.put(key, NOBODY, stored), lambda: self.store.update(key, lambda _: stored))

    @rule(key=names)
    def remove_record(self, key: bytes) -> None:
        trio.run(self.store.update, key, lambda _: None)
        self.records.kept.pop(key, None)

    @rule(key=names, now=times)
    def get_record(self, key: bytes, now: int) -> None:
        self.see(now)
        assert trio.run(self.store.get, key, now) == self.records.kept.get(key, {}).get(NOBODY)

    @rule(key=names, peer=peers, now=times, lifetime=st.integers(1, 50), due=dues)
    def add_provider(self, key: bytes, peer: PeerId, now: int, lifetime: int, due: float) -> None:
        stored = StoredProvider(PeerInfo(peer), now, now + lifetime, own=peer == OWN, due=due)
        self.see(now)
        self.both(lambda: self.providers.put(key, peer, stored), lambda: self.store.add_provider(key, stored))

    @rule(key=names, peer=peers, now=times)
    def remove_provider(self, key: bytes, peer: PeerId, now: int) -> None:
        trio.run(self.store.expire, now)
        self.see(now)
        there = peer in self.providers.kept.get(key, {})
        assert trio.run(self.store.remove_provider, key, peer) == there
        if there:
            self.providers.remove(key, peer)

    @rule(key=names, now=times)
    def get_providers(self, key: bytes, now: int) -> None:
        self.see(now)
        told = trio.run(self.store.providers, key, now)
        assert {each.provider.id: each for each in told} == self.providers.kept.get(key, {})

    def agenda(self) -> list[tuple[float, str, bytes]]:
        kept: list[tuple[Kind, Oracle]] = [("record", self.records), ("provider", self.providers)]
        entries = ((kind, key, each) for kind, oracle in kept for key, under in oracle.kept.items() for each in under.values())
        return sorted((each.due, kind, key) for kind, key, each in entries if each.own and each.due < NEVER)

    @rule(now=times, more=times, limit=st.integers(1, 4))
    def due(self, now: int, more: int, limit: int) -> None:
        horizon = now + more
        self.expire(now)
        told = [(each.at, each.kind, each.key) for each in trio.run(self.store.due, now, horizon, limit)]
        agenda = self.agenda()
        ready = [entry for entry in agenda if entry[0] <= now]
        assert told == (ready + [entry for entry in agenda if entry[0] > horizon])[:limit]
        assert trio.run(self.store.next_due) == min((at for at, _, _ in agenda), default=NEVER)

    @rule(kind=st.sampled_from(["record", "provider"]), key=names, now=times, at=dues)
    def set_due(self, kind: Kind, key: bytes, now: int, at: float) -> None:
        self.expire(now)
        oracle, peer = (self.records, NOBODY) if kind == "record" else (self.providers, OWN)
        before = oracle.kept.get(key, {}).get(peer)
        own = before is not None and before.own
        assert trio.run(self.store.set_due, kind, key, at) == own
        if before is not None and own:
            oracle.kept[key][peer] = replace(before, due=at)

    @rule(now=times)
    def expire(self, now: int) -> None:
        trio.run(self.store.expire, now)
        self.see(now)
        stats = self.store.stats()
        assert stats.records == len(self.records.kept)
        assert stats.provider_keys == len(self.providers.kept)
        assert stats.providers == sum(map(len, self.providers.kept.values()))
        assert stats.own == sum(oracle.own(key) for oracle in (self.records, self.providers) for key in oracle.kept)
        assert stats.provided == sum(map(self.providers.own, self.providers.kept))
        assert (stats.bytes == 0) == (not self.records.kept and not self.providers.kept)

    @invariant()
    def within_its_bounds(self) -> None:
        stats = self.store.stats()
        assert stats.records <= self.records.max_keys
        assert stats.provider_keys <= self.providers.max_keys


class OnDisk(StoreMachine):
    """What was stored is there again after each restart, and what was dead before it is dead."""

    def make_store(self) -> Store:
        if not hasattr(self, "directory"):
            self.directory = TemporaryDirectory()
        return SqliteStore(Path(self.directory.name, "store.db"), 0, self.bounds, space=SPACE)

    @rule()
    def restart(self) -> None:
        before = self.store.stats()
        trio.run(self.store.aclose)
        self.store = self.make_store()
        assert self.store.stats() == before

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            trio.run(self.store.aclose)
            self.directory.cleanup()


StoreMachine.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40)
OnDisk.TestCase.settings = settings(max_examples=examples(15), stateful_step_count=40)
test_the_store_does_what_a_dictionary_would = pytest.mark.scenario("V8", "V15")(StoreMachine.TestCase)
test_so_does_the_one_in_a_file_also_across_restarts = pytest.mark.scenario("V8", "V15", "P4", "V12")(OnDisk.TestCase)
