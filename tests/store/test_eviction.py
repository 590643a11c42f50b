"""Who leaves a full store. Keys are one byte, and the distance is what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.errors import StoreFull
from p2pkad.store.eviction import Ranking, Shelves

members = st.binary(max_size=1)


@given(st.lists(st.tuples(members, st.none() | st.integers(-9, 9))))
def test_a_ranking_knows_the_least_of_all_that_is_in_it(changes: list[tuple[bytes, int | None]]) -> None:
    ranking: Ranking[bytes] = Ranking()
    ranks: dict[bytes, int] = {}
    for member, rank in changes:
        if rank is None:
            ranking.discard(member)
            ranks.pop(member, None)
        else:
            ranking.set(member, rank)
            ranks[member] = rank
        assert ranking.first() == min(((rank, member) for member, rank in ranks.items()), default=None)
        assert (member in ranking) == (member in ranks)


def test_a_ranking_does_not_grow_with_the_changes_of_one_member() -> None:
    ranking: Ranking[bytes] = Ranking()
    for number in range(10_000):
        ranking.set(b"member", number)
    assert len(ranking._heap) < 100
    assert ranking.first() == (9999, b"member")


def shelves(*limits: int, max_bytes: int = 100) -> Shelves:
    return Shelves(*limits, distance=lambda key: key[0], max_bytes=max_bytes)


def test_nobody_leaves_as_long_as_there_is_room() -> None:
    store = shelves(2, max_bytes=20)
    (shelf,) = store.all
    store.put(shelf, b"1", 10, own=False)
    assert store.make_room(shelf, b"2", 10, own=False) == ()
    assert store.make_room(shelf, b"1", 20, own=False) == ()


def test_the_farthest_leave_until_there_is_room_for_the_bytes() -> None:
    store = shelves(9, max_bytes=30)
    (shelf,) = store.all
    for key in (b"2", b"4", b"3"):
        store.put(shelf, key, 10, own=False)
    assert store.make_room(shelf, b"1", 15, own=False) == [(shelf, b"4"), (shelf, b"3")]


def test_a_refusal_changes_nothing_of_who_leaves_next() -> None:
    store = shelves(9, 9, max_bytes=30)
    records, providers = store.all
    store.put(records, b"2", 10, own=False)
    store.put(providers, b"4", 10, own=False)
    store.put(records, b"5", 10, own=False)
    for own_or_nearer in (b"5", b"3"):
        with pytest.raises(StoreFull):
            store.make_room(records, own_or_nearer, 31, own=False)
    with pytest.raises(StoreFull):
        store.make_room(records, b"3", 25, own=False)
    assert store.make_room(records, b"1", 30, own=False) == [(records, b"5"), (providers, b"4"), (records, b"2")]


def test_a_key_never_leaves_for_itself() -> None:
    store = shelves(9, max_bytes=30)
    (shelf,) = store.all
    store.put(shelf, b"2", 10, own=False)
    store.put(shelf, b"9", 10, own=False)
    assert store.make_room(shelf, b"9", 30, own=True) == [(shelf, b"2")]
    with pytest.raises(StoreFull):
        store.make_room(shelf, b"9", 30, own=False)


def test_what_is_dropped_weighs_nothing() -> None:
    store = shelves(9, 9)
    for shelf in store.all:
        store.put(shelf, b"1", 10, own=False)
        store.put(shelf, b"1", 15, own=True)
    assert store.weight == 30
    store.all[0].drop(b"1")
    assert store.weight == 15
