"""The lookups of other implementations, as settings of this one.

go waits for the 3 nearest and then asks the rest of the k, rust goes on with 3 at a time until the k nearest have answered,
js does so with 10 at a time on each of 10 disjoint paths. None of them goes on without a silent peer before it has failed.
py-libp2p asks in rounds and waits for the slowest of each; there is no setting for that.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

import pytest

from p2pkad.core.goals import ClosestPeers
from p2pkad.core.keyspace import SHA256
from p2pkad.core.lookup import Ask, Done, Lookup, LookupLimits, Outcome, Wait
from p2pkad.core.messages import FindNodeReply
from p2pkad.core.peers import PeerId, PeerInfo

GO = LookupLimits(alpha=10, beta=3, soft=10.0, hard=10.0)
RUST = LookupLimits(alpha=3, beta=20, soft=10.0, hard=10.0)
JS = LookupLimits(alpha=100, beta=20, disjoint_paths=10, soft=10.0, hard=10.0)
OURS = LookupLimits()

PEERS = 400
KNOWN_FAR_AWAY = 40
SEEDS = 30


@dataclass
class Run:
    """One lookup in a network where everybody knows the nearest and some others, and answers after 50 to 150 ms."""

    outcome: Outcome
    expected: tuple[PeerId, ...]
    most_in_flight: int
    seconds: float


def run(limits: LookupLimits, seed: int = 1) -> Run:
    dice = random.Random(seed)
    peers = [PeerId(dice.randbytes(34)) for _ in range(PEERS)]
    target = SHA256.key(b"target")
    nearest = sorted(peers, key=lambda peer: SHA256.key(peer) ^ target)
    knows = {peer: {*dice.sample(peers, KNOWN_FAR_AWAY), *nearest_to(peer, peers)} - {peer} for peer in peers}
    lookup = Lookup(ClosestPeers(b"target"), dice.sample(nearest[100:], SEEDS), limits, PeerId(b"own"), now=0)
    now, most, on_the_way = 0.0, 0, list[tuple[float, PeerId]]()
    while True:
        match lookup.next(now):
            case Ask(queries):
                for query in queries:
                    heapq.heappush(on_the_way, (now + dice.uniform(0.05, 0.15), query.peer))
                most = max(most, len(on_the_way))
            case Wait():
                now, peer = heapq.heappop(on_the_way)
                told = sorted(knows[peer], key=lambda each: SHA256.key(each) ^ target)[: limits.k]
                lookup.on_reply(peer, FindNodeReply(tuple(map(PeerInfo, told))), now)
            case Done(outcome):
                return Run(outcome, tuple(nearest[: limits.k]), most, now)


def nearest_to(peer: PeerId, peers: list[PeerId]) -> list[PeerId]:
    own = SHA256.key(peer)
    return sorted(peers, key=lambda each: SHA256.key(each) ^ own)[:21]


@pytest.mark.scenario("L2")
@pytest.mark.parametrize("limits", [OURS, GO, RUST, JS], ids=["ours", "go", "rust", "js"])
def test_each_finds_the_k_nearest(limits: LookupLimits) -> None:
    ran = run(limits)
    assert ran.outcome.closest == ran.expected
    assert ran.outcome.complete


def test_they_differ_in_what_they_have_in_flight_and_in_the_time_they_take() -> None:
    go, rust, js = run(GO), run(RUST), run(JS)
    assert rust.most_in_flight == 3
    assert go.most_in_flight <= GO.alpha + GO.k
    assert js.most_in_flight > go.most_in_flight
    assert js.outcome.asked > go.outcome.asked
    assert go.seconds < rust.seconds
