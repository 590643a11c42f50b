"""Whom something is under way with."""

from __future__ import annotations

import pytest

from p2pkad.core.peers import PeerId
from p2pkad.core.tally import Tally

ALICE, BOB = PeerId(b"alice"), PeerId(b"bob")


def test_a_peer_counts_until_the_last_one_is_done_with_it() -> None:
    tally = Tally()
    with tally.during(ALICE):
        with tally.during(ALICE), tally.during(BOB):
            assert len(tally) == 2
        assert ALICE in tally
        assert BOB not in tally
    assert ALICE not in tally
    assert len(tally) == 0


def test_what_is_to_follow_follows_whatever_happens() -> None:
    tally = Tally()
    left: list[bool] = []

    def fail() -> None:
        with tally.during(ALICE, lambda: left.append(ALICE in tally)):
            assert not left
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()
    assert left == [False]
