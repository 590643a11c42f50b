"""Lookups in networks where much goes wrong: dead peers, liars, nonsense, callers who change their mind."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import trio
import trio.testing

from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import (
    AnyReply,
    FindNode,
    FindNodeReply,
    GetValue,
    GetValueReply,
    PingReply,
)
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.errors import NotFound
from p2pkad.events import LookupEnded, LookupEvent
from p2pkad.net.base import Network, Request
from p2pkad.node.service import KademliaService
from p2pkad.testing import open_simulated_network, run_simulated
from p2pkad.validators.opaque import OpaqueValidator
from tests.behaviour.conftest import PATIENCE, BehaviourNetwork
from tests.behaviour.test_networks import acquainted, all_at_once
from tests.support.census import count_tasks

KEY = b"/v/key"
CONTENT = b"\x12\x20" + sha256(b"content").digest()
VALIDATORS = {"v": OpaqueValidator()}


def nearest(ids: list[PeerId], key: bytes, count: int) -> list[PeerId]:
    target = SHA256.key(key)
    return sorted(ids, key=lambda each: SHA256.key(each) ^ target)[:count]


def info(peer: Network | KademliaService) -> PeerInfo:
    network = peer._network if isinstance(peer, KademliaService) else peer
    return PeerInfo(peer.id, network.local_addresses())


# Who is found


@pytest.mark.scenario("L2")
def test_closest_peers_are_the_k_nearest_live_ones_in_order() -> None:
    async def main() -> None:
        async with open_simulated_network(80, seed=5) as net:
            ids = [node.id for node in net.nodes]
            for number in range(8):
                node, key = net.nodes[number * 9], b"key %d" % number
                found = await node.closest_peers(key)
                assert [each.id for each in found] == nearest([each for each in ids if each != node.id], key, 20)
                assert found.complete

    run_simulated(main)


def recall_and_seconds(dead: int) -> tuple[float, float]:
    """Lookups by 20 nodes of a network of 100, of which so many have died a moment ago without a goodbye."""
    recalls, seconds = [], []

    async def main() -> None:
        async with open_simulated_network(100, seed=3) as net:
            askers = net.nodes[0:40:2]
            for node in net.nodes[1 : 2 * dead : 2]:
                await net.crash(node)
            for asker in askers:
                key = bytes(asker.id)[::-1]
                alive = [node.id for node in net.nodes if node is not asker]
                began = trio.current_time()
                found = [each.id for each in await asker.closest_peers(key)]
                seconds.append(trio.current_time() - began)
                assert set(found) <= set(alive)
                recalls.append(len(set(found) & set(nearest(alive, key, 20))) / 20)

    run_simulated(main)
    return sum(recalls) / len(recalls), sum(seconds)


@pytest.mark.long
@pytest.mark.scenario("L13")
def test_with_half_of_the_peers_dead_the_others_are_found_in_less_than_four_times_the_time() -> None:
    recall, seconds = recall_and_seconds(dead=0)
    recall_among_dead, seconds_among_dead = recall_and_seconds(dead=50)
    assert recall == 1.0
    assert recall_among_dead >= recall - 0.05
    assert seconds_among_dead < 4 * seconds


# Liars


def found_among_sybils(paths: int) -> bool:
    """Whether a value is found when the first who is asked names liars only, and they are nearer to it than its holders."""
    found = []

    async def main() -> None:
        options = {"k": 4, "alpha": 1, "beta": 4, "disjoint_paths": paths, "validators": VALIDATORS}
        async with open_simulated_network(60, seed=2, **options) as net:
            sybils: list[PeerInfo] = []

            def denies(request: Request, honest: AnyReply | None = None) -> AnyReply:
                if isinstance(request.message, GetValue):
                    return GetValueReply(request.message.key, None, tuple(sybils))
                return FindNodeReply(tuple(sybils))

            async def sybil(request: Request) -> AnyReply:
                return denies(request)

            sybils += [info(await net.start_peer(sybil)) for _ in range(120)]
            liars = {each.id for each in sybils}
            everybody = [*liars, *(node.id for node in net.nodes)]
            key = next(
                name for name in (b"/v/%d" % each for each in range(100_000)) if set(nearest(everybody, name, 5)) <= liars
            )
            await net.nodes[1].put_value(key, b"value")
            without = [node for node in net.nodes if await node.local_value(key) is None]
            asker = without[0]
            first = nearest([each.id for each in asker.routing_table()], key, 1)[0]
            net.lie(next(node for node in net.nodes if node.id == first), denies)
            try:
                found.append(await asker.get_value(key) == b"value")
            except NotFound:
                found.append(False)

    run_simulated(main)
    return found[0]


@pytest.mark.scenario("L11")
def test_liars_who_are_the_k_nearest_on_one_path_hide_no_value_from_the_others() -> None:
    assert not found_among_sybils(paths=1)
    assert found_among_sybils(paths=3)


# Nonsense


def made_up(count: int, *, addresses: bool = True) -> tuple[PeerInfo, ...]:
    """Peers that nobody has ever met."""
    at = Address(b"\x04\x0a\x09\x09\x09\x06\x0f\xa1", "/ip4/10.9.9.9/tcp/4001", Scope.PRIVATE)
    ids = (PeerId(b"\x12\x20" + sha256(b"%d" % number).digest()) for number in range(count))
    return tuple(PeerInfo(each, (at,) if addresses else ()) for each in ids)


@pytest.mark.scenario("L14")
@pytest.mark.parametrize(
    "nonsense", ["asker", "answerer", "duplicates", "crowd", "no addresses", "others' addresses", "garbage"]
)
async def test_answers_that_make_no_sense_do_no_harm(network: BehaviourNetwork, nonsense: str) -> None:
    (node,) = await network.start()

    async def honest(request: Request) -> AnyReply:
        return FindNodeReply(())

    others = [info(await network.start_peer(honest)) for _ in range(3)]

    async def senseless(request: Request) -> AnyReply:
        told = {
            "asker": (info(node),),
            "answerer": (info(peer),),
            "duplicates": tuple(others) * 300,
            "crowd": made_up(10_000),
            "no addresses": made_up(50, addresses=False),
            "others' addresses": tuple(PeerInfo(each.id, info(peer).addresses) for each in made_up(5)),
            "garbage": (),
        }[nonsense]
        if nonsense == "garbage" and request.message == FindNode(b"key"):
            return PingReply()
        return FindNodeReply((*others[:1], *told))

    peer = await network.start_peer(senseless)
    for each in (info(peer), *others):
        await node.connect(each)
    await node.wait_ready(peers=4, timeout=10)
    ended: list[LookupEnded] = []
    node.subscribe(ended.append, LookupEnded)
    found = await node.closest_peers(b"key")
    sensible = {each.id for each in others} | ({peer.id} if nonsense != "garbage" else set())
    assert {each.id for each in found} == sensible
    assert len(found) == len(sensible), "each once"
    assert found.complete
    assert found.asked <= 4 + 21, "of a crowd the nearest are tried"
    assert ended[-1].seconds < 3


# Callers who change their mind


async def cancelled_after(node: KademliaService, steps: int, call: Callable[[], Any]) -> bool:
    """Cancel a call after so many steps of its lookup. Whether it got that far."""
    left = steps
    with trio.CancelScope() as scope:

        def count(event: LookupEvent) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                scope.cancel()

        stop = node.subscribe(count, LookupEvent)
        try:
            await call()
        except NotFound:
            pass
        finally:
            stop()
    return scope.cancelled_caught


@pytest.mark.scenario("L15")
@pytest.mark.on_real_hosts_too
@pytest.mark.usefixtures("no_afterthoughts")
@pytest.mark.parametrize("kind", ["closest", "value", "providers"])
async def test_cancelling_a_lookup_anywhere_frees_all_that_it_held(network: BehaviourNetwork, kind: str) -> None:
    node, *_ = await network.start(6, refresh_interval=3600.0)
    calls: dict[str, Callable[[], Any]] = {
        "closest": lambda: node.closest_peers(b"key"),
        "value": lambda: node.get_value(KEY),
        "providers": lambda: node.find_providers(CONTENT),
    }
    with trio.fail_after(PATIENCE):
        while not acquainted(network.nodes):  # the first of them were told of nobody, and here nobody asks again by itself
            await all_at_once(each.refresh for each in network.nodes)
    await node.closest_peers(b"key")
    await network.until(lambda: node.stats().lookups == 0, "nobody looks for anything")
    await trio.sleep(0.3)
    before = count_tasks()
    cut_short = [await cancelled_after(node, steps, calls[kind]) for steps in range(1, 12)]
    assert cut_short.count(True) > 5, "before it had asked, and before and after answers"
    assert node.stats().lookups == 0
    await network.until(lambda: count_tasks() <= before, "nothing is left of them")
    assert len(await node.closest_peers(b"key")) == 5
