"""A network that falls apart goes on in parts, and comes together again by itself."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
import trio

from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerId
from p2pkad.events import PeerEvicted, PeerReturned
from p2pkad.node.service import KademliaService
from p2pkad.testing import open_simulated_network, run_simulated
from p2pkad.validators.opaque import OpaqueValidator

MINUTE, HOUR = 60.0, 3600.0
MINUTE_OR_HOURS = [pytest.param(MINUTE, id="minute"), pytest.param(2 * HOUR, id="hours", marks=pytest.mark.long)]
SMALL: dict[str, Any] = {"k": 3, "bucket_size": 3, "validators": {"v": OpaqueValidator()}}

Nodes = Sequence[KademliaService]


def content(name: bytes) -> bytes:
    return b"\x12\x20" + sha256(name).digest()


def ids(node: KademliaService) -> set[PeerId]:
    return {info.id for info in node.routing_table()}


def nearest(nodes: Nodes, key: bytes, asker: KademliaService) -> list[PeerId]:
    others = (node.id for node in nodes if node is not asker)
    return sorted(others, key=lambda each: SHA256.key(each) ^ SHA256.key(key))[:3]


async def works(part: Nodes, name: bytes) -> None:
    """Whoever puts or provides in this part is found by whoever looks for it there."""
    writer, reader = part[0], part[-1]
    await writer.put_value(b"/v/" + name, name)
    assert await reader.get_value(b"/v/" + name) == name
    await reader.provide(content(name))
    assert reader.id in {info.id for info in await writer.find_providers(content(name))}


async def is_one(nodes: Nodes) -> None:
    """Each node finds each other one, and whoever is nearest to a key. Asked from the end: whoever is first may be alone."""
    for node in reversed(nodes):
        for key in (b"one", b"two", bytes(nodes[0].id)):
            assert [info.id for info in await node.closest_peers(key)] == nearest(nodes, key, asker=node)
        for other in nodes:
            if other is not node:
                assert (await node.find_peer(other.id)).id == other.id


@pytest.mark.scenario("H9")
@pytest.mark.parametrize("bootstrap", [None, ()], ids=["bootstrap", "without"])
@pytest.mark.parametrize("seconds", MINUTE_OR_HOURS)
@pytest.mark.parametrize("alone", [6, 1], ids=["halves", "one"])
def test_both_parts_work_on_and_are_one_within_a_minute(bootstrap: tuple[str, ...] | None, seconds: float, alone: int) -> None:
    options = SMALL if bootstrap is None else {**SMALL, "bootstrap": bootstrap}

    async def main() -> None:
        async with open_simulated_network(12, seed=9, **options) as net:
            one, other = net.nodes[:alone], net.nodes[alone:]
            await works(net.nodes, b"before")
            net.partition(one, other)
            await trio.sleep(seconds)
            parts = [part for part in (one, other) if len(part) > 1]
            for number, part in enumerate(parts):
                await works(part, b"%d" % number)
            net.heal()
            await trio.sleep(MINUTE)
            await is_one(net.nodes)
            for number in range(len(parts)):
                for reader in one[0], other[-1]:
                    assert await reader.get_value(b"/v/%d" % number) == b"%d" % number
            await works(net.nodes, b"after")

    run_simulated(main)


@pytest.mark.long
@pytest.mark.scenario("H9")
def test_whoever_left_when_the_network_fell_apart_is_remembered_though_many_have_come_and_gone_since() -> None:
    async def main() -> None:
        async with open_simulated_network(16, seed=3, bootstrap=(), **SMALL) as net:
            one, other = net.nodes[:8], net.nodes[8:]
            await trio.sleep(HOUR)
            net.partition(one, other)
            for _ in range(20):
                guest = await net.start(bootstrap=one[0].addresses)
                net.partition([guest], other)
                await trio.sleep(4 * MINUTE)
                await net.crash(guest)
            assert not {node.id for node in other} & {peer for node in one for peer in ids(node)}
            net.heal()
            await trio.sleep(MINUTE)
            await is_one(net.nodes)

    run_simulated(main)


@pytest.mark.long
@pytest.mark.scenario("H9", "L5")
def test_who_was_gone_is_met_again_though_it_asks_for_nobody() -> None:
    async def main() -> None:
        async with open_simulated_network(12, seed=5, bootstrap=(), **SMALL) as net:
            gone = net.nodes[7]
            witnesses = [node for node in net.nodes if gone.id in ids(node)]
            told: list[PeerReturned] = []
            for node in net.nodes:
                node.subscribe(told.append, PeerReturned)
            await net.crash(gone)
            await trio.sleep(HOUR)
            assert not [node for node in net.nodes if gone.id in ids(node)]
            back = await net.restart(gone)
            assert not back.routing_table()
            await trio.sleep(MINUTE)
            assert back.routing_table()
            assert {event.peer for event in told} == {gone.id}
            assert 1 <= len(told) <= len(witnesses)
            assert all(MINUTE < event.away < HOUR + MINUTE for event in told)
            assert (await net.nodes[0].find_peer(gone.id)).id == gone.id

    run_simulated(main)


@pytest.mark.scenario("L5")
@pytest.mark.parametrize("outage", MINUTE_OR_HOURS)
def test_an_outage_costs_nobody_and_lookups_work_as_soon_as_it_is_over(outage: float) -> None:
    async def main() -> None:
        async with open_simulated_network(16, seed=4, bootstrap=(), **SMALL) as net:
            node, *others = net.nodes
            known, lost = ids(node), list[PeerEvicted]()
            node.subscribe(lost.append, PeerEvicted)
            await trio.sleep(MINUTE)
            net.partition([node], others)
            for number in range(4):
                await trio.sleep(outage / 4)
                assert not (await node.closest_peers(b"%d" % number)).peers
            net.heal()
            assert [info.id for info in await node.closest_peers(b"key")] == nearest(net.nodes, b"key", asker=node)
            assert ids(node) >= known
            assert not lost

    run_simulated(main)


@pytest.mark.long
@pytest.mark.scenario("L5")
def test_an_outage_ends_by_itself_though_nobody_asks_for_anything() -> None:
    """Whoever noticed the outage is not stuck with a table of suspects: one after the other is tried."""

    async def main() -> None:
        async with open_simulated_network(16, seed=4, bootstrap=(), refresh_interval=24 * HOUR, **SMALL) as net:
            node, *others = net.nodes
            net.partition([node], others)
            assert not (await node.closest_peers(b"key")).peers
            await trio.sleep(HOUR)
            net.heal()
            asked: list[PeerId] = []
            net.world.listeners.append(lambda asker, there, message: asked.append(there) if asker == node.id else None)
            await trio.sleep(MINUTE)
            assert node.stats().table
            assert set(asked) >= ids(node), "each of them is asked whether it is there"

    run_simulated(main)
