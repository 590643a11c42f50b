"""How often a node looks out for who is missed."""

from __future__ import annotations

from random import Random

import pytest

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import Failure
from p2pkad.core.peers import PeerId
from p2pkad.node.clock import Clock
from p2pkad.node.lookout import TURN, Lookout
from p2pkad.node.membership import Membership


def peer(number: int) -> PeerId:
    return PeerId(b"\x12\x20" + number.to_bytes(32, "big"))


@pytest.mark.parametrize(("size", "turns"), [(2, 1), (20, 1), (40, 2), (100, 5)])
def test_the_more_others_look_out_the_longer_each_pauses(size: int, turns: int) -> None:
    clock = Clock(monotonic=lambda: 0.0, wall=lambda: 0.0)
    membership = Membership(peer(0), KademliaConfig(bucket_size=size), clock, lambda event: None)
    lookout = Lookout(membership, clock, Random(1))
    for number in range(1, size + 2):
        membership.answered(peer(number), None, told_nobody=False)
    membership.failed(peer(1), Failure.MALFORMED)
    assert len(membership.table) == size
    assert (turns - 0.2) * TURN < lookout.due() < (turns + 0.2) * TURN
    for number in range(2, size + 2):
        membership.failed(peer(number), Failure.SILENT)
    assert lookout.due() < 1.2 * TURN  # nobody answers any more
