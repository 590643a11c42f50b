"""How long to wait: as long as answers usually take, and what they stray."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.core.patience import ENOUGH, FLOOR, WINDOW, Patience
from tests.support.generated import examples

MOST = 2.0


def after(*answers: float, most: float = MOST) -> Patience:
    patience = Patience(most)
    for seconds in answers:
        patience.learn(seconds)
    return patience


def test_until_enough_is_known_it_is_the_upper_bound() -> None:
    assert after(*[0.3] * (ENOUGH - 1)).wait == MOST
    assert after(*[0.3] * ENOUGH).wait == 0.6


@pytest.mark.scenario("L13")
def test_where_all_take_the_same_time_a_silent_peer_gets_twice_that() -> None:
    assert after(*[0.4] * 20).wait == pytest.approx(0.8)


def test_the_more_answers_stray_the_longer_the_wait() -> None:
    even = after(*[0.1] * 32, *[0.12] * 32)
    wide = after(*[0.1] * 32, *[0.25] * 32, *[0.1] * 16)
    assert even.wait < wide.wait < MOST


@pytest.mark.scenario("L12")
def test_in_a_slow_network_nobody_who_is_as_quick_as_the_others_is_late() -> None:
    """Answers between 1 and 1.5 seconds: all of them come in time."""
    dice = random.Random(1)
    times = [dice.uniform(1.0, 1.5) for _ in range(200)]
    patience = after(*times[:100])
    assert max(times) < patience.wait <= MOST


@pytest.mark.scenario("L13")
def test_in_a_fast_network_a_silent_peer_costs_the_floor_and_not_the_upper_bound() -> None:
    assert after(*[0.001] * 20).wait == FLOOR
    assert after(*[0.001] * 20, most=FLOOR / 4).wait == FLOOR / 4, "the upper bound is what the user says"


@pytest.mark.scenario("L13")
def test_who_takes_half_as_long_again_as_most_is_slow() -> None:
    patience = after(*[0.4] * 60, *[0.9] * 4)
    assert patience.usual == pytest.approx(0.6)
    assert patience.wait == pytest.approx(0.8)
    assert after(*[0.001] * 20).usual == FLOOR / 2
    assert after().usual == after().wait == MOST


def test_one_in_six_may_answer_as_slowly_as_it_likes() -> None:
    honest = after(*[0.1] * 100).wait
    assert after(*[9.0 if number % 6 == 5 else 0.1 for number in range(100)]).wait == honest
    assert after(*[0.0 if number % 6 == 5 else 0.1 for number in range(100)]).wait == honest


def test_when_the_network_turns_slow_the_wait_grows_with_the_first_answers() -> None:
    fast = [0.05] * 200
    assert after(*fast).wait < 0.5
    assert after(*fast, *[1.5] * (WINDOW // 5 + 1)).wait == MOST


def test_what_was_long_ago_is_forgotten() -> None:
    assert after(*[1.5] * 200, *[0.05] * WINDOW).wait == FLOOR
    assert after(*[1.5] * 200, *[0.05] * (WINDOW // 2)).wait == MOST, "patience is lost slowly"


@settings(max_examples=examples(200))
@given(st.lists(st.floats(0.0, 60.0), max_size=200), st.floats(0.01, 10.0))
def test_whatever_is_measured_it_stays_within_its_bounds_and_depends_on_the_latest_alone(
    times: list[float], most: float
) -> None:
    patience = after(*times, most=most)
    assert min(FLOOR, most) <= patience.wait <= most
    assert min(FLOOR / 2, most) <= patience.usual <= patience.wait
    assert len(patience._sorted) == len(patience._latest) <= WINDOW
    assert patience._sorted == sorted(times[-WINDOW:])
    if len(times) >= ENOUGH:
        assert patience.wait == after(*sorted(times[-WINDOW:]), most=most).wait
        assert patience.wait >= min(most, sorted(times[-WINDOW:])[len(times[-WINDOW:]) * 4 // 5])
