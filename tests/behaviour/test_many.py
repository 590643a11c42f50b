"""One server with a great many peers connected to it, who all ask at the same moment."""

from __future__ import annotations

from hashlib import sha256

import pytest
import trio

from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.net.base import Network, Request
from p2pkad.wire.addresses import parse_peer
from tests.behaviour.conftest import BehaviourNetwork

SIMULATED = 1_000
REAL = 40
"""Hosts in one process with the server. `make bench` has 1,000 of them, in several."""
JOINING_AT_ONCE = 10
ROUNDS = 2
EARLY = 20.0
"""Seconds in which each request is to be answered."""


async def knows_nobody(request: Request) -> FindNodeReply:
    return FindNodeReply(())


@pytest.mark.long
@pytest.mark.scenario("H10")
@pytest.mark.on_real_hosts_too
async def test_all_who_are_connected_are_answered_and_stay(network: BehaviourNetwork) -> None:
    many = REAL if network.real else SIMULATED
    (server,) = await network.start(max_connections=many + 16)
    there = parse_peer(server.addresses[0])
    peers: list[Network] = []
    answers: list[FindNodeReply] = []

    async def ask(peer: Network, key: bytes) -> None:
        response = await peer.request(there, FindNode(key), trio.current_time() + EARLY)
        assert isinstance(response.message, FindNodeReply)
        answers.append(response.message)

    async def join(turn: trio.CapacityLimiter) -> None:
        async with turn:
            peer = await network.start_peer(knows_nobody)
            await ask(peer, bytes(peer.id))
            peers.append(peer)

    async with trio.open_nursery() as nursery:
        turn = trio.CapacityLimiter(JOINING_AT_ONCE)
        for _ in range(many):
            nursery.start_soon(join, turn)
    opened = {peer.id: peer.connection(there.id) for peer in peers}
    for number in range(ROUNDS):
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(ask, peer, sha256(bytes(peer.id) + bytes([number])).digest())
    assert len(answers) == many * (1 + ROUNDS)
    assert server.stats().peers == many
    assert {peer.id: peer.connection(there.id) for peer in peers} == opened, "nobody had to come again"
