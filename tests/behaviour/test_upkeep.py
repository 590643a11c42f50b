"""What a node does unasked: it keeps its table fresh and full, meets who moved, and otherwise sleeps."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio

from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.events import BootstrapEnded, LookupEnded
from p2pkad.identity import Identity
from p2pkad.net.base import Request
from p2pkad.node.service import KademliaService
from p2pkad.testing import SimulatedNodes, open_simulated_network, run_simulated
from p2pkad.wire.addresses import parse_peer
from tests.behaviour.conftest import BehaviourNetwork
from tests.support.worlds import address

MINUTE, HOUR = 60.0, 3600.0
QUIET: dict[str, Any] = {"k": 5, "bucket_size": 5, "refresh_interval": 1000 * HOUR}
"""Options of nodes that do nothing but answer."""


def ids(node: KademliaService) -> set[PeerId]:
    return {info.id for info in node.routing_table()}


def lookups_of(node: KademliaService) -> list[LookupEnded]:
    told: list[LookupEnded] = []
    node.subscribe(told.append, LookupEnded)
    return told


def bucket(node: KademliaService, key: bytes) -> int:
    return SHA256.common_prefix(SHA256.key(node.id), SHA256.key(key))


# Refreshing


@pytest.mark.long
@pytest.mark.scenario("L4")
def test_two_refreshes_at_once_are_one() -> None:
    async def main() -> None:
        async with open_simulated_network(40, **QUIET) as net:
            node, told = net.nodes[7], lookups_of(net.nodes[7])
            await node.refresh()
            alone = len(told)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(node.refresh)
            assert len(told) - alone == alone > 2

    run_simulated(main)


@pytest.mark.long
def test_each_bucket_is_refreshed_once_an_interval_and_the_own_id_too() -> None:
    async def main() -> None:
        async with open_simulated_network(40, **QUIET) as net:
            node = await net.start(refresh_interval=10 * MINUTE)
            told = lookups_of(node)
            await trio.sleep(10 * HOUR)
            counts = Counter(bucket(node, event.key) for event in told)
            farthest = max(bucket(node, peer) for peer in nearest(net, node)[4:])
            assert set(counts) == {*range(farthest + 1), SHA256.bits}, (counts, farthest)
            assert all(50 < count < 70 for count in counts.values()), "60 intervals"

    run_simulated(main)


@pytest.mark.long
def test_a_bucket_that_lookups_look_into_is_left_alone() -> None:
    async def main() -> None:
        async with open_simulated_network(40, **QUIET) as net:
            node = await net.start(refresh_interval=10 * MINUTE)
            key = next(b"%d" % number for number in range(99) if bucket(node, b"%d" % number) == 1)
            await trio.sleep(MINUTE)
            told = lookups_of(node)
            for _ in range(60):
                await node.closest_peers(key)
                await trio.sleep(5 * MINUTE)
            counts = Counter(bucket(node, event.key) for event in told if event.key != key)
            assert counts[0] > 20
            assert counts[1] == 0

    run_simulated(main)


@pytest.mark.long
def test_nodes_that_started_together_do_not_refresh_together() -> None:
    async def main() -> None:
        async with open_simulated_network(30, k=5, bucket_size=5) as net:
            await trio.sleep(MINUTE)
            told: list[LookupEnded] = []
            for node in net.nodes:
                node.subscribe(told.append, LookupEnded)
            await trio.sleep(HOUR)
            minutes = Counter(event.at // MINUTE for event in told)
            assert max(minutes.values()) < len(told) / 15

    run_simulated(main)


@pytest.mark.long
@pytest.mark.scenario("L5")
def test_a_peer_that_died_leaves_though_no_lookup_comes_by() -> None:
    async def main() -> None:
        async with open_simulated_network(60, **QUIET) as net:
            # Its lookups are content with one near peer and never come by the others.
            node = await net.start(refresh_interval=10 * MINUTE, k=1, alpha=1, beta=1, bucket_size=20)
            for other in net.nodes[:-1]:
                await node.connect(other.addresses[0])
            await trio.sleep(MINUTE)
            members = ids(node)
            for other in [other for other in net.nodes if other.id in members][::2]:
                await net.crash(other)
            alive = {each.id for each in net.nodes}
            await trio.sleep(HOUR)
            assert not members <= alive
            assert ids(node) <= alive

    run_simulated(main)


def nearest(net: SimulatedNodes, node: KademliaService) -> list[PeerId]:
    others = (each.id for each in net.nodes if each is not node)
    return sorted(others, key=lambda each: SHA256.key(each) ^ SHA256.key(node.id))


# Staying in the network


@pytest.mark.scenario("L4")
async def test_a_table_that_runs_low_is_filled_again(network: BehaviourNetwork) -> None:
    first, *others = await network.start(5)
    (node,) = await network.start(bootstrap_interval=0.5)
    await network.until(lambda: ids(node) == {first.id} | {other.id for other in others}, "all are known")
    ended: list[BootstrapEnded] = []
    node.subscribe(ended.append, BootstrapEnded)
    await trio.sleep(2)
    assert not ended
    for other in others[:3]:
        await other.set_mode("client")
    await network.until(lambda: len(ids(node)) == 2 and bool(ended), "the bootstrap peers are asked again")
    for other in others[:3]:
        await other.set_mode("server")
    await network.until(lambda: len(ids(node)) == 5, "all are known again")


@pytest.mark.scenario("L6")
async def test_a_newcomer_that_knew_nobody_is_asked_again_after_a_while(network: BehaviourNetwork) -> None:
    first, second, _ = await network.start(3, k=2)
    await network.until(lambda: len(ids(first)) == 2, "the table holds k peers")
    known: list[PeerInfo] = []
    asked: list[float] = []

    async def answer(request: Request) -> FindNodeReply:
        asked.append(trio.current_time())
        return FindNodeReply(tuple(known))

    fresh = await network.start_peer(answer)
    await first.connect(PeerInfo(fresh.id, fresh.local_addresses()))
    await trio.sleep(5 * MINUTE)
    assert fresh.id not in ids(first)
    assert 3 < len(asked) < 20
    known.append(PeerInfo(second.id, parse_peer(second.addresses[0]).addresses))
    await network.until(lambda: fresh.id in ids(first), "it is asked again and admitted")


@pytest.mark.long
def test_an_idle_node_wakes_a_few_times_a_minute() -> None:
    async def main() -> None:
        async with open_simulated_network(20):
            await trio.sleep(10 * MINUTE)
            counted = Wakes()
            trio.lowlevel.add_instrument(counted)
            await trio.sleep(HOUR)
            trio.lowlevel.remove_instrument(counted)
            assert counted.nodes == 20
            assert counted.wakes / counted.nodes < 4 * 60

    run_simulated(main)


class Wakes(trio.abc.Instrument):
    """Counts how often the one task of each idle node runs."""

    def __init__(self) -> None:
        self.wakes = 0
        self._tasks: set[int] = set()

    @property
    def nodes(self) -> int:
        return len(self._tasks)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name.endswith("Maintenance.run"):
            self.wakes += 1
            self._tasks.add(id(task))


# Who moved


@pytest.mark.long
@pytest.mark.scenario("L9")
def test_a_peer_that_moved_is_found_at_its_new_address_and_its_old_one_ages_out() -> None:
    async def main() -> None:
        async with open_simulated_network(12, k=4, bucket_size=4, address_lifetime=HOUR) as net:
            await trio.sleep(MINUTE)
            mover, seeker = net.nodes[3], net.nodes[10]
            (old,) = (await seeker.find_peer(mover.id)).addresses
            net.move(mover)
            await trio.sleep(MINUTE)
            (new,) = mover._network.local_addresses()
            assert new in (await seeker.find_peer(mover.id)).addresses
            await seeker.ping(mover.id)
            await trio.sleep(3 * HOUR)
            for node in net.nodes:
                if node is not mover:
                    assert (await node.find_peer(mover.id)).addresses == (new,), old

    run_simulated(main)


@pytest.mark.scenario("L9")
@pytest.mark.on_real_hosts_only
async def test_a_peer_that_was_started_again_elsewhere_is_found_there(network: BehaviourNetwork) -> None:
    nodes = await network.start(3)
    identity = Identity.generate()
    (mover,) = await network.start(identity=identity)
    old = mover.addresses[0]
    await network.until(lambda: all(mover.id in ids(node) for node in nodes), "it is known")
    await network.stop(mover)
    (mover,) = await network.start(identity=identity)
    assert mover.addresses[0] != old
    for node in nodes:
        assert mover.addresses[0] in [f"{place}/p2p/{mover.id}" for place in (await node.find_peer(mover.id)).addresses]
        await node._network.disconnect(mover.id)
        await node.ping(mover.id)


@pytest.mark.scenario("L9")
async def test_who_moved_looks_for_its_neighbours_so_that_they_know_where_it_is(network: BehaviourNetwork, world: Any) -> None:
    nodes = await network.start(4)
    await trio.sleep(MINUTE)
    asked: list[PeerId] = []
    world.listeners.append(
        lambda asker, there, message: asked.append(there) if message == FindNode(bytes(nodes[0].id)) else None
    )
    world.hosts[nodes[0].id].move((address(99),))
    await trio.sleep(10)
    assert set(asked) == {node.id for node in nodes[1:]}
