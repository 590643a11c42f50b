"""Who is missed, whose turn it is, and who goes first when there are too many."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.awaited import COMPANY, FIRST_WAIT, KEPT, LONGEST_WAIT, Awaited, AwaitedPeer
from p2pkad.core.peers import PeerId

TURN = 25.0


def peer(number: int) -> PeerId:
    return PeerId(b"%d" % number)


def missing(*stayed: float, most: int = 100, now: float = 0.0) -> Awaited:
    awaited = Awaited(most)
    for number, seconds in enumerate(stayed):
        awaited.add(peer(number), seconds, now)
    return awaited


def turns(awaited: Awaited, count: int, now: float = 0.0) -> list[tuple[PeerId, float]]:
    """Who is tried when, in vain, with a turn every TURN seconds."""
    tried = []
    for turn in range(1, count + 1):
        awaited.call_next(now + turn * TURN)
        tried += [(each, now + turn * TURN) for each in awaited.take_called(16, now + turn * TURN)]
    return tried


@pytest.mark.scenario("H9")
def test_as_long_as_somebody_is_missed_somebody_is_tried_at_each_turn() -> None:
    """However long the network has been apart: what heals is noticed within a turn."""
    for count in (1, 3, 50):
        assert len(turns(missing(*[60.0] * count), 1000)) == 1000


@pytest.mark.scenario("H9")
def test_who_has_just_failed_is_left_alone_for_a_moment() -> None:
    awaited = missing(60.0)
    assert awaited.ready == FIRST_WAIT
    awaited.call_next(FIRST_WAIT - 0.1)
    assert awaited.take_called(16, FIRST_WAIT - 0.1) == []
    awaited.call_next(FIRST_WAIT)
    assert awaited.take_called(16, FIRST_WAIT) == [peer(0)]
    assert awaited.ready == 2 * FIRST_WAIT
    assert Awaited(1).ready == float("inf")


def test_the_wait_of_a_peer_doubles_up_to_an_hour() -> None:
    waits = [AwaitedPeer(peer(0), 0, 1, 0, tries).wait for tries in range(2000)]
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert all(before <= after <= LONGEST_WAIT for before, after in pairwise(waits))
    assert waits[-1] == LONGEST_WAIT


def test_who_failed_often_is_tried_less_often_than_who_failed_once() -> None:
    awaited = missing(*[60.0] * 20)
    turns(awaited, 200)
    awaited.add(peer(99), 60.0, now=200 * TURN)
    tried = [each for each, _ in turns(awaited, 20, now=200 * TURN)]
    assert tried[:3] == [peer(99)] * 3
    assert tried.count(peer(99)) > 3 * max(tried.count(peer(number)) for number in range(20))


@pytest.mark.scenario("H9")
@pytest.mark.parametrize("count", [1, 10, 100])
def test_nobody_starves(count: int) -> None:
    tried = [each for each, _ in turns(missing(*[60.0] * count), 4 * count)]
    assert set(tried) == {peer(number) for number in range(count)}


@pytest.mark.scenario("H9")
def test_one_that_returns_calls_those_who_left_when_it_did() -> None:
    awaited = Awaited(100)
    for number in range(30):
        awaited.add(peer(number), 60.0, now=number * 100.0)
    assert awaited.returned(peer(15), now=9000) == AwaitedPeer(peer(15), 1500, 60, 1500)
    called = awaited.take_called(16, now=9000)
    assert set(called) == {peer(number) for number in (11, 12, 13, 14, 16, 17, 18, 19)}
    assert len(called) == COMPANY
    assert peer(15) not in awaited


@pytest.mark.scenario("H9")
def test_a_network_that_returns_is_called_in_a_few_rounds() -> None:
    awaited, rounds = missing(*[60.0] * 90), 0
    awaited.returned(peer(0), now=100)
    while called := awaited.take_called(16, now=100):
        rounds += 1
        for each in called:
            awaited.returned(each, now=100)
    assert (len(awaited), rounds) == (0, 7)


def test_those_who_are_called_wait_until_there_is_room_and_are_called_once() -> None:
    awaited = missing(*[60.0] * 9)
    awaited.returned(peer(0), now=100)
    first, second = awaited.take_called(5, now=100), awaited.take_called(5, now=100)
    assert len(first + second) == len({*first, *second}) == 8
    awaited.returned(first[0], now=101)
    assert awaited.take_called(16, now=101) == [], "all others have just been tried"


def test_a_newcomer_that_was_never_in_the_table_brings_nobody_back() -> None:
    awaited = missing(0.0, 60.0)
    awaited.returned(peer(0), now=100)
    assert awaited.take_called(16, now=100) == []
    assert awaited.returned(peer(0), now=100) is None


@pytest.mark.scenario("H9")
def test_who_had_been_in_the_table_for_the_shortest_time_is_forgotten_first() -> None:
    awaited = missing(30.0, 10.0, 20.0, most=3)
    assert awaited.add(peer(9), 15.0, now=5) == peer(1)
    assert awaited.add(peer(8), 0.0, now=5) == peer(8), "itself"
    assert [each.peer for each in awaited] == [peer(0), peer(2), peer(9)]


def test_who_fails_again_does_not_begin_anew() -> None:
    awaited = missing(60.0)
    turns(awaited, 10)
    before = list(awaited)
    assert awaited.add(peer(0), 5.0, now=1000) is None
    assert list(awaited) == before


def test_after_a_day_nobody_is_missed_any_more() -> None:
    awaited = missing(60.0)
    awaited.add(peer(1), 60.0, now=10)
    assert awaited.expire(KEPT - 1) == []
    assert awaited.expire(KEPT) == [peer(0)]
    assert [each.peer for each in awaited] == [peer(1)]
    assert repr(awaited) == "<Awaited peers=1/100 called=0>"


steps = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 12), st.floats(0, 1000)),
    st.tuples(st.just("returned"), st.integers(0, 12), st.none()),
    st.tuples(st.just("turn"), st.integers(0, 16), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 7200), st.none()),
    st.tuples(st.just("forget"), st.integers(0, 12), st.none()),
)


@given(st.integers(1, 6), st.lists(steps, max_size=80))
def test_nobody_is_forgotten_unsaid_and_the_bound_holds(most: int, given_steps: list[tuple[str, int, float | None]]) -> None:
    awaited, expected, now = Awaited(most), set[PeerId](), 0.0
    for name, number, seconds in given_steps:
        match name:
            case "add":
                expected |= {peer(number)}
                expected -= {awaited.add(peer(number), seconds or 0.0, now)}
            case "returned" | "forget":
                _ = awaited.returned(peer(number), now) if name == "returned" else awaited.forget(peer(number))
                expected -= {peer(number)}
            case "turn":
                called = awaited.ready <= now
                awaited.call_next(now)
                taken = awaited.take_called(number, now)
                assert len(taken) == len(set(taken)) <= number
                assert set(taken) <= expected
                assert bool(taken) or number == 0 or not called, "whoever is ready gets a turn"
            case "wait":
                now += number
                expected -= set(awaited.expire(now))
        tried = [each.tried for each in awaited]
        assert {each.peer for each in awaited} == expected
        assert len(awaited) == len(expected) <= most
        assert tried == sorted(tried)
        assert all(peer(each) in awaited for each in range(13) if peer(each) in expected)
        assert awaited.ready == (tried[0] + FIRST_WAIT if tried else float("inf"))


@pytest.mark.scenario("H6")
def test_who_is_missed_from_an_earlier_life_is_missed_as_it_was() -> None:
    awaited = Awaited(2)
    earlier = AwaitedPeer(peer(1), since=-500, stayed=60, tried=-50, tries=3)
    assert awaited.restore(earlier) is None
    assert awaited.restore(AwaitedPeer(peer(2), since=0, stayed=90, tried=0)) is None
    assert next(iter(awaited)) == earlier
    assert awaited.restore(AwaitedPeer(peer(3), since=0, stayed=10, tried=0)) == peer(3)


@pytest.mark.scenario("H6")
def test_who_is_called_does_not_wait_for_its_turn_and_nobody_else_is_called() -> None:
    awaited = missing(60.0, 60.0)
    awaited.call(peer(1))
    awaited.call(peer(7))
    assert awaited.calls == 1
    assert awaited.take_called(16, 0.0) == [peer(1)]
    assert awaited.calls == 0
