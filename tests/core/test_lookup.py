"""The lookup in an 8-bit space, where a peer's key is its only byte and one can see who is near."""

from __future__ import annotations

import gc
import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.core.candidates import Candidate
from p2pkad.core.goals import ClosestPeers, Failure
from p2pkad.core.keyspace import KeySpace
from p2pkad.core.lookup import Ask, Done, Ending, Lookup, LookupLimits, Outcome, Query, Step, Wait
from p2pkad.core.messages import FindNodeReply
from p2pkad.core.patience import Patience
from p2pkad.core.peers import PeerId, PeerInfo
from tests.support.generated import examples

TINY = KeySpace(8, key=lambda name: name[0])
OWN = 0b1111_1111


def peer(key: int) -> PeerId:
    return PeerId([key])


def closer(*keys: int) -> FindNodeReply:
    return FindNodeReply(tuple(PeerInfo(peer(key)) for key in keys))


def ask(*queries: tuple[int, float]) -> Ask:
    return Ask(tuple(Query(peer(key), failed) for key, failed in queries))


def tiny_lookup(target: int, seeds: list[int], own: int = OWN, **limits: float) -> Lookup:
    chosen = LookupLimits(**{"k": 3, "alpha": 2, "beta": 2, "soft": 1, "hard": 5, "duration": 60, **limits})  # type: ignore[arg-type]
    return Lookup(ClosestPeers(bytes([target])), [peer(key) for key in seeds], chosen, peer(own), now=0, space=TINY)


def outcome(step: Step) -> Outcome:
    assert isinstance(step, Done), step
    return step.outcome


def found(step: Step) -> list[int]:
    return [each[0] for each in outcome(step).closest]


def test_the_nearest_seeds_are_asked_first_as_many_as_alpha() -> None:
    lookup = tiny_lookup(target=0, seeds=[0b1000, 0b0001, 0b0100], alpha=2)
    assert lookup.next(now=0) == ask((0b0001, 5), (0b0100, 5))
    assert lookup.next(now=0) == Wait(1)


def test_what_a_lookup_knew_goes_with_it_and_is_no_garbage_to_look_for() -> None:
    def candidates() -> int:
        return sum(isinstance(each, Candidate) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    before = candidates()  # of other tests, in reports of how they failed
    try:
        lookup = tiny_lookup(target=0, seeds=[0b1000_0000], disjoint_paths=2)
        lookup.next(0)
        lookup.on_reply(peer(0b1000_0000), closer(0b0001), 0)
        assert candidates() == before + 2
        del lookup
        assert candidates() == before
    finally:
        gc.enable()


def test_answers_lead_nearer_until_the_k_nearest_have_answered() -> None:
    lookup = tiny_lookup(target=0, seeds=[0b1000_0000], k=2, alpha=1, beta=1)
    assert lookup.next(0) == ask((0b1000_0000, 5))
    lookup.on_reply(peer(0b1000_0000), closer(0b0100_0000, 0b0000_0010), 0.1)
    assert lookup.next(0.1) == ask((0b0000_0010, 5.1))
    lookup.on_reply(peer(0b0000_0010), closer(0b0000_0001), 0.2)
    assert lookup.next(0.2) == ask((0b0000_0001, 5.2))
    lookup.on_reply(peer(0b0000_0001), closer(0b0000_0010), 0.3)
    assert found(lookup.next(0.3)) == [0b0000_0001, 0b0000_0010]
    assert outcome(lookup.next(0.3)) == Outcome(
        closest=(peer(1), peer(2)),
        ending=Ending.CONVERGED,
        asked=3,
        answered=3,
        failed=0,
        late=0,
        others=(peer(0b0100_0000), peer(0b1000_0000)),
        hops=3,
    )


def test_hops_count_from_the_seeds_along_whoever_told_first_to_the_nearest_that_answered() -> None:
    lookup = tiny_lookup(target=0, seeds=[0b1000_0000, 0b0100_0000], k=1, alpha=2)
    lookup.next(0)
    lookup.on_reply(peer(0b1000_0000), closer(0b0000_1000), 0.1)
    lookup.on_reply(peer(0b0100_0000), closer(0b0000_1000, 0b0000_0001), 0.2)
    lookup.next(0.2)
    lookup.on_failure(peer(0b0000_0001), Failure.SILENT, 0.3)
    lookup.next(0.3)
    lookup.on_reply(peer(0b0000_1000), closer(0b1000_0000), 0.4)
    result = outcome(lookup.next(0.4))
    assert (result.closest, result.hops) == ((peer(0b0000_1000),), 2)


def test_where_nobody_answers_hops_are_those_of_who_was_asked() -> None:
    lookup = tiny_lookup(target=0, seeds=[0b1000_0000])
    lookup.next(0)
    lookup.on_failure(peer(0b1000_0000), Failure.SILENT, 0.1)
    assert (outcome(lookup.next(0.1)).hops, outcome(tiny_lookup(target=0, seeds=[]).next(0)).hops) == (1, 0)


def test_once_the_beta_nearest_have_answered_the_rest_is_asked_at_once() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2, 3, 4, 5, 6], k=5, alpha=1, beta=2)
    assert lookup.next(0) == ask((1, 5))
    lookup.on_reply(peer(1), closer(), 0)
    assert lookup.next(0) == ask((2, 5))
    lookup.on_reply(peer(2), closer(), 0)
    assert lookup.next(0) == ask((3, 5), (4, 5), (5, 5))


@pytest.mark.scenario("L12")
def test_a_late_answer_still_improves_the_result() -> None:
    mid, far, near = 0b0100_0000, 0b1000_0000, 0b0000_0001
    lookup = tiny_lookup(target=0, seeds=[mid, far], alpha=1, soft=1, hard=5)
    assert lookup.next(now=0) == ask((mid, 5))
    assert lookup.next(now=1) == ask((far, 6))  # mid is late, its slot is free
    lookup.on_reply(peer(mid), closer(near), now=2)
    lookup.on_failure(peer(far), Failure.REFUSED, now=2)
    assert lookup.next(now=2) == ask((near, 7))
    lookup.on_reply(peer(near), closer(), now=3)
    assert found(lookup.next(now=3)) == [near, mid]


@pytest.mark.scenario("L12")
def test_a_late_peer_delays_no_result() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2], alpha=2)
    lookup.next(0)
    lookup.on_reply(peer(2), closer(), 0.1)
    assert lookup.next(0.1) == Wait(1)
    result = outcome(lookup.next(1))
    assert (result.closest, result.ending, result.late) == ((peer(2),), Ending.CONVERGED, 1)


def test_while_there_is_nothing_to_show_a_late_peer_is_waited_for() -> None:
    lookup = tiny_lookup(target=0, seeds=[1], duration=60)
    lookup.next(0)
    assert lookup.next(1) == Wait(60)
    lookup.on_reply(peer(1), closer(), 4)
    assert found(lookup.next(4)) == [1]


@pytest.mark.scenario("L12")
def test_a_lookup_ends_at_its_deadline_with_what_it_has_and_says_so() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2], duration=3, soft=10)
    assert lookup.next(0) == ask((1, 3), (2, 3))
    lookup.on_reply(peer(2), closer(), 1)
    result = outcome(lookup.next(3))
    assert (result.closest, result.ending, result.complete, result.late) == ((peer(2),), Ending.DEADLINE, False, 1)


class Learned(Patience):
    """Patience whose figures are given."""

    def __init__(self, usual: float, wait: float) -> None:
        super().__init__(wait)
        self.usual = usual


@pytest.mark.scenario("L13")
def test_in_the_place_of_a_slow_peer_another_one_is_asked_and_both_are_waited_for() -> None:
    limits = LookupLimits(k=2, alpha=2, beta=2, hard=9)
    lookup = Lookup(
        ClosestPeers(bytes([0])),
        [peer(1), peer(2), peer(3)],
        limits,
        peer(OWN),
        0,
        patience=lambda _, asked_at: (asked_at, Learned(1, 3)),
        space=TINY,
    )
    assert lookup.next(now=0) == ask((1, 9), (2, 9))
    lookup.on_reply(peer(2), closer(), now=0.5)
    assert lookup.next(now=0.5) == Wait(1)
    assert lookup.next(now=1) == ask((3, 10))  # 1 is slow
    lookup.on_reply(peer(3), closer(), now=1.5)
    assert lookup.next(now=1.5) == Wait(3), "it is waited for"
    lookup.on_reply(peer(1), closer(), now=2)
    assert found(lookup.next(now=2)) == [1, 2]


@pytest.mark.scenario("L12", "L13")
def test_who_is_late_is_judged_by_what_is_known_by_then() -> None:
    patience = Learned(10, 10)
    limits = LookupLimits(k=2, alpha=2, beta=2, hard=20)
    lookup = Lookup(
        ClosestPeers(bytes([0])),
        [peer(1), peer(2)],
        limits,
        peer(OWN),
        0,
        patience=lambda _, asked_at: (asked_at, patience),
        space=TINY,
    )
    lookup.next(now=0)
    lookup.on_reply(peer(2), closer(), now=1)
    patience.usual, patience.wait = 1, 2
    assert lookup.next(now=1) == Wait(2)
    assert found(lookup.next(now=2)) == [2]
    assert lookup.late == (peer(1),)


@pytest.mark.scenario("L13")
def test_a_peer_that_turns_out_to_need_a_dial_gets_the_time_of_a_dial_and_then_that_of_an_answer() -> None:
    connected, dialled = Learned(1, 2), Learned(4, 8)
    opened = {peer(1): 0.0, peer(2): 0.0}

    looks: list[tuple[PeerId, float]] = []

    def patience(each: PeerId, asked_at: float) -> tuple[float, Patience]:
        looks.append((each, asked_at))
        return (max(asked_at, opened[each]), connected) if each in opened else (asked_at, dialled)

    limits = LookupLimits(k=2, alpha=2, beta=2, hard=20)
    lookup = Lookup(ClosestPeers(bytes([0])), [peer(1), peer(2)], limits, peer(OWN), 0, patience=patience, space=TINY)
    assert lookup.next(now=0) == ask((1, 20), (2, 20))
    del opened[peer(1)]
    assert lookup.next(now=1) == Wait(2), "2 is slow"
    lookup.on_reply(peer(2), closer(), now=1.5)
    assert lookup.next(now=1.5) == Wait(4)
    opened[peer(1)] = 3.5
    assert lookup.next(now=4) == Wait(4.5)
    assert lookup.next(now=4.5) == Wait(5.5)
    assert {asked_at for _, asked_at in looks} == {0}, "it was asked once"
    assert found(lookup.next(now=5.5)) == [2]
    assert lookup.late == (peer(1),)


def test_who_was_not_given_the_time_to_answer_is_not_late() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2], soft=1, duration=0.5)
    assert lookup.next(now=0) == ask((1, 0.5), (2, 0.5))
    assert lookup.next(now=0.1) == Wait(0.5)
    ended = outcome(lookup.next(now=0.5))
    assert (ended.ending, ended.late, lookup.late) == (Ending.DEADLINE, 2, ())


def test_a_peer_that_failed_is_replaced_in_the_window_and_never_in_the_result() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2, 3], k=2, alpha=2, beta=2)
    assert lookup.next(0) == ask((1, 5), (2, 5))
    lookup.on_failure(peer(1), Failure.UNREACHABLE, 0)
    assert lookup.next(0) == ask((3, 5))
    lookup.on_reply(peer(2), closer(), 0)
    lookup.on_reply(peer(3), closer(1), 0)
    assert found(lookup.next(0)) == [2, 3]


def test_who_could_take_the_place_of_one_that_fails_later_is_told_the_silent_last() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2, 3, 4], k=1, alpha=4, beta=1)
    lookup.next(0)
    lookup.on_failure(peer(1), Failure.UNREACHABLE, 0)
    lookup.next(0)
    lookup.next(1)
    lookup.on_reply(peer(3), closer(7, 6), 1)
    ended = outcome(lookup.next(1))
    assert (ended.closest, ended.others) == ((peer(3),), (peer(4), peer(6), peer(7), peer(2)))


def test_without_anybody_to_ask_it_is_over_at_once() -> None:
    assert outcome(tiny_lookup(target=0, seeds=[]).next(0)) == Outcome(
        closest=(), ending=Ending.NOBODY, asked=0, answered=0, failed=0, late=0
    )


def test_when_everybody_failed_nobody_was_found() -> None:
    lookup = tiny_lookup(target=0, seeds=[1])
    lookup.next(0)
    lookup.on_failure(peer(1), Failure.SILENT, 5)
    result = outcome(lookup.next(5))
    assert (result.closest, result.ending, result.complete) == ((), Ending.NOBODY, False)


@pytest.mark.scenario("L17", "L14")
def test_the_own_id_is_never_asked_and_never_found() -> None:
    lookup = tiny_lookup(target=0, seeds=[0, 1], own=0)
    assert lookup.next(0) == ask((1, 5))
    lookup.on_reply(peer(1), closer(0, 1, 1), 0)
    assert found(lookup.next(0)) == [1]


def test_a_lookup_shows_its_state_on_one_line() -> None:
    lookup = tiny_lookup(target=0b1010_0101, seeds=[1, 2, 3, 4], k=3, alpha=3)
    lookup.next(0)
    lookup.on_reply(peer(1), closer(), 0)
    lookup.on_failure(peer(3), Failure.SILENT, 0)
    assert repr(lookup) == "<Lookup 00a5 asked=1 late=0 answered=1 failed=1 nearest=1/3>"


@pytest.mark.scenario("L14")
def test_remembered_candidates_are_bounded_and_nearer_ones_push_out_farther_ones() -> None:
    lookup = tiny_lookup(target=0, seeds=[100, 101, 102], k=1, alpha=1, candidates=3)
    assert lookup.next(0) == ask((100, 5))
    lookup.on_reply(peer(100), closer(50, 120, 60), 0)  # 102, then 101 make room; 120 is farther than all
    assert lookup.next(0) == ask((50, 5))
    lookup.on_failure(peer(50), Failure.SILENT, 0)
    assert lookup.next(0) == ask((60, 5))
    lookup.on_reply(peer(60), closer(1, 2, 3), 0)  # all three that are remembered are final now
    assert found(lookup.next(0)) == [60]


@pytest.mark.parametrize("stranger", [1, 2, 4, 77], ids=["answered", "failed", "not asked yet", "never heard of"])
def test_an_input_from_somebody_who_is_not_awaited_changes_nothing(stranger: int) -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2, 3, 4], k=3, alpha=2)
    lookup.next(0)
    lookup.on_reply(peer(1), closer(), 0)
    lookup.on_failure(peer(2), Failure.SILENT, 0)
    before = repr(lookup)
    lookup.on_reply(peer(stranger), closer(0), 0)
    lookup.on_failure(peer(stranger), Failure.SILENT, 0)
    assert repr(lookup) == before


def test_an_input_after_the_end_changes_nothing() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2], duration=1)
    lookup.next(0)
    over = lookup.next(1)
    lookup.on_reply(peer(1), closer(0), 2)
    assert lookup.next(2) == over
    assert outcome(over).closest == ()


# What follows drives lookups through arbitrary networks, delays and failures. The oracle knows everything that was said;
# it checks what holds for any order of events.


@dataclass
class Story:
    """One lookup, driven to its end through a drawn network."""

    lookup: Lookup
    tables: dict[int, list[int]]
    delays: dict[int, float | None]  # None: it fails after the time drawn for failures
    failing: float
    asked: list[int] = field(default_factory=list)
    heard: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    slots: dict[int, float] = field(default_factory=dict)  # who holds one, and until when

    def run(self) -> Outcome:
        events: list[tuple[float, int]] = []
        now = 0.0
        for _ in range(2_000):
            match self.lookup.next(now):
                case Ask(queries):
                    self._start(queries, now, events)
                case Wait(until):
                    assert until > now
                    now = min(until, events[0][0]) if events else until
                    while events and events[0][0] <= now:
                        self._arrive(heapq.heappop(events)[1], now)
                case Done(result):
                    return result
        raise AssertionError("the lookup does not end")

    def _start(self, queries: tuple[Query, ...], now: float, events: list[tuple[float, int]]) -> None:
        for query in queries:
            key = query.peer[0]
            self.asked.append(key)
            delay = self.delays[key]
            due = now + (self.failing if delay is None else delay)
            heapq.heappush(events, (min(due, query.failed), key))
            if due > query.failed:
                self.delays[key] = None
            self.slots[key] = now + self.lookup.limits.soft

    def _arrive(self, key: int, now: float) -> None:
        self.slots.pop(key)
        if self.delays[key] is None:
            self.failed.add(key)
            self.lookup.on_failure(peer(key), Failure.SILENT, now)
        else:
            self.answered.add(key)
            self.heard.update(self.tables[key])
            self.lookup.on_reply(peer(key), closer(*self.tables[key]), now)

    def taken(self, now: float) -> int:
        return sum(until > now for until in self.slots.values())


@st.composite
def stories(draw: st.DrawFn, paths: int = 1) -> Story:
    keys = draw(st.lists(st.integers(0, 254), min_size=1, max_size=25, unique=True))
    some = st.lists(st.sampled_from(keys), max_size=6)
    tables = {key: draw(some) for key in keys}
    delays = {key: draw(st.sampled_from([0.0, 0.1, 0.9, 1.0, 1.5, 4.0, 30.0, None])) for key in keys}
    seeds = draw(st.lists(st.sampled_from(keys), max_size=4))
    k = draw(st.integers(1, 6))
    lookup = tiny_lookup(
        target=draw(st.integers(0, 255)),
        seeds=seeds,
        k=k,
        alpha=draw(st.integers(1, 4)),
        beta=draw(st.integers(1, k)),
        duration=draw(st.sampled_from([2.0, 8.0, 1000.0])),
        disjoint_paths=paths,
    )
    return Story(lookup, tables, delays, draw(st.sampled_from([0.0, 0.5, 3.0])), heard=set(seeds))


@pytest.mark.scenario("L2", "L11", "L12")
@settings(max_examples=examples(600))
@given(st.integers(1, 4).flatmap(stories))
def test_whatever_the_order_of_answers_failures_and_silence(story: Story) -> None:
    result = story.run()
    target = story.lookup.goal.key[0]
    nearest = [each[0] for each in result.closest]
    k = story.lookup.limits.k

    assert len(set(story.asked)) == len(story.asked), "nobody is asked twice"
    assert nearest == sorted(story.answered, key=lambda key: key ^ target)[:k], "every answer counts, late ones too"
    assert not set(nearest) & story.failed
    assert (result.asked, result.answered, result.failed) == (len(story.asked), len(story.answered), len(story.failed))
    if result.ending is Ending.CONVERGED:
        reach = nearest[-1] ^ target if len(nearest) == k else 256
        nearer = {key for key in story.heard if key ^ target < reach}
        assert nearer <= set(story.asked), "nobody who might be nearer was left out"
        waiting = nearer - story.answered - story.failed
        assert waiting <= set(story.slots), "who is left is late"
        assert result.late >= len(waiting)


@pytest.mark.scenario("L12", "L13")
@settings(max_examples=examples(300))
@given(stories())
def test_no_more_than_alpha_hold_a_slot_before_the_beta_nearest_have_answered(story: Story) -> None:
    lookup, limits, target = story.lookup, story.lookup.limits, story.lookup.goal.key[0]
    inner = lookup.next

    def watched(now: float) -> Step:
        step = inner(now)
        if isinstance(step, Ask):
            live = sorted(story.heard - story.failed, key=lambda key: key ^ target)
            on_time = [key for key in live if key in story.answered or story.slots.get(key, now + 1) > now]
            if not all(key in story.answered for key in on_time[: limits.beta]):
                assert story.taken(now) + len(step.queries) <= limits.alpha
        return step

    lookup.next = watched  # type: ignore[method-assign]
    story.run()


@pytest.mark.scenario("L13")
@settings(max_examples=examples(200))
@given(stories())
def test_a_silent_peer_never_keeps_others_waiting(story: Story) -> None:
    """While a slot is free and the window holds somebody who was not asked, next() asks."""
    lookup = story.lookup
    inner = lookup.next

    def watched(now: float) -> Step:
        step = inner(now)
        if isinstance(step, Wait):
            window = sorted(story.heard - story.failed, key=lambda key: key ^ lookup.goal.key[0])
            window = [key for key in window if key in story.answered or story.slots.get(key, now + 1) > now]
            unasked = [key for key in window[: lookup.limits.k] if key not in story.asked]
            assert not unasked or story.taken(now) >= lookup.limits.alpha
        return step

    lookup.next = watched  # type: ignore[method-assign]
    story.run()


@pytest.mark.scenario("L2")
@settings(max_examples=examples(60))
@given(st.sets(st.integers(0, 254), min_size=2, max_size=120), st.integers(0, 255), st.integers(1, 20), st.randoms())
def test_where_everybody_knows_its_neighbours_and_somebody_in_each_bucket_the_k_nearest_are_found(
    keys: set[int], target: int, k: int, rng: random.Random
) -> None:
    def answer(key: int) -> list[int]:
        others = [other for other in keys if other != key]
        known = set(sorted(others, key=lambda other: other ^ key)[:k])
        for bucket in range(8):
            members = [other for other in others if TINY.common_prefix(key, other) == bucket]
            known.update(rng.sample(members, min(1, len(members))))
        return sorted(known, key=lambda other: other ^ target)[:k]

    lookup = tiny_lookup(target=target, seeds=[min(keys)], k=k, alpha=3, beta=min(3, k))
    story = Story(lookup, {key: answer(key) for key in keys}, dict.fromkeys(keys, 0.1), failing=0, heard={min(keys)})
    assert [each[0] for each in story.run().closest] == sorted(keys, key=lambda key: key ^ target)[:k]
