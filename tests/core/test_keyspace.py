"""The XOR metric: in 8 bits every pair and many a triple, in 256 what hypothesis thinks of."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.keyspace import SHA256, KeySpace, distance, sha256_key

TINY = KeySpace(8, key=lambda name: name[0])
ALL = range(256)

keys = st.integers(0, 2**256 - 1)


@pytest.mark.scenario("L16")
@given(keys, keys)
def test_only_equal_keys_are_at_distance_zero(a: int, b: int) -> None:
    assert distance(a, a) == 0
    assert (distance(a, b) == 0) == (a == b)


@pytest.mark.scenario("L16")
@given(keys, keys)
def test_a_distance_is_the_same_from_both_ends(a: int, b: int) -> None:
    assert distance(a, b) == distance(b, a) >= 0


@pytest.mark.scenario("L16")
@given(keys, keys, keys)
def test_no_detour_is_shorter(a: int, b: int, c: int) -> None:
    assert distance(a, c) <= distance(a, b) + distance(b, c)


@pytest.mark.scenario("L16")
def test_for_each_key_and_distance_there_is_exactly_one_other_key() -> None:
    for key in ALL:
        assert sorted(distance(key, other) for other in ALL) == list(ALL)


@pytest.mark.scenario("L16")
def test_who_shares_more_leading_bits_is_nearer() -> None:
    for key, a, b in product((0b0000_0000, 0b1011_0010, 0b1111_1111), ALL, ALL):
        if TINY.common_prefix(key, a) > TINY.common_prefix(key, b):
            assert distance(key, a) < distance(key, b)


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [
        (0b0000_0000, 0b1000_0000, 0),
        (0b1010_0000, 0b1011_0000, 3),
        (0b1010_0000, 0b1010_0001, 7),
        (0b1010_0000, 0b1010_0000, 8),
    ],
)
def test_the_common_prefix_counts_leading_bits(a: int, b: int, shared: int) -> None:
    assert TINY.common_prefix(a, b) == TINY.common_prefix(b, a) == shared


def test_a_key_is_the_sha256_of_the_name_read_big_endian() -> None:
    # FIPS 180-2, appendix B.1.
    assert sha256_key(b"abc") == 0xBA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD
    assert SHA256.key is sha256_key
    assert SHA256.bits == 256
