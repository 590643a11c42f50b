"""The routing table in an 8-bit space, where a peer's key is the first byte of its id and one can see who is near.

The own key is 0b0000_0000 unless a test says otherwise: a peer's bucket is the number of its leading zeros.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.keyspace import SHA256, KeySpace, distance
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.core.routing_table import (
    MAX_REFRESH_PREFIX,
    Added,
    Admission,
    Bucket,
    Cached,
    Entry,
    Known,
    Refusal,
    Refused,
    Removed,
    RoutingTable,
    name_in_bucket,
)

TINY = KeySpace(8, key=lambda name: name[0])
ALL = range(256)
MANY = 1000


def tiny_table(
    own: int = 0, size: int = MANY, cache: int | None = MANY, groups: int = MANY, in_bucket: int = MANY
) -> RoutingTable:
    return RoutingTable(
        peer(own),
        bucket_size=size,
        replacement_size=cache,
        max_per_group=groups,
        max_per_group_and_bucket=in_bucket,
        space=TINY,
    )


def peer(key: int) -> PeerId:
    return PeerId([key])


def at(*groups: str, scope: Scope = Scope.PUBLIC) -> tuple[Address, ...]:
    """Addresses in these groups; no two are the same."""
    return tuple(Address(f"{group}.{next(_serial)}".encode(), group, scope, group) for group in groups)


_serial = count()


def info(key: int, *groups: str) -> PeerInfo:
    return PeerInfo(peer(key), at(*groups))


def fill(table: RoutingTable, *keys: int) -> None:
    for key in keys:
        assert isinstance(table.add(info(key), now=0), Added)


def members(table: RoutingTable) -> list[int]:
    return [each[0] for each in table]


# Buckets


@pytest.mark.scenario("L16")
@pytest.mark.parametrize("own", [0b0000_0000, 0b1111_1111, 0b1010_0110])
def test_buckets_partition_the_space(own: int) -> None:
    table = tiny_table(own)
    fill(table, *(key for key in ALL if key != own))
    held = [[entry.key for entry in bucket.entries] for bucket in table.buckets()]
    assert [bucket.prefix for bucket in table.buckets()] == list(range(8))
    assert [len(keys) for keys in held] == [128, 64, 32, 16, 8, 4, 2, 1]
    assert sorted(key for keys in held for key in keys) == [key for key in ALL if key != own]
    assert all(TINY.common_prefix(own, key) == prefix for prefix, keys in enumerate(held) for key in keys)


def test_a_peer_belongs_to_a_bucket_whether_it_is_in_it_or_not() -> None:
    table = tiny_table(own=0b0000_0000)
    assert [table.bucket_of(peer(key)) for key in (0b1000_0000, 0b0100_0000, 0b0000_0001)] == [0, 1, 7]
    assert table.bucket_of(peer(0b0000_0000)) == 8


@pytest.mark.scenario("L17")
def test_the_own_id_is_never_taken_in() -> None:
    table = tiny_table(own=0b0110_0000)
    assert table.add(info(0b0110_0000), now=0) == Refused(Refusal.OWN_KEY)
    assert len(table) == 0
    assert table.closest(0b0110_0000, 20) == []


def test_of_two_peers_with_one_key_the_first_stays() -> None:
    table = tiny_table()
    fill(table, 0b1000_0000)
    twin = PeerId([0b1000_0000, 1])
    assert table.add(PeerInfo(twin), now=1) == Refused(Refusal.KEY_TAKEN)
    assert twin not in table
    assert table.remove(twin) is None
    assert members(table) == [0b1000_0000]


def test_peers_are_listed_by_bucket_and_then_by_their_time_in_the_table() -> None:
    table = tiny_table()
    fill(table, 0b0000_0001, 0b1000_0001, 0b1000_0000, 0b0100_0000)
    table.add(info(0b1000_0001), now=5)
    assert members(table) == [0b1000_0001, 0b1000_0000, 0b0100_0000, 0b0000_0001]


def test_an_entry_tells_since_when_and_when_last() -> None:
    table = tiny_table()
    table.add(info(0b1000_0000, "9.9"), now=3)
    assert table.add(info(0b1000_0000), now=8) == Known()
    entry = Entry(peer(0b1000_0000), 0b1000_0000, ("9.9",), added=3, seen=8)
    assert table.buckets() == (Bucket(0, (entry,), ()),)


def test_its_repr_is_its_state() -> None:
    table = tiny_table(size=1)
    fill(table, 0b1000_0000, 0b0100_0000)
    table.add(info(0b1000_0001), now=0)
    assert repr(table) == "<RoutingTable peers=2 buckets=2 cached=1>"


# Full buckets


@pytest.mark.scenario("L8")
def test_a_full_bucket_keeps_its_long_lived_peers() -> None:
    table = tiny_table(size=2)
    fill(table, 0b1000_0000, 0b1000_0001)
    assert table.add(info(0b1000_0010), now=9) == Cached(bucket=0)
    assert members(table) == [0b1000_0000, 0b1000_0001]
    assert table.add(info(0b0100_0000), now=9) == Added(bucket=1)


@pytest.mark.scenario("L8")
def test_a_failed_peer_is_replaced_by_the_most_recently_seen() -> None:
    table = tiny_table(size=1)
    early, late = 0b1000_0001, 0b1000_0010
    fill(table, 0b1000_0000)
    table.add(info(late), now=1)
    table.add(info(early), now=2)
    table.add(info(late), now=3)
    assert table.remove(peer(0b1000_0000)) == Removed(peer(0b1000_0000), bucket=0, added=0, replacement=peer(late))


@pytest.mark.scenario("L8", "L6")
def test_a_replacement_is_in_the_table_only_once_it_was_added_again() -> None:
    table = tiny_table(size=1)
    fill(table, 0b1000_0000)
    table.add(info(0b1000_0001), now=1)
    table.remove(peer(0b1000_0000))
    assert members(table) == []
    assert table.add(info(0b1000_0001), now=2) == Added(bucket=0)


@pytest.mark.scenario("L8")
def test_when_a_replacement_does_not_answer_the_next_one_is_tried() -> None:
    table = tiny_table(size=1)
    fill(table, 0b1000_0000)
    for now, key in enumerate((0b1000_0001, 0b1000_0010, 0b1000_0011)):
        table.add(info(key), now)
    removed = table.remove(peer(0b1000_0000))
    assert removed is not None
    assert removed.replacement == peer(0b1000_0011)
    assert [table.replacement(0) for _ in range(3)] == [peer(0b1000_0010), peer(0b1000_0001), None]


def test_there_is_no_replacement_for_a_full_bucket_nor_for_one_nobody_was_ever_in() -> None:
    table = tiny_table(size=1)
    fill(table, 0b1000_0000)
    table.add(info(0b1000_0001), now=1)
    assert table.replacement(0) is None
    assert table.replacement(5) is None
    assert table.buckets()[0].replacements == (peer(0b1000_0001),)


def test_a_cache_forgets_whom_it_saw_longest_ago() -> None:
    table = tiny_table(size=1, cache=2)
    fill(table, 0b1000_0000)
    for now, key in enumerate((0b1000_0001, 0b1000_0010, 0b1000_0001, 0b1000_0011)):
        table.add(info(key), now)
    assert table.buckets()[0].replacements == (peer(0b1000_0011), peer(0b1000_0001))


def test_a_cache_holds_as_many_as_a_bucket_unless_told_otherwise() -> None:
    table = tiny_table(size=2, cache=None)
    for key in range(0b1000_0000, 0b1000_1000):
        table.add(info(key), now=0)
    assert table.buckets()[0].replacements == (peer(0b1000_0111), peer(0b1000_0110))


def test_who_failed_while_it_waited_is_no_replacement_any_more() -> None:
    table = tiny_table(size=1)
    fill(table, 0b1000_0000)
    table.add(info(0b1000_0001), now=1)
    assert table.remove(peer(0b1000_0001)) is None
    assert table.remove(peer(0b1000_0000)) == Removed(peer(0b1000_0000), bucket=0, added=0, replacement=None)


def test_strangers_can_be_removed_without_effect() -> None:
    table = tiny_table()
    fill(table, 0b1000_0000)
    for stranger in (0b1000_0001, 0b0000_0001, 0b0000_0000):
        assert table.remove(peer(stranger)) is None
    assert members(table) == [0b1000_0000]


# Diversity


@pytest.mark.scenario("L7")
def test_at_most_so_many_peers_of_a_group_enter_the_table() -> None:
    table = tiny_table(groups=2)
    assert table.add(info(0b1000_0000, "9.9"), now=0) == Added(0)
    assert table.add(info(0b0100_0000, "9.9"), now=0) == Added(1)
    assert table.add(info(0b0010_0000, "9.9"), now=0) == Refused(Refusal.GROUP)
    assert table.add(info(0b0010_0000, "8.8"), now=0) == Added(2)


@pytest.mark.scenario("L7")
def test_at_most_so_many_peers_of_a_group_enter_a_bucket() -> None:
    table = tiny_table(in_bucket=1)
    assert table.add(info(0b1000_0000, "9.9"), now=0) == Added(0)
    assert table.add(info(0b1000_0001, "9.9"), now=0) == Refused(Refusal.GROUP_IN_BUCKET)
    assert table.add(info(0b0100_0000, "9.9"), now=0) == Added(1)


@pytest.mark.scenario("L7")
@pytest.mark.parametrize("scope", [Scope.LOOPBACK, Scope.PRIVATE])
def test_only_public_addresses_count(scope: Scope) -> None:
    table = tiny_table(groups=1)
    for key in (0b1000_0000, 0b1000_0001, 0b1000_0010):
        assert table.add(PeerInfo(peer(key), at("10.0", scope=scope)), now=0) == Added(0)


def test_an_address_without_an_ip_is_in_no_group() -> None:
    name = Address(b"dns", "/dns4/example/tcp/1", Scope.PUBLIC)
    table = tiny_table(groups=1)
    for key in (0b1000_0000, 0b1000_0001):
        assert table.add(PeerInfo(peer(key), (name,)), now=0) == Added(0)


def test_a_peer_with_several_groups_counts_once_for_each() -> None:
    table = tiny_table(groups=2)
    table.add(info(0b1000_0000, "9.9", "8.8", "9.9"), now=0)
    assert table.add(info(0b0100_0000, "9.9"), now=0) == Added(1)
    assert table.add(info(0b0010_0000, "8.8", "9.9"), now=0) == Refused(Refusal.GROUP)
    assert table.add(info(0b0010_0000, "8.8"), now=0) == Added(2)


def test_a_peer_that_leaves_makes_room_for_its_group() -> None:
    table = tiny_table(groups=1)
    table.add(info(0b1000_0000, "9.9", "8.8"), now=0)
    table.remove(peer(0b1000_0000))
    assert table.add(info(0b0100_0000, "9.9"), now=0) == Added(1)
    assert table.add(info(0b0010_0000, "8.8"), now=0) == Added(2)


def test_a_peer_that_moves_is_counted_where_it_is() -> None:
    table = tiny_table(groups=1)
    table.add(info(0b1000_0000, "9.9"), now=0)
    assert table.add(info(0b1000_0000, "8.8"), now=1) == Known()
    assert table.add(info(0b0100_0000, "9.9"), now=2) == Added(1)
    assert table.add(info(0b0010_0000, "8.8"), now=2) == Refused(Refusal.GROUP)


def test_a_peer_heard_of_without_addresses_is_counted_as_before() -> None:
    table = tiny_table(groups=1)
    table.add(info(0b1000_0000, "9.9"), now=0)
    assert table.add(info(0b1000_0000), now=1) == Known()
    assert table.add(info(0b0100_0000, "9.9"), now=2) == Refused(Refusal.GROUP)


@pytest.mark.scenario("L7")
def test_a_peer_cannot_enter_elsewhere_and_move_into_a_full_group() -> None:
    table = tiny_table(groups=1, size=1)
    table.add(info(0b1000_0000, "9.9"), now=0)
    table.add(info(0b0100_0000, "8.8"), now=0)
    table.add(info(0b0100_0001, "7.7"), now=0)
    assert table.add(info(0b0100_0000, "9.9"), now=1) == Removed(peer(0b0100_0000), 1, added=0, replacement=peer(0b0100_0001))
    assert members(table) == [0b1000_0000]
    assert table.add(info(0b0100_0000, "8.8"), now=2) == Added(1)


@pytest.mark.scenario("L7", "L8")
def test_a_replacement_that_the_limits_forbid_is_passed_over() -> None:
    table = tiny_table(groups=1, size=1)
    table.add(info(0b1000_0000), now=0)
    table.add(info(0b1000_0001), now=1)
    table.add(info(0b1000_0010, "9.9"), now=2)
    table.add(info(0b0100_0000, "9.9"), now=3)
    assert table.remove(peer(0b1000_0000)) == Removed(peer(0b1000_0000), 0, added=0, replacement=peer(0b1000_0001))


# The nearest


def nearest(keys: list[int], target: int, n: int) -> list[int]:
    """A full scan."""
    return sorted(keys, key=lambda key: distance(key, target))[: max(0, n)]


def test_the_closest_are_nearest_first() -> None:
    table = tiny_table()
    fill(table, 0b1000_0000, 0b0100_0000, 0b0110_0000, 0b0000_0001)
    assert [each[0] for each in table.closest(0b0110_0001, 3)] == [0b0110_0000, 0b0100_0000, 0b0000_0001]
    assert len(table.closest(0b0110_0001, 20)) == 4
    assert table.closest(0b0110_0001, 0) == []


@given(st.sets(st.sampled_from(ALL[1:])), st.integers(-1, 25))
def test_for_every_target_the_closest_are_those_of_a_full_scan(keys: set[int], n: int) -> None:
    table = tiny_table()
    fill(table, *sorted(keys))
    for target in ALL:
        assert [each[0] for each in table.closest(target, n)] == nearest(members(table), target, n)


@pytest.mark.parametrize("crowd", [0, 2**200, 2**256 - 2**12])
def test_however_unevenly_keys_are_spread_the_closest_are_those_of_a_full_scan(crowd: int) -> None:
    dice = random.Random(16)
    keys = {dice.getrandbits(256) for _ in range(50)} | {crowd + number for number in range(1, 500)}
    wide = KeySpace(256, key=lambda name: int.from_bytes(name, "big"))
    table = RoutingTable(PeerId(b""), bucket_size=MANY, max_per_group=1, max_per_group_and_bucket=1, space=wide)
    for key in keys:
        table.add(PeerInfo(PeerId(key.to_bytes(32, "big"))), now=0)
    for target in [crowd, crowd + 250, crowd + 2**100, *(dice.getrandbits(256) for _ in range(50))]:
        assert [wide.key(each) for each in table.closest(target, 20)] == nearest(list(keys), target, 20)


class Counted(int):
    """A key that counts how often its distance is taken."""

    taken = 0

    def __xor__(self, other: int) -> int:
        Counted.taken += 1
        return int(self) ^ other


def test_the_closest_are_found_without_looking_at_all() -> None:
    dice = random.Random(2000)
    table = RoutingTable(PeerId(b"own"), bucket_size=MANY, max_per_group=1, max_per_group_and_bucket=1)
    for _ in range(2000):
        table.add(PeerInfo(PeerId(dice.randbytes(32))), now=0)
    Counted.taken = 0
    searches = 100
    for _ in range(searches):
        assert len(table.closest(Counted(dice.getrandbits(256)), 20)) == 20
    assert Counted.taken / searches < 2000 / 20


# Refresh


def test_a_refresh_looks_into_each_bucket_down_to_the_deepest_with_a_peer() -> None:
    table = tiny_table()
    assert list(table.refresh_prefixes()) == []
    fill(table, 0b1000_0000, 0b0001_0000)
    assert list(table.refresh_prefixes()) == [0, 1, 2, 3]
    table.remove(peer(0b0001_0000))
    assert list(table.refresh_prefixes()) == [0]


def test_behind_a_gap_a_refresh_looks_into_a_few_buckets_more() -> None:
    table = tiny_table()
    fill(table, 0b1000_0000, 0b0000_0001)
    assert list(table.refresh_prefixes()) == [0, 1, 2, 3, 4], "the gap is bucket 1: up to 2 * (1 + 1)"
    fill(table, 0b0100_0000)
    assert list(table.refresh_prefixes()) == [0, 1, 2, 3, 4, 5, 6], "it is filled, and the next one is bucket 2"
    table.remove(peer(0b1000_0000))
    assert list(table.refresh_prefixes()) == [0, 1, 2]


@given(st.sets(st.integers(0, 7)))
def test_a_refresh_leaves_out_no_bucket_before_the_first_gap_and_never_the_gap(held: set[int]) -> None:
    table = tiny_table()
    fill(table, *(0b1000_0000 >> prefix for prefix in held))
    prefixes = table.refresh_prefixes()
    before_a_gap = next((prefix for prefix in range(9) if prefix not in held), 9)
    assert set(range(before_a_gap)) <= set(prefixes)
    assert (before_a_gap in prefixes) == (before_a_gap < max(held, default=-1))
    assert not held or max(prefixes) <= max(held), "deeper than the deepest peer there is nobody to be told of"


def test_who_has_not_been_of_use_for_long_is_named() -> None:
    table = tiny_table()
    fill(table, 0b1000_0000, 0b0100_0000, 0b0100_0001)
    table.add(info(0b1000_0000), now=5)
    assert table.last_seen_before(5) == [peer(0b0100_0000), peer(0b0100_0001)]
    assert table.last_seen_before(0) == []


def test_a_refresh_leaves_the_deepest_buckets_to_the_lookup_of_the_own_id() -> None:
    wide = KeySpace(256, key=lambda name: int.from_bytes(name, "big"))
    table = RoutingTable(PeerId(b""), bucket_size=1, max_per_group=1, max_per_group_and_bucket=1, space=wide)
    for bit in (*range(235, 256), 0):
        table.add(PeerInfo(PeerId((1 << bit).to_bytes(32, "big"))), now=0)
    assert table.refresh_prefixes() == range(MAX_REFRESH_PREFIX + 1) == range(16)


@pytest.mark.parametrize("prefix", range(9))
def test_a_name_in_a_bucket_hashes_into_it(prefix: int) -> None:
    dice = random.Random(prefix)
    own = SHA256.key(b"own")
    name = name_in_bucket(own, prefix, dice.getrandbits, tries=100_000)
    assert name is not None
    assert SHA256.common_prefix(own, SHA256.key(name)) == prefix
    assert name[:2] == b"\x12\x20"
    assert len(name) == 34


def test_other_randomness_gives_another_name_and_the_same_gives_the_same() -> None:
    def name(seed: int) -> bytes | None:
        return name_in_bucket(0, 3, random.Random(seed).getrandbits)

    assert name(1) == name(1) != name(2)


def test_a_search_for_a_name_ends_after_its_tries() -> None:
    asked = []

    def key(name: bytes) -> int:
        asked.append(name)
        return 0b1000_0000

    assert name_in_bucket(0, 5, random.Random(0).getrandbits, space=KeySpace(8, key), tries=77) is None
    assert len(set(asked)) == 77


# Against a linear scan


@dataclass
class Naive:
    """The same rules on plain lists, each question answered by a scan of everything."""

    own: int
    size: int
    cache: int
    groups: int
    in_bucket: int
    table: list[Entry] = field(default_factory=list)
    waiting: list[Entry] = field(default_factory=list)

    def bucket(self, key: int) -> int:
        return next((bit for bit in range(8) if (key ^ self.own) & (128 >> bit)), 8)

    def within(self, entries: list[Entry], prefix: int) -> list[Entry]:
        return [each for each in entries if self.bucket(each.key) == prefix]

    def refusal(self, candidate: Entry) -> Refusal | None:
        others = [each for each in self.table if each.peer != candidate.peer]
        near = self.within(others, self.bucket(candidate.key))
        for group in candidate.groups:
            if sum(group in each.groups for each in others) >= self.groups:
                return Refusal.GROUP
        for group in candidate.groups:
            if sum(group in each.groups for each in near) >= self.in_bucket:
                return Refusal.GROUP_IN_BUCKET
        return None

    def add(self, info: PeerInfo, now: float) -> Admission:
        key = info.id[0]
        prefix = self.bucket(key)
        groups = tuple(dict.fromkeys(each.ip_group for each in info.addresses if each.ip_group))
        known = next((each for each in self.table if each.key == key), None)
        if key == self.own:
            return Refused(Refusal.OWN_KEY)
        if known and known.peer != info.id:
            return Refused(Refusal.KEY_TAKEN)
        if known:
            moved = replace(known, groups=groups if info.addresses else known.groups, seen=now)
            if self.refusal(moved):
                removed = self.remove(info.id)
                assert removed
                return removed
            self.table[self.table.index(known)] = moved
            return Known()
        self.waiting = [each for each in self.waiting if each.peer != info.id]
        entry = Entry(info.id, key, groups, now, now)
        refusal = self.refusal(entry)
        if refusal:
            return Refused(refusal)
        if len(self.within(self.table, prefix)) < self.size:
            self.table.append(entry)
            return Added(prefix)
        self.waiting.append(entry)
        if len(self.within(self.waiting, prefix)) > self.cache:
            self.waiting.remove(self.within(self.waiting, prefix)[0])
        return Cached(prefix)

    def remove(self, peer: PeerId) -> Removed | None:
        self.waiting = [each for each in self.waiting if each.peer != peer]
        gone = next((each for each in self.table if each.peer == peer), None)
        if gone is None:
            return None
        self.table.remove(gone)
        return Removed(peer, self.bucket(peer[0]), gone.added, self.replacement(self.bucket(peer[0])))

    def replacement(self, prefix: int) -> PeerId | None:
        fit = [each for each in self.within(self.waiting, prefix) if not self.refusal(each)]
        if not fit or len(self.within(self.table, prefix)) >= self.size:
            return None
        self.waiting.remove(fit[-1])
        return fit[-1].peer

    def buckets(self) -> tuple[Bucket, ...]:
        return tuple(
            Bucket(prefix, tuple(held), tuple(each.peer for each in reversed(self.within(self.waiting, prefix))))
            for prefix in range(9)
            if (held := self.within(self.table, prefix))
        )


# Few keys, so that buckets fill; a second byte now and then, so that a key is taken.
some_peer = st.one_of(
    st.sampled_from([*range(8), *range(120, 136), *range(248, 256)]).map(peer),
    st.sampled_from([PeerId([130, 1]), PeerId([4, 1])]),
)
some_info = st.builds(PeerInfo, some_peer, st.lists(st.sampled_from("abc"), max_size=2).map(lambda groups: at(*groups)))
step = st.one_of(
    st.tuples(st.just("add"), some_info),
    st.tuples(st.just("add"), some_info),
    st.tuples(st.just("remove"), some_peer),
    st.tuples(st.just("replacement"), st.integers(0, 8)),
)


@pytest.mark.scenario("L7", "L8")
@given(
    own=st.sampled_from([0, 127, 130, 255]),
    size=st.integers(1, 3),
    cache=st.integers(1, 3),
    groups=st.integers(1, 4),
    in_bucket=st.integers(1, 2),
    steps=st.lists(step, max_size=60),
    target=st.sampled_from(ALL),
    n=st.integers(0, 12),
)
def test_the_table_does_what_a_linear_scan_does(
    own: int, size: int, cache: int, groups: int, in_bucket: int, steps: list, target: int, n: int
) -> None:
    table = tiny_table(own, size, cache, groups, in_bucket)
    naive = Naive(own, size, cache, groups, in_bucket)
    for now, (name, argument) in enumerate(steps):
        given = (argument, now) if name == "add" else (argument,)
        assert getattr(table, name)(*given) == getattr(naive, name)(*given)
        assert table.buckets() == naive.buckets()
        keys = [each.key for each in naive.table]
        assert [each[0] for each in table.closest(target, n)] == nearest(keys, target, n)
        assert len(table) == len(keys)
        assert list(table) == [entry.peer for bucket in naive.buckets() for entry in bucket.entries]
        assert all((peer(key) in table) == (peer(key) in list(table)) for key in (0, 4, 130, own))
        check_bounds(table, size, cache, groups, in_bucket)


def check_bounds(table: RoutingTable, size: int, cache: int, groups: int, in_bucket: int) -> None:
    buckets = table.buckets()
    for bucket in buckets:
        assert len(bucket.entries) <= size
        assert len(bucket.replacements) <= cache
        assert most_of_a_group(bucket.entries) <= in_bucket
    assert most_of_a_group(tuple(entry for bucket in buckets for entry in bucket.entries)) <= groups


def most_of_a_group(entries: tuple[Entry, ...]) -> int:
    return max((sum(group in entry.groups for entry in entries) for group in "abc"), default=0)


def test_a_peer_is_of_use_while_its_bucket_or_the_cache_of_that_has_room() -> None:
    table = tiny_table(own=0, size=1, cache=1)
    assert table.has_use_for(peer(0b1000_0000))
    table.add(PeerInfo(peer(0b1000_0000)), now=0)
    assert table.has_use_for(peer(0b1000_0001))
    table.add(PeerInfo(peer(0b1000_0001)), now=1)
    assert not table.has_use_for(peer(0b1000_0010))
    assert table.has_use_for(peer(0b0100_0000))
    table.remove(peer(0b1000_0001))
    assert table.has_use_for(peer(0b1000_0010))
