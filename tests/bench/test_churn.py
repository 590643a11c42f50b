"""Sessions: what is drawn is what the formulas say, and both are what was measured."""

from __future__ import annotations

from random import Random
from statistics import mean, median

import pytest
from churn import Sessions

HOUR = 60.0
SESSIONS = Sessions(median=30.0)


def test_the_shape_is_that_of_the_ipfs_dht() -> None:
    """Half are gone after 2 hours, four fifths after 8."""
    lengths = [Sessions(median=2 * HOUR).whole(Random(number)) for number in range(20_000)]
    assert sum(length > 8 * HOUR for length in lengths) / len(lengths) == pytest.approx(0.2, abs=0.02)


def test_median_and_mean_are_those_asked_for() -> None:
    dice = Random(1)
    lengths = [SESSIONS.whole(dice) for _ in range(50_000)]
    assert median(lengths) == pytest.approx(30, rel=0.05)
    assert mean(lengths) == pytest.approx(SESSIONS.mean, rel=0.05)


@pytest.mark.parametrize("shape", [0.34, 0.61, 1.0])
def test_who_is_up_stays_as_long_as_was_worked_out(shape: float) -> None:
    sessions, dice = Sessions(30.0, shape), Random(1)
    rests = [sessions.rest(dice) for _ in range(50_000)]
    for after in (0.0, HOUR, 6 * HOUR):
        assert sum(rest > after for rest in rests) / len(rests) == pytest.approx(sessions.still_up(after), abs=0.01)


def test_without_a_memory_the_past_says_nothing() -> None:
    assert Sessions(30.0, shape=1.0).still_up(30.0) == pytest.approx(0.5, abs=0.001)


def test_all_holders_are_gone_only_when_each_of_them_is() -> None:
    assert SESSIONS.all_gone(20, HOUR) == pytest.approx((1 - SESSIONS.still_up(HOUR)) ** 20)
