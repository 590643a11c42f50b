"""Own records that have to give way, where a whole node is slow to show it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.keyspace import SHA256
from p2pkad.core.records import NEVER, Record, StoredRecord
from p2pkad.errors import InvalidRecord, StaleRecord, StoreFailed
from p2pkad.events import NodeEvent, RepublishFailed
from p2pkad.node.clock import SYSTEM
from p2pkad.node.superseding import Superseding
from p2pkad.store.base import Decide
from p2pkad.store.memory import MemoryStore
from p2pkad.testing.stores import always
from tests.support.worlds import peer_id

pytestmark = pytest.mark.scenario("V4")

KEY = b"/v/key"
OWN = StoredRecord(Record(KEY, b"1"), received=0.0, expires=NEVER, own=True)
BETTER = StoredRecord(Record(KEY, b"2"), received=0.0, expires=NEVER)


class ForgetfulStore(MemoryStore):
    """What it has stored is gone before whoever brought it hears of that: something nearer came meanwhile, say."""

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        chosen = await super().update(key, decide)
        await super().update(key, always(None))
        return chosen


class FailingStore(MemoryStore):
    """Takes back what it has changed, and forgets the rest of it at the same time where it `ends`."""

    ends = False

    async def update(self, key: bytes, decide: Decide) -> StoredRecord | None:
        before = await self.get(key, SYSTEM.wall())
        await super().update(key, decide)
        await super().update(key, always(before))
        if before is not None and self.ends:
            await trio.sleep(max(0.0, before.expires - SYSTEM.wall()))
        raise StoreFailed("the disk is broken")


async def test_a_better_record_that_dies_on_its_way_changes_nothing() -> None:
    told: list[NodeEvent] = []
    store = MemoryStore(SHA256.key(peer_id(0)), KademliaConfig().store_bounds)
    await store.update(KEY, always(OWN))

    def dead() -> Decide:
        raise InvalidRecord(KEY, "it expired a second ago")

    await Superseding(store, SYSTEM, told.append).keep(KEY, dead)
    assert (await store.get(KEY, SYSTEM.wall()), told) == (OWN, [])


@pytest.mark.parametrize("ends", [False, True])
async def test_what_a_broken_disk_takes_back_was_not_superseded_also_where_it_ends_meanwhile(ends: bool) -> None:
    told: list[NodeEvent] = []
    store = FailingStore(SHA256.key(peer_id(0)), KademliaConfig().store_bounds)
    await MemoryStore.update(store, KEY, always(replace(OWN, expires=SYSTEM.wall() + 0.1 if ends else NEVER)))
    store.ends = ends
    with pytest.raises(StoreFailed):
        await Superseding(store, SYSTEM, told.append).keep(KEY, lambda: always(BETTER))
    assert told == []


async def test_it_is_superseded_also_where_the_better_one_is_gone_by_then() -> None:
    told: list[NodeEvent] = []
    store = ForgetfulStore(SHA256.key(peer_id(0)), KademliaConfig().store_bounds)
    await MemoryStore.update(store, KEY, always(OWN))
    await Superseding(store, SYSTEM, told.append).keep(KEY, lambda: always(BETTER))
    (event,) = told
    assert isinstance(event, RepublishFailed)
    assert (event.key, type(event.error)) == (KEY, StaleRecord)
