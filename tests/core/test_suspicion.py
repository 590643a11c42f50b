"""Who is put out, and when nobody is."""

from __future__ import annotations

import pytest

from p2pkad.core.peers import PeerId
from p2pkad.core.suspicion import Suspicion

ONE, TWO, THREE = PeerId(b"1"), PeerId(b"2"), PeerId(b"3")


@pytest.mark.scenario("L5")
def test_a_suspect_is_asked_again_once_somebody_else_has_answered() -> None:
    suspicion = Suspicion()
    suspicion.doubt(ONE)
    assert (suspicion.to_ask(), suspicion.is_ripe(ONE)) == ([], False)
    suspicion.answered(TWO)
    assert (suspicion.to_ask(), suspicion.is_ripe(ONE)) == ([ONE], True)
    suspicion.answered(ONE)
    assert (suspicion.to_ask(), len(suspicion)) == ([], 0)


@pytest.mark.scenario("L5")
def test_before_that_the_witness_is_asked() -> None:
    suspicion = Suspicion()
    suspicion.answered(TWO)
    suspicion.doubt(ONE)
    assert (suspicion.to_ask(), suspicion.is_ripe(ONE)) == ([TWO], False)
    assert not suspicion.blind


@pytest.mark.scenario("L5")
def test_with_everybody_silent_nobody_is_ripe_and_each_suspect_is_asked_in_turn() -> None:
    suspicion = Suspicion()
    suspicion.answered(TWO)
    for each in (ONE, TWO, THREE, ONE, TWO, THREE):
        suspicion.failed(each)
        suspicion.doubt(each)
        assert not any(map(suspicion.is_ripe, (ONE, TWO, THREE)))
    assert suspicion.blind
    assert suspicion.to_ask() == []
    assert [suspicion.next_suspect() for _ in range(4)] == [ONE, TWO, THREE, ONE]
    assert repr(suspicion) == "<Suspicion suspects=3 witness=None blind>"


@pytest.mark.scenario("L5")
def test_the_first_that_answers_again_shows_that_the_network_is_back() -> None:
    suspicion = Suspicion()
    for each in (ONE, TWO, THREE):
        suspicion.doubt(each)
    suspicion.answered(TWO)
    assert not suspicion.blind
    assert suspicion.to_ask() == [ONE, THREE]


def test_who_is_trusted_is_a_suspect_no_more() -> None:
    suspicion = Suspicion()
    suspicion.doubt(ONE)
    suspicion.trust(ONE)
    suspicion.trust(TWO)
    assert len(suspicion) == 0
    assert suspicion.next_suspect() is None
    assert not suspicion.blind


def test_a_doubt_that_is_repeated_does_not_begin_anew() -> None:
    suspicion = Suspicion()
    suspicion.doubt(ONE)
    suspicion.answered(TWO)
    suspicion.doubt(ONE)
    assert suspicion.is_ripe(ONE)
