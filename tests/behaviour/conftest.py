"""Networks for behaviour tests: the same test in a simulated world and, where sockets matter, on real hosts.

A test asks for `network`; marked `@pytest.mark.on_real_hosts_too`, it runs on both. In a simulated world time is virtual: what
is to settle is given time by `trio.sleep`, which costs none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import pytest
import trio

from p2pkad.config import Config
from p2pkad.core.peers import PeerId
from p2pkad.net.base import Handler, Host, Network
from p2pkad.net.libp2p import new_host
from p2pkad.net.simulated import World
from p2pkad.node import refreshing
from p2pkad.node.service import KademliaService
from p2pkad.testing.runs import VirtualClock, repeatable
from p2pkad.validators.opaque import OpaqueValidator
from tests.support.cable import Cable, CabledHost
from tests.support.worlds import hosted

PROTOCOL = "/violence/kad/1.0.0"
PATIENCE = 60.0
"""Seconds until a test gives up waiting for something that should long have happened."""

LATENCY = 0.0005
"""Seconds that a message takes in a simulated world, one way."""

PATIENT = {"request_timeout": 20.0, "late_after": 10.0}
"""Real hosts share one processor, with whatever else runs on the machine: there, who is slow is not late."""

OpenHost = Callable[[Config], AbstractAsyncContextManager[Host]]


class BehaviourNetwork:
    """Nodes that a test starts and stops. By default each bootstraps from the first one.

    real: they are on real hosts, which cost time.
    """

    def __init__(self, nursery: trio.Nursery, open_host: OpenHost) -> None:
        self.real = open_host is real_host
        self.nodes: list[KademliaService] = []
        self.cables: dict[PeerId, Cable] = {}
        self._nursery = nursery
        self._open_host = open_host
        self._running: dict[int, tuple[trio.CancelScope, trio.Event]] = {}

    async def start(self, count: int = 1, **options: Any) -> list[KademliaService]:
        """More nodes, each with its place in the network, unless it is the very first."""
        started = [await self.start_one(**options) for _ in range(count)]
        for node in started:
            if node is not self.nodes[0] and options.get("bootstrap") != ():
                await node.wait_ready(timeout=PATIENCE)
                await node.refresh()
        return started

    async def start_one(self, **options: Any) -> KademliaService:
        """One more node, open; who its peers are is another matter."""
        options.setdefault("bootstrap", self.nodes[0].addresses if self.nodes else ())
        if self.real:
            options = PATIENT | options
        node: KademliaService = await self._nursery.start(self._run, _config(**options))
        self.nodes.append(node)
        return node

    async def start_on_one_host(self, *several: dict[str, Any]) -> list[KademliaService]:
        """Services with options of their own on one host, open; who their peers are is another matter."""
        configs = [_config(**options) for options in several]
        services: list[KademliaService] = await self._nursery.start(self._run_on_one_host, configs)
        return services

    async def start_peer(self, handler: Handler) -> Network:
        """A peer made by hand: a server that answers with `handler`, and does nothing unasked."""
        network: Network = await self._nursery.start(self._run_peer, handler)
        return network

    async def stop(self, node: KademliaService) -> None:
        """Close a node; it says goodbye to nobody."""
        scope, over = self._running.pop(id(node))
        scope.cancel()
        await over.wait()
        self.nodes.remove(node)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something is the case that nodes bring about by themselves."""
        with trio.move_on_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 - it may be anything, in several nodes: there is no event to wait for
                await trio.sleep(0.01)
            return
        pytest.fail(f"never happened: {what}")

    async def _run(self, config: Config, *, task_status: trio.TaskStatus[KademliaService]) -> None:
        over = trio.Event()
        with trio.CancelScope() as scope:
            async with self._open_host(config) as host:
                cabled = CabledHost(host)
                self.cables[host.id] = cabled.cable
                async with KademliaService(cabled, config) as node:
                    self._running[id(node)] = scope, over
                    task_status.started(node)
                    await trio.sleep_forever()
        over.set()

    async def _run_on_one_host(self, configs: Sequence[Config], *, task_status: trio.TaskStatus[list[KademliaService]]) -> None:
        async with self._open_host(configs[0]) as host, AsyncExitStack() as stack:
            task_status.started([await stack.enter_async_context(KademliaService(host, config)) for config in configs])
            await trio.sleep_forever()

    async def _run_peer(self, handler: Handler, *, task_status: trio.TaskStatus[Network]) -> None:
        config = _config()
        async with (
            self._open_host(config) as host,
            host.open_network(protocol=config.protocol, max_message=config.max_message) as network,
        ):
            network.serve(handler)
            await network.set_server(True)
            task_status.started(network)
            await trio.sleep_forever()


def _config(**options: Any) -> Config:
    options.setdefault("protocol", PROTOCOL)
    options.setdefault("listen", ("/ip4/127.0.0.1/tcp/0",))
    options.setdefault("validators", {"v": OpaqueValidator()})
    options.setdefault("request_timeout", 2.0)
    options.setdefault("late_after", 0.5)
    return Config(**options)


@asynccontextmanager
async def real_host(config: Config) -> AsyncIterator[Host]:
    host = new_host(config)
    async with host.run():
        yield host


def in_world(world: World) -> OpenHost:
    numbers = count(1)

    @asynccontextmanager
    async def open_host(config: Config) -> AsyncIterator[Host]:
        with hosted(world, next(numbers), config) as host:
            yield host

    return open_host


def in_virtual_time(test: Callable[[], Awaitable[None]], clock: None, instruments: Sequence[trio.abc.Instrument]) -> None:
    """Runs a test, in pytest-trio's place of `trio.run`."""
    with repeatable(seed=1):
        trio.run(test, clock=VirtualClock(), instruments=instruments)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    simulated = pytest.param("simulated", marks=pytest.mark.trio(run=in_virtual_time))
    if "network" in metafunc.fixturenames:
        asked = {mark.name for mark in metafunc.definition.iter_markers()}
        without = [] if "on_real_hosts_only" in asked else [simulated]
        real = ["sockets"] if asked & {"on_real_hosts_only", "on_real_hosts_too"} else []
        metafunc.parametrize("network", without + real, indirect=True)
    elif "world" in metafunc.fixturenames:
        metafunc.parametrize("world", [simulated], indirect=True)


@pytest.fixture
def no_afterthoughts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks around because its table has grown: a second later, on a busy machine in the middle of the test."""
    monkeypatch.setattr(refreshing, "SMALL_TABLE", 0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A simulated world with a quick network."""
    async with World.open(latency=LATENCY) as world:
        yield world


@pytest.fixture
async def network(request: pytest.FixtureRequest, world: World) -> AsyncIterator[BehaviourNetwork]:
    async with trio.open_nursery() as nursery:
        yield BehaviourNetwork(nursery, in_world(world) if request.param == "simulated" else real_host)
        nursery.cancel_scope.cancel()
