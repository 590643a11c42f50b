"""A node that is started again is the one that it was, and back in its network without a bootstrap peer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from p2pkad import ConfigError, KademliaConfig, NoPeers, OpaqueValidator, new_host, open_node, open_store
from p2pkad.config import HostConfig
from p2pkad.node.membership import MAX_CHECKS
from p2pkad.node.remembering import EVERY, FIRST
from p2pkad.node.service import KademliaService
from p2pkad.testing import SimulatedNodes, open_simulated_network, run_simulated

KEY = b"/v/key"
CONTENT = b"\x12\x20" + sha256(b"content").digest()
ALONE = {"bootstrap": (), "validators": {"v": OpaqueValidator()}}


def simulated(count: int, **options: Any) -> Callable[[Callable[[SimulatedNodes], Awaitable[None]]], Callable[[], None]]:
    """The test gets a network of so many nodes, none of which has a bootstrap peer, and runs in virtual time."""

    def decorate(test: Callable[[SimulatedNodes], Awaitable[None]]) -> Callable[[], None]:
        async def main() -> None:
            async with open_simulated_network(count, **{**ALONE, **options}) as net:
                await test(net)

        def run() -> None:
            run_simulated(main)

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


def members(node: KademliaService) -> set[bytes]:
    return {bytes(info.id) for info in node.routing_table()}


@pytest.mark.scenario("H6")
@simulated(40)
async def test_a_node_that_was_killed_is_back_from_its_saved_table_alone(net: SimulatedNodes) -> None:
    await net.nodes[7].put_value(KEY, b"value")
    node = net.nodes[3]
    await trio.sleep(FIRST + 1)
    before = members(node)
    await net.crash(node)
    again = await net.restart(node)
    assert again.id == node.id
    assert await again.get_value(KEY) == b"value", "who looks something up at once waits for the first that answers"
    await trio.sleep(5)
    assert members(again) >= before


@pytest.mark.scenario("H6")
@simulated(40)
async def test_its_peers_are_asked_a_few_at_a_time_and_who_is_gone_is_missed(net: SimulatedNodes) -> None:
    node = net.nodes[3]
    await trio.sleep(FIRST + 1)
    await net.crash(node)
    for other in net.nodes[10:]:
        await net.crash(other)
    before = net.dials
    again = await net.restart(node)
    await trio.lowlevel.checkpoint()
    assert net.dials - before <= MAX_CHECKS
    await trio.sleep(60)
    assert members(again) == {bytes(other.id) for other in net.nodes if other.id != again.id}
    assert len(again._membership.awaited) > 20


@pytest.mark.scenario("H6")
@simulated(10)
async def test_when_everybody_is_gone_it_says_so_and_finds_them_when_they_are_back(net: SimulatedNodes) -> None:
    node, *others = list(net.nodes)
    await trio.sleep(FIRST + 1)
    for each in (node, *others):
        await net.crash(each)
    again = await net.restart(node)
    with pytest.raises(NoPeers):
        await again.closest_peers(b"key")
    for each in others:
        await net.restart(each)
    await again.wait_ready(len(others), timeout=120)


@pytest.mark.long
@pytest.mark.scenario("H6")
@simulated(20)
async def test_who_was_missed_before_is_missed_after_a_restart(net: SimulatedNodes) -> None:
    node, gone = net.nodes[0], net.nodes[5]
    await net.crash(gone)
    await node.refresh()
    await trio.sleep(300)
    (missed,) = node._membership.awaited
    await net.stop(node)
    again = await net.restart(node)
    await trio.sleep(3)
    (still,) = again._membership.awaited
    assert (still.peer, still.stayed) == (gone.id, missed.stayed)
    assert still.since == pytest.approx(missed.since)
    assert still.tries >= missed.tries
    await net.restart(gone)
    await trio.sleep(3000)
    assert gone.id in members(again)


@pytest.mark.long
@pytest.mark.scenario("H6")
@simulated(20)
async def test_the_table_is_saved_when_it_changes_and_seldom(net: SimulatedNodes) -> None:
    node, saved = net.nodes[0], []
    store = node._store

    async def save_peers(peers: Any) -> None:
        saved.append(trio.current_time())
        await type(store).save_peers(store, peers)

    store.save_peers = save_peers  # type: ignore[method-assign]
    await trio.sleep(10 * EVERY)
    assert len(saved) == 1, "nothing has changed since"
    for _ in range(20):
        newcomer = await net.start(bootstrap=net.nodes[0].addresses)
        await trio.sleep(EVERY / 10)
        await net.stop(newcomer)
    assert 1 < len(saved) <= 5
    assert min(later - earlier for earlier, later in pairwise(saved)) >= EVERY


# On real hosts and real files


HERE = {"listen": ("/ip4/127.0.0.1/tcp/0",), **ALONE}
PATIENCE = 60


@pytest.mark.scenario("H6", "P4", "V12", "V14")
async def test_a_node_with_a_data_directory_goes_on_where_it_was(tmp_path: Path) -> None:
    async with open_node(**HERE) as other:
        async with open_node(**{**HERE, "data_dir": str(tmp_path), "bootstrap": other.addresses}) as node:
            await node.wait_ready(timeout=PATIENCE)
            await node.put_value(KEY, b"value")
            await node.provide(CONTENT)
            await other.put_value(b"/v/other", b"of others")
            before, own = node.stats(), node.id
        async with open_node(**HERE, data_dir=str(tmp_path)) as again:
            assert again.id == own
            await again.wait_ready(timeout=PATIENCE)
            after = again.stats()
            assert (after.records, after.providers, after.published) == (before.records, before.providers, before.published)
            assert await again.local_value(KEY) == b"value"
            assert await again.local_value(b"/v/other") == b"of others"
            assert [info.id for info in await again.local_providers(CONTENT)] == [own]
            assert await again.stop_providing(CONTENT)
        async with open_node(**HERE, data_dir=str(tmp_path)) as again:
            assert not await again.stop_providing(CONTENT)
            assert again.stats().published == 1


async def test_a_directory_that_is_in_use_is_refused_and_its_node_goes_on(tmp_path: Path) -> None:
    async with open_node(**HERE, data_dir=str(tmp_path)) as node:
        with pytest.raises(ConfigError, match="a node with this protocol id is running on it"):
            async with open_node(**HERE, data_dir=str(tmp_path)):
                pass
        async with open_node(**HERE, data_dir=str(tmp_path), protocol="/other/kad/1.0.0") as other:
            assert other.id == node.id
    async with open_node(**HERE, data_dir=str(tmp_path)):
        pass


async def test_a_service_takes_a_store_that_outlives_it(tmp_path: Path) -> None:
    config = KademliaConfig(allow_zero_peers=True, validators={"v": OpaqueValidator()})
    host = new_host(HostConfig(listen=HERE["listen"]))
    async with host.run():
        for life in (1, 2):
            async with open_store(tmp_path, host.id, config) as store, KademliaService(host, config, store=store) as service:
                if life == 1:
                    await service.put_value(KEY, b"value")
                assert await service.local_value(KEY) == b"value"
