"""Disjoint paths, in the 8-bit space of test_lookup: one that liars lead hides nothing that another one finds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.core.goals import Failure, Providers, Value
from p2pkad.core.lookup import Ask, Done, Ending, Lookup, LookupLimits, Outcome, Wait
from p2pkad.core.messages import GetProvidersReply, GetValueReply
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from tests.core.test_lookup import OWN, TINY, Story, ask, closer, found, peer, stories, tiny_lookup
from tests.support.generated import examples

LIAR, HONEST, HOLDER = 0b1000_0000, 0b1000_0001, 0b0010_0000
SYBILS = [0b0001, 0b0010, 0b0011]
RECORD = Record(b"\0", b"value")


@dataclass
class Network:
    """Peers that answer at once with those they know; holders with the record, too."""

    knows: dict[int, list[int]]
    holders: set[int] = field(default_factory=lambda: {HOLDER})
    asked: list[int] = field(default_factory=list)

    def get(self, seeds: list[int], **limits: int) -> tuple[Value, Outcome]:
        """Look the record up; it is the one with the key 0."""
        goal = Value(b"\0", 0, lambda values: 0)
        chosen = LookupLimits(**{"k": 3, "alpha": 2, "beta": 2, **limits})
        lookup = Lookup(goal, [peer(key) for key in seeds], chosen, peer(OWN), now=0, space=TINY)
        while True:
            match lookup.next(0):
                case Ask(queries):
                    for query in queries:
                        key = query.peer[0]
                        self.asked.append(key)
                        told = tuple(PeerInfo(peer(each)) for each in self.knows.get(key, []))
                        record = RECORD if key in self.holders else None
                        lookup.on_reply(query.peer, GetValueReply(b"\0", record, told), 0)
                case Done(result):
                    return goal, result
                case Wait():
                    raise AssertionError(lookup)


def liars_and_the_truth() -> dict[int, list[int]]:
    """A liar knows of nobody but its like, and they are nearer to the target than anybody honest."""
    return {LIAR: SYBILS, **dict.fromkeys(SYBILS, SYBILS), HONEST: [HOLDER], HOLDER: [HONEST]}


@pytest.mark.scenario("L11")
def test_a_lying_path_cannot_hide_a_record_that_another_path_finds() -> None:
    alone, both = Network(liars_and_the_truth()), Network(liars_and_the_truth())
    assert alone.get([LIAR, HONEST], disjoint_paths=1)[0].best is None, "on one path the liars are the k nearest"
    assert both.get([LIAR, HONEST], disjoint_paths=2)[0].best == RECORD
    assert HOLDER in both.asked


@pytest.mark.scenario("L11")
def test_naming_a_peer_does_not_take_it_away_from_the_other_paths() -> None:
    """The liar names the holder before anybody else does, with so many nearer ones that its own path never asks it."""
    network = Network({**liars_and_the_truth(), LIAR: [*SYBILS, HOLDER, HONEST], HONEST: [0b0100_0000], 0b0100_0000: [HOLDER]})
    assert network.get([LIAR, HONEST], disjoint_paths=2)[0].best == RECORD
    assert len(set(network.asked)) == len(network.asked)


@pytest.mark.scenario("L11")
@settings(max_examples=examples(300))
@given(
    liars=st.dictionaries(st.sampled_from([LIAR, *SYBILS]), st.lists(st.sampled_from([*SYBILS, HOLDER]))),
    chain=st.lists(st.integers(0b0100_0000, 0b0111_1111), unique=True, max_size=8),
    more=st.lists(st.integers(0b1000_0010, 0b1111_1110), unique=True, max_size=6),
    paths=st.integers(2, 4),
    alpha=st.integers(1, 5),
)
def test_whatever_liars_name_the_other_paths_go_on(
    liars: dict[int, list[int]], chain: list[int], more: list[int], paths: int, alpha: int
) -> None:
    steps = [HONEST, *sorted(chain, reverse=True), HOLDER]
    network = Network({**dict(zip(steps, [[each] for each in steps[1:]], strict=False)), **liars})
    goal, result = network.get([LIAR, HONEST, *more], disjoint_paths=paths, alpha=alpha)
    assert goal.best == RECORD
    assert result.ending is Ending.CONVERGED
    assert len(set(network.asked)) == len(network.asked)


@pytest.mark.scenario("L11")
def test_the_answer_of_a_peer_tells_its_own_path_alone_of_others() -> None:
    lookup = tiny_lookup(target=0, seeds=[0b1000_0000, 0b1000_0001], disjoint_paths=2, alpha=2, k=1, beta=1)
    assert lookup.next(0) == ask((0b1000_0000, 5), (0b1000_0001, 5))
    lookup.on_reply(peer(0b1000_0000), closer(1), 0)
    lookup.on_reply(peer(0b1000_0001), closer(2), 0)
    assert lookup.next(0) == ask((2, 5), (1, 5))  # on one path 1 alone would have been asked
    lookup.on_reply(peer(1), closer(), 0)
    lookup.on_reply(peer(2), closer(1), 0)
    assert found(lookup.next(0)) == [1], "the nearest of all paths"


@pytest.mark.scenario("L11")
def test_who_was_asked_on_one_path_counts_on_another_as_what_came_of_it() -> None:
    lookup = tiny_lookup(target=0, seeds=[8, 9], disjoint_paths=2, alpha=2, k=1, beta=1)
    lookup.next(0)
    lookup.on_reply(peer(8), closer(1), 0)
    assert lookup.next(0) == ask((1, 5))
    lookup.on_reply(peer(9), closer(1, 2), 0)
    assert lookup.next(0) == Wait(1), "the second path waits for what the first one asked"
    lookup.on_failure(peer(1), Failure.UNREACHABLE, 0)
    assert lookup.next(0) == ask((2, 5)), "it has failed for both"


def test_paths_share_alpha_while_they_are_under_way() -> None:
    seeds = list(range(1, 21))
    lookup = tiny_lookup(target=0, seeds=seeds, disjoint_paths=3, alpha=4, k=9, beta=9)
    assert [each.peer[0] for each in asked(lookup, 0)] == [1, 4, 2, 3], "the first path has one more"
    for key in (2, 3):
        lookup.on_reply(peer(key), closer(), 0)
    assert [each.peer[0] for each in asked(lookup, 0)] == [5, 8, 6], "who chose second chooses first, and has one more"


def test_each_path_has_a_slot_however_small_alpha_is() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2, 3, 4, 5, 6], disjoint_paths=3, alpha=1)
    assert [each.peer[0] for each in asked(lookup, 0)] == [1, 2, 3]


@pytest.mark.scenario("L11", "L13")
def test_a_path_of_silent_peers_takes_no_slot_of_another() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2, 3, 4, 5, 6, 7, 8], disjoint_paths=2, alpha=2, k=4, beta=4)
    assert [each.peer[0] for each in asked(lookup, 0)] == [1, 2]
    for key, following in ((2, 4), (4, 6), (6, 8)):
        lookup.on_reply(peer(key), closer(), 0)
        assert [each.peer[0] for each in asked(lookup, 0)] == [following], "1 says nothing, and keeps its own slot only"


def test_a_path_that_has_come_to_rest_leaves_its_slots_to_the_others() -> None:
    lookup = tiny_lookup(target=0, seeds=[1, 2, 4, 6], disjoint_paths=2, alpha=2, k=4, beta=4)
    assert [each.peer[0] for each in asked(lookup, 0)] == [1, 2]
    lookup.on_reply(peer(1), closer(), 0)
    assert [each.peer[0] for each in asked(lookup, 0)] == [4]
    lookup.on_reply(peer(4), closer(), 0)
    lookup.on_reply(peer(2), closer(10, 12), 0)
    assert [each.peer[0] for each in asked(lookup, 0)] == [6, 10], "both slots are the second path's"


@pytest.mark.scenario("L11", "P3")
def test_what_all_paths_bring_is_one_result() -> None:
    goal = Providers(b"\0", None)
    limits = LookupLimits(k=3, alpha=2, beta=2, disjoint_paths=2)
    lookup = Lookup(goal, [peer(8), peer(9)], limits, peer(OWN), now=0, space=TINY)
    lookup.next(0)
    for holder, provider in ((8, 100), (9, 101)):
        lookup.on_reply(peer(holder), GetProvidersReply(b"\0", (PeerInfo(peer(provider)),), ()), 0)
    assert found(lookup.next(0)) == [8, 9]
    assert list(goal.found) == [peer(100), peer(101)]


def test_liars_cannot_make_a_path_forget_what_another_has_heard() -> None:
    lookup = tiny_lookup(target=0, seeds=[200, 201], disjoint_paths=2, alpha=2, k=1, beta=1, candidates=3)
    lookup.next(0)
    lookup.on_reply(peer(201), closer(100), 0)
    lookup.on_reply(peer(200), closer(*range(1, 20)), 0)
    assert 100 in [each.peer[0] for each in asked(lookup, 0)]


def test_with_more_paths_than_seeds_some_have_nobody_to_ask() -> None:
    lookup = tiny_lookup(target=0, seeds=[1], disjoint_paths=4)
    lookup.next(0)
    lookup.on_reply(peer(1), closer(2), 0)
    lookup.next(0)
    lookup.on_reply(peer(2), closer(), 0)
    assert found(lookup.next(0)) == [1, 2]


@pytest.mark.scenario("L11")
@settings(max_examples=examples(200))
@given(st.integers(1, 4).flatmap(stories))
def test_all_paths_together_hold_alpha_slots_and_one_for_each_path_that_would_have_none(story: Story) -> None:
    """beta as large as k: no path asks the rest of its window at once."""
    limits = story.lookup.limits
    story.lookup.limits = replace(limits, beta=limits.k)
    inner = story.lookup.next

    def watched(now: float) -> Ask | Wait | Done:
        step = inner(now)
        if isinstance(step, Ask):
            assert story.taken(now) + len(step.queries) <= limits.alpha + limits.disjoint_paths - 1
        return step

    story.lookup.next = watched  # type: ignore[method-assign]
    story.run()


def asked(lookup: Lookup, now: float) -> tuple:  # type: ignore[type-arg]
    step = lookup.next(now)
    assert isinstance(step, Ask), step
    return step.queries
