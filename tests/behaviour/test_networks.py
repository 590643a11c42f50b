"""Networks that other implementations build in their own tests: here the nodes join as they do anywhere.

    30 in a ring, each knows the next        go-libp2p-kad-dht, TestPeriodicRefresh; js-libp2p, "getClosestPeers"
    40 that provide 100 keys                 go-libp2p-kad-dht, TestProvidesMany
    25, and who holds a provider record      rust-libp2p, add_provider: announced to exactly the k nearest
    10 in a row, those nearest to a key      rust-libp2p, query_iter; nim-libp2p, "Find node returns the actual k closest"
    1 and 5 that come at once and know it    nim-libp2p, "bootstrap discovers new peers through network"

On real hosts the large ones are smaller: a connection costs the machine some twenty milliseconds there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import sha256

import pytest
import trio

from p2pkad.node.service import KademliaService
from tests.behaviour.conftest import BehaviourNetwork
from tests.behaviour.test_membership import ids, table
from tests.support.near import nearest

pytestmark = pytest.mark.on_real_hosts_too


def content(number: int) -> bytes:
    return b"\x12\x20" + sha256(b"%d" % number).digest()


def acquainted(nodes: Sequence[KademliaService]) -> bool:
    """Whether everybody has everybody else in the table."""
    return all(table(node) == ids(*nodes) - {node.id} for node in nodes)


async def all_at_once(calls: Iterable[Callable[[], Awaitable[None]]]) -> None:
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call)


@pytest.mark.long
@pytest.mark.scenario("L1")
@pytest.mark.parametrize("size", [20, 4], ids=["a table for all", "a table for a few"])
async def test_in_a_ring_everybody_finds_everybody(network: BehaviourNetwork, size: int) -> None:
    count = 8 if network.real else 30
    nodes = [await network.start_one(bootstrap=(), k=size, bucket_size=size) for _ in range(count)]
    for node, following in zip(nodes, nodes[1:] + nodes[:1], strict=True):
        await node.connect(following.addresses[0])
        await node.wait_ready(timeout=10)
    await all_at_once(node.refresh for node in nodes)
    if size == 20:
        await network.until(lambda: acquainted(nodes), "everybody knows everybody")
    for node in nodes:
        for other in nodes:
            if other is not node:
                assert (await node.find_peer(other.id)).id == other.id


@pytest.mark.long
@pytest.mark.scenario("P1")
async def test_many_keys_are_provided_and_found_from_everywhere(network: BehaviourNetwork) -> None:
    nodes = await network.start(8 if network.real else 40, k=5, bucket_size=5)
    providers = {content(number): nodes[number % len(nodes)] for number in range(24 if network.real else 100)}
    for key, provider in providers.items():
        await provider.provide(key)
    for turn, (key, provider) in enumerate(providers.items()):
        for node in nodes[turn // len(nodes) % 3 :: 3]:  # a third of them, and the others for the provider's other keys
            assert [info.id for info in await node.find_providers(key, count=1)] == [provider.id]


@pytest.mark.long
@pytest.mark.scenario("P6")
async def test_those_nearest_to_a_key_hold_its_provider_record(network: BehaviourNetwork) -> None:
    count, k = (7, 5) if network.real else (25, 20)
    nodes = await network.start(count, k=k)
    await network.until(lambda: acquainted(nodes), "everybody knows everybody")
    provider, key = nodes[3], content(1)
    receipt = await provider.provide(key, confirm=True)
    assert set(receipt.confirmed) == set(nearest(key, ids(*nodes) - {provider.id}, k))
    holders = {node.id for node in nodes if await node.local_providers(key)}
    assert holders == {*receipt.confirmed, provider.id}


@pytest.mark.scenario("P6")
async def test_of_three_one_provides_and_another_finds(network: BehaviourNetwork) -> None:
    _, provider, seeker = await network.start(3)
    await provider.provide(content(1))
    (found,) = await seeker.find_providers(content(1))
    assert [f"{address}/p2p/{found.id}" for address in found.addresses] == list(provider.addresses)


@pytest.mark.long
@pytest.mark.scenario("L2", "L17")
async def test_those_nearest_to_a_key_come_in_order_and_without_the_node_itself(network: BehaviourNetwork) -> None:
    nodes: list[KademliaService] = []
    for _ in range(10):
        nodes += await network.start(bootstrap=nodes[-1].addresses if nodes else ())
    await network.until(lambda: acquainted(nodes), "everybody knows everybody")
    for node in nodes:
        for key in (b"one", b"two", bytes(nodes[0].id)):
            found = await node.closest_peers(key)
            assert [info.id for info in found] == nearest(key, ids(*nodes) - {node.id})
            assert found.complete


@pytest.mark.long
@pytest.mark.scenario("L1")
async def test_those_who_come_to_the_same_one_at_the_same_moment_know_each_other(network: BehaviourNetwork) -> None:
    await network.start()
    for _ in range(5):
        await network.start_one()
    await network.until(lambda: acquainted(network.nodes), "everybody knows everybody")
