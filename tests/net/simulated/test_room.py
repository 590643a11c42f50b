"""A simulated host that is full behaves as a real one."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio

from p2pkad.config import HostConfig
from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.core.peers import PeerInfo
from p2pkad.errors import LocalLimit, PeerBusy
from p2pkad.net.base import Network, Request
from p2pkad.net.simulated import SimulatedHost, World
from p2pkad.net.simulated.dialling import PATIENCE
from p2pkad.testing import run_simulated
from tests.support.worlds import hosted

FULL = HostConfig(max_connections=4, connection_reserve=0)
LATENCY = 0.01


async def nobody(request: Request) -> FindNodeReply:
    return FindNodeReply(())


class Town:
    """A host with four connections at most, and others that want to be connected to it."""

    def __init__(self, stack: AsyncExitStack, world: World) -> None:
        self._stack = stack
        self._world = world
        self.hosts: list[SimulatedHost] = []

    async def inhabitant(self, config: HostConfig | None = None) -> Network:
        host = self._stack.enter_context(hosted(self._world, len(self.hosts), config))
        self.hosts.append(host)
        network = await self._stack.enter_async_context(host.open_network(protocol="/town", max_message=1024))
        network.serve(nobody)
        await network.set_server(True)
        return network

    def info(self, network: Network) -> PeerInfo:
        return PeerInfo(network.id, network.local_addresses())


async def keeps_asking(asker: Network, there: PeerInfo) -> None:
    while True:
        await asker.request(there, FindNode(b"key"), trio.current_time() + 10)
        await trio.sleep(0.1)


@pytest.mark.scenario("L18")
def test_while_all_who_are_connected_ask_nobody_else_is_let_in_and_then_somebody_is() -> None:
    async def main() -> None:
        async with World.open(latency=LATENCY) as world, AsyncExitStack() as stack, trio.open_nursery() as nursery:
            town = Town(stack, world)
            full = await town.inhabitant(FULL)
            there = town.info(full)
            for _ in range(4):
                nursery.start_soon(keeps_asking, await town.inhabitant(), there)
            newcomer = await town.inhabitant()
            await trio.sleep(1)
            began = trio.current_time()
            with pytest.raises(PeerBusy):
                await newcomer.request(there, FindNode(b"key"), began + 10)
            assert trio.current_time() - began == pytest.approx(6 * LATENCY + PATIENCE, abs=0.1)
            assert len(full.connections()) == 4
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await newcomer.request(there, FindNode(b"key"), trio.current_time() + 10)
                assert len(full.connections()) == 4

    run_simulated(main)


@pytest.mark.scenario("L18")
def test_the_own_limit_is_waited_out_and_then_said_to_be_the_own() -> None:
    async def main() -> None:
        async with World.open(latency=LATENCY) as world, AsyncExitStack() as stack, trio.open_nursery() as nursery:
            town = Town(stack, world)
            full = await town.inhabitant(FULL)
            for _ in range(4):
                nursery.start_soon(keeps_asking, full, town.info(await town.inhabitant()))
            for host in town.hosts[1:]:
                host.answers_late = 60.0
            await trio.sleep(0.5)
            began = trio.current_time()
            with pytest.raises(LocalLimit):
                await full.request(town.info(await town.inhabitant()), FindNode(b"key"), began + 2)
            assert trio.current_time() - began == pytest.approx(1.0, abs=0.1)
            nursery.cancel_scope.cancel()

    run_simulated(main)


@pytest.mark.scenario("L18")
def test_who_had_to_wait_for_room_is_waited_for_until_it_is_connected() -> None:
    async def main() -> None:
        async with World.open(latency=LATENCY) as world, AsyncExitStack() as stack, trio.open_nursery() as nursery:
            town = Town(stack, world)
            full = await town.inhabitant(FULL)
            newcomer, *others = [town.info(await town.inhabitant()) for _ in range(5)]
            async with trio.open_nursery() as asking:
                for host in town.hosts[2:]:
                    host.answers_late = 60.0
                for other in others:
                    asking.start_soon(keeps_asking, full, other)
                await trio.sleep(1)
                nursery.start_soon(keeps_asking, full, newcomer)
                await trio.sleep(1)
                asking.cancel_scope.cancel()
            while full.connection(newcomer.id) is None:
                assert full.waits_for_room(newcomer.id)
                await trio.sleep(LATENCY)
            await trio.sleep(LATENCY)
            assert not full.waits_for_room(newcomer.id)
            nursery.cancel_scope.cancel()

    run_simulated(main)
