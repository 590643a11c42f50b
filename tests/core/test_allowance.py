"""How much somebody may take, and that what is remembered of it stays small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.allowance import Allowance

pytestmark = pytest.mark.scenario("H4")

PER_SECOND, BURST = 2.0, 10

A, B = b"a", b"b"


@pytest.fixture
def allowance() -> Allowance:
    return Allowance(BURST, PER_SECOND, most=100)


def took(allowance: Allowance, name: bytes, amount: float, now: float) -> bool:
    """Whether there was so much for it; then it is gone."""
    if allowance.wait(name, amount, now):
        return False
    allowance.take(name, amount, now)
    return True


def test_a_burst_is_had_at_once_and_more_at_its_rate(allowance: Allowance) -> None:
    assert [took(allowance, A, 1, 0.0) for _ in range(BURST + 1)] == [True] * BURST + [False]
    assert allowance.wait(A, 1, 0.0) == pytest.approx(0.5)
    assert [took(allowance, A, 1, 2.0) for _ in range(5)] == [True] * 4 + [False]


def test_what_one_takes_is_there_for_others(allowance: Allowance) -> None:
    allowance.take(A, BURST, 0.0)
    assert allowance.wait(A, 1, 0.0) > 0
    assert allowance.wait(B, BURST, 0.0) == 0


def test_who_takes_ahead_waits_longer_each_time(allowance: Allowance) -> None:
    allowance.take(A, BURST, 0.0)
    waits = []
    for _ in range(3):
        waits.append(allowance.wait(A, 1, 0.0))
        allowance.take(A, 1, 0.0)
    assert waits == pytest.approx([0.5, 1.0, 1.5])


def test_what_is_given_back_was_never_taken(allowance: Allowance) -> None:
    allowance.take(A, 4, 0.0)
    allowance.take(A, BURST, 0.0)
    allowance.give_back(A, BURST, 1.0)
    assert [took(allowance, A, 1, 1.0) for _ in range(9)] == [True] * 8 + [False]
    allowance.take(B, 1, 1.0)
    allowance.give_back(B, 1, 1.0)
    allowance.give_back(b"nobody", 5, 1.0)
    assert len(allowance) == 1


def test_more_than_a_burst_is_had_from_a_full_bucket_and_owed(allowance: Allowance) -> None:
    assert took(allowance, A, 3 * BURST, 0.0)
    assert allowance.wait(A, 1, 0.0) == pytest.approx(10.5)
    assert took(allowance, B, 0.1, 0.0)
    assert not took(allowance, B, 3 * BURST, 0.0), "the bucket is not full"


def test_who_owes_nothing_is_forgotten(allowance: Allowance) -> None:
    for number in range(50):
        allowance.take(b"%d" % number, BURST, 0.0)
    assert len(allowance) == 50
    for number in range(25):
        allowance.take(A, 0.1, 6.0 + number)
    assert len(allowance) == 1


def test_of_too_many_names_the_one_that_took_nothing_for_longest_goes(allowance: Allowance) -> None:
    for number in range(100):
        allowance.take(b"%d" % number, BURST, 0.0)
    allowance.take(b"0", 1, 0.0)
    allowance.take(A, 1, 0.0)
    assert len(allowance) == 100
    assert allowance.wait(b"0", 1, 0.0) > 0
    assert allowance.wait(b"1", 1, 0.0) == 0, "it is forgotten"


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.floats(0, 25), st.floats(0, 4))))
def test_in_the_long_run_nobody_has_more_than_the_rate(steps: list[tuple[bytes, float, float]]) -> None:
    allowance, had, now = Allowance(BURST, PER_SECOND, most=100), {A: 0.0, B: 0.0}, 0.0
    largest = max((amount for _, amount, _ in steps), default=0.0)
    for name, amount, pause in steps:
        now += pause
        if took(allowance, name, amount, now):
            had[name] += amount
        # What is larger than a burst is had once, and then owed.
        assert had[name] <= max(BURST, largest) + PER_SECOND * now + 1e-6


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1))))
def test_never_more_than_so_many_are_remembered(steps: list[tuple[int, float]]) -> None:
    allowance, now = Allowance(BURST, PER_SECOND, most=20), 0.0
    for number, pause in steps:
        now += pause
        allowance.take(b"%d" % number, BURST, now)
        assert len(allowance) <= 20
