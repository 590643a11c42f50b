"""Whether a node is well, and the sentence that says why."""

from __future__ import annotations

from base64 import b32encode
from dataclasses import replace

import pytest

from p2pkad import PeerId
from p2pkad.events import BootstrapEnded
from p2pkad.ops.health import HealthWatch
from tests.ops.conftest import ALICE, BOB, OWN, FakeNode

ELSEWHERE = (f"/ip4/192.0.2.1/tcp/1/p2p/{ALICE}", f"/ip4/192.0.2.2/tcp/1/p2p/{BOB}")


def as_cid(peer: PeerId) -> str:
    """A peer id as the specification has it in text since CIDs: in base32, with the codec of keys before it."""
    return "b" + b32encode(b"\x01\x72" + peer).decode().lower().rstrip("=")


def judged(node: FakeNode, *attempts: BootstrapEnded) -> tuple[bool, bool, str]:
    with HealthWatch(node) as watch:
        for attempt in attempts:
            node.tell(attempt)
        health = watch.health()
    return health.live, health.ready, health.reason


@pytest.mark.scenario("L5")
@pytest.mark.parametrize(
    ("node", "ready", "reason"),
    [
        (FakeNode(table=1), True, "1 peer in the routing table"),
        (FakeNode(table=3, silent=2), True, "3 peers in the routing table"),
        (FakeNode(table=3, silent=3, bootstrap=ELSEWHERE), False, "of 3 peers in the routing table none answers"),
        (FakeNode(table=3, silent=3, mode="client"), False, "of 3 peers in the routing table none answers"),
        (
            FakeNode(table=1, silent=1),
            True,
            "alone: no bootstrap peers are configured, and nobody is there; of 1 peer in the routing table none answers",
        ),
        (FakeNode(table=7, mode="client", listen=()), True, "7 peers in the routing table"),
        (FakeNode(), True, "alone: no bootstrap peers are configured, and nobody is there"),
        (
            FakeNode(bootstrap=(f"/ip4/127.0.0.1/tcp/4001/p2p/{OWN}", f"/ip4/127.0.0.1/tcp/4002/p2p/{as_cid(OWN)}")),
            True,
            "alone: no bootstrap peers are configured, and nobody is there",
        ),
        (
            FakeNode(mode="client"),
            False,
            "no peers in the routing table, and no bootstrap peers: a client alone has nobody to ask",
        ),
        (
            FakeNode(bootstrap=ELSEWHERE),
            False,
            "no peers in the routing table: 2 bootstrap peers asked, and not one has answered yet",
        ),
    ],
)
def test_what_makes_a_node_ready(node: FakeNode, ready: bool, reason: str) -> None:
    assert judged(node) == (True, ready, reason)


def test_a_server_that_nobody_can_reach_is_not_ready() -> None:
    node = FakeNode(table=3)
    node.addresses = ()
    live, ready, reason = judged(node)
    assert (live, ready) == (True, False)
    assert reason == "a server without an address: nobody can reach it; give it one to listen on, or to announce"


@pytest.mark.scenario("H5")
def test_a_node_whose_disk_takes_nothing_is_not_ready_and_says_so() -> None:
    node = FakeNode(table=3)
    node.stats_now = replace(node.stats_now, store_trouble="state.db: the disk is full")
    assert judged(node) == (True, False, "state.db: the disk is full")


def test_bootstrap_peers_that_did_not_answer_are_named_with_what_is_wrong() -> None:
    node = FakeNode(bootstrap=ELSEWHERE)
    failed = BootstrapEnded(at=1.0, tried=2, answered=0, failed=((ALICE, "silent"), (BOB, "refused")))
    assert judged(node, failed) == (
        True,
        False,
        f"no peers in the routing table: no bootstrap peer answered ({ALICE}: silent; {BOB}: refused)",
    )


def test_of_many_only_some_are_named() -> None:
    node = FakeNode(bootstrap=ELSEWHERE)
    failed = BootstrapEnded(at=1.0, tried=9, answered=0, failed=((ALICE, "silent"),) * 9)
    _, _, reason = judged(node, failed)
    assert reason.count(str(ALICE)) == 3
    assert reason.endswith("; and 6 more)")


def test_who_answered_and_is_gone_again_is_told_of() -> None:
    node = FakeNode(bootstrap=ELSEWHERE)
    _, ready, reason = judged(node, BootstrapEnded(at=1.0, tried=2, answered=1))
    assert (ready, reason) == (False, "no peers in the routing table: 1 of 2 bootstrap peers answered, and none is there now")


def test_a_closed_node_is_not_alive() -> None:
    node = FakeNode()
    node.closed = True
    assert judged(node) == (False, False, "the node is closed")


def test_a_watch_that_is_closed_listens_no_more() -> None:
    node = FakeNode()
    judged(node)
    assert not node.listeners
