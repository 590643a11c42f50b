from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest

from p2pkad.core.goals import (
    ADDRESSES_OF_ONE_ANSWER,
    ANSWERS,
    MOST_ADDRESSES,
    PROVIDERS_OF_ONE_ANSWER,
    ClosestPeers,
    Failure,
    OnePeer,
    Providers,
    Value,
)
from p2pkad.core.messages import FindNode, FindNodeReply, GetProviders, GetProvidersReply, GetValue, GetValueReply
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.core.records import Record

ALICE, BOB, CAROL = (PeerId(name) for name in (b"alice", b"bob", b"carol"))
HOME, WORK = (Address(text.encode(), text, Scope.PUBLIC) for text in ("home", "work"))


def largest(values: Sequence[bytes]) -> int:
    return values.index(max(values))


def value(content: bytes | None) -> GetValueReply:
    return GetValueReply(b"key", None if content is None else Record(b"key", content), ())


def providers(*infos: PeerInfo) -> GetProvidersReply:
    return GetProvidersReply(b"key", infos, ())


def test_closest_peers_asks_find_node_and_is_never_satisfied_early() -> None:
    goal = ClosestPeers(b"key")
    assert goal.request == FindNode(b"key")
    goal.on_failure(ALICE, Failure.SILENT)
    assert not goal.fruitful
    goal.on_reply(ALICE, FindNodeReply(()))
    assert goal.fruitful
    assert not goal.reached


def test_one_peer_is_heard_of_with_addresses_and_reached_in_person() -> None:
    goal = OnePeer(CAROL)
    goal.on_reply(ALICE, FindNodeReply((PeerInfo(CAROL), PeerInfo(BOB, (HOME,)))))
    assert not goal.fruitful
    goal.on_reply(ALICE, FindNodeReply((PeerInfo(CAROL, (HOME,)),)))
    goal.on_reply(BOB, FindNodeReply((PeerInfo(CAROL, (HOME, WORK)),)))
    assert goal.info == PeerInfo(CAROL, (HOME, WORK))
    assert goal.fruitful
    assert not goal.reached
    goal.on_reply(CAROL, FindNodeReply(()))
    assert goal.reached


@pytest.mark.parametrize(
    ("reason", "reached"), [(Failure.REFUSED, True), (Failure.UNREACHABLE, False), (Failure.SILENT, False)]
)
def test_a_client_that_refuses_in_person_is_reached(reason: Failure, reached: bool) -> None:
    goal = OnePeer(CAROL)
    goal.on_failure(ALICE, Failure.REFUSED)
    assert not goal.reached
    goal.on_failure(CAROL, reason)
    assert goal.reached is reached


def test_the_best_value_wins_whoever_brings_it_first() -> None:
    goal = Value(b"key", quorum=0, select=largest)
    assert (goal.request, goal.best, goal.holders, goal.fruitful) == (GetValue(b"key"), None, (), False)
    for peer, content in ((ALICE, b"1"), (BOB, b"2"), (CAROL, b"1")):
        goal.on_reply(peer, value(content))
    goal.on_failure(PeerId(b"dave"), Failure.SILENT)
    assert (goal.best, goal.holders, goal.outdated()) == (Record(b"key", b"2"), (BOB,), (ALICE, CAROL))
    assert goal.fruitful
    assert not goal.reached, "quorum 0 is a full lookup"


@pytest.mark.scenario("V7")
def test_a_quorum_counts_equal_best_answers_and_the_own_copy() -> None:
    goal = Value(b"key", quorum=2, select=largest, own=(ALICE, Record(b"key", b"1")))
    goal.on_reply(BOB, value(None))
    goal.on_reply(BOB, value(b"0"))
    assert not goal.reached
    goal.on_reply(CAROL, value(b"1"))
    assert goal.reached
    assert goal.holders == (ALICE, CAROL)
    goal.on_reply(PeerId(b"dave"), value(b"2"))
    assert not goal.reached, "a better value begins to count anew"


@pytest.mark.scenario("H4")
@pytest.mark.parametrize("told", [b"a worse one", b"the best"])
def test_of_the_values_that_many_tell_one_is_kept(told: bytes) -> None:
    size, many = 1 << 20, 30
    goal = Value(b"key", quorum=0, select=largest, own=(ALICE, Record(b"key", b"the best" + bytes(size))))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(many):
            goal.on_reply(PeerId(b"%d" % number), value(told + bytes(size)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept - before < 2 * size
    assert len(goal.holders) + len(goal.outdated()) == 1 + many


@pytest.mark.scenario("V4")
def test_who_gave_what_was_the_best_until_then_is_outdated() -> None:
    goal = Value(b"key", quorum=0, select=largest)
    for peer, content in ((ALICE, b"1"), (BOB, b"1"), (CAROL, b"2")):
        goal.on_reply(peer, value(content))
    assert (goal.holders, goal.outdated(), len(goal.copies)) == ((CAROL,), (ALICE, BOB), 1)


def place(number: int) -> Address:
    return Address(b"%d" % number, str(number), Scope.PUBLIC)


@pytest.mark.scenario("H4")
def test_of_the_providers_that_liars_tell_so_many_are_kept() -> None:
    goal = Providers(b"key", count=None)
    for liar in range(ANSWERS + 1):
        assert len(goal.found) == liar * PROVIDERS_OF_ONE_ANSWER, "each leaves room for what others tell"
        names = [PeerId(b"%d/%d" % (liar, number)) for number in range(2 * PROVIDERS_OF_ONE_ANSWER)]
        goal.on_reply(ALICE, providers(*(PeerInfo(name) for name in names)))
    assert len(goal.found) == ANSWERS * PROVIDERS_OF_ONE_ANSWER
    goal.on_reply(ALICE, providers(PeerInfo(PeerId(b"0/0"), (HOME,))))
    assert goal.found[PeerId(b"0/0")].addresses == (HOME,), "of those that are known more is heard"


def test_of_the_providers_that_it_has_itself_all_are_found() -> None:
    known = [PeerInfo(PeerId(b"%d" % number)) for number in range(2 * PROVIDERS_OF_ONE_ANSWER)]
    assert len(Providers(b"key", count=None, known=known).found) == len(known)


@pytest.mark.scenario("H4")
def test_of_the_addresses_that_liars_tell_so_many_are_kept() -> None:
    goal, many = Providers(b"key", count=None), 64
    for liar in range(ANSWERS + 1):
        kept = [len(info.addresses) for info in goal.found.values()]
        assert sum(kept) == liar * ADDRESSES_OF_ONE_ANSWER, "each leaves room for what others tell"
        told = [
            PeerInfo(
                PeerId(b"%d/%d" % (liar // 8, number)),
                tuple(place((liar * 1000 + number) * many + each) for each in range(many)),
            )
            for number in range(ADDRESSES_OF_ONE_ANSWER // many + 5)
        ]
        goal.on_reply(ALICE, providers(*told))
    kept = [len(info.addresses) for info in goal.found.values()]
    assert (max(kept), sum(kept)) == (MOST_ADDRESSES, ANSWERS * ADDRESSES_OF_ONE_ANSWER)
    one = OnePeer(BOB)
    for number in range(MOST_ADDRESSES + 5):
        one.on_reply(ALICE, FindNodeReply((PeerInfo(BOB, (place(number),)),)))
    assert one.info is not None
    assert len(one.info.addresses) == MOST_ADDRESSES


@pytest.mark.scenario("P5")
def test_providers_are_counted_once_and_have_all_addresses_that_anybody_tells() -> None:
    goal = Providers(b"key", count=2)
    assert goal.request == GetProviders(b"key")
    assert not goal.fruitful
    goal.on_reply(ALICE, providers(PeerInfo(BOB)))
    goal.on_reply(BOB, providers(PeerInfo(BOB, (HOME,))))
    goal.on_reply(CAROL, providers(PeerInfo(BOB, (WORK,)), PeerInfo(BOB)))
    goal.on_failure(CAROL, Failure.SILENT)
    assert goal.found == {BOB: PeerInfo(BOB, (HOME, WORK))}
    assert goal.fruitful
    assert not goal.reached
    goal.on_reply(CAROL, providers(PeerInfo(CAROL)))
    assert goal.reached


def test_providers_without_a_count_are_all_collected() -> None:
    goal = Providers(b"key", count=None, known=[PeerInfo(ALICE)])
    goal.on_reply(BOB, FindNodeReply((PeerInfo(CAROL),)))
    assert list(goal.found) == [ALICE]
    assert not goal.reached
