"""Networks of nodes in virtual time: the shipped node, on a simulated network where anything can go wrong on demand.

    async with open_simulated_network(50, seed=7) as net:
        await net.nodes[3].put_value(b"/v/key", b"value")
        await net.crash(net.nodes[4])
        assert await net.nodes[9].get_value(b"/v/key") == b"value"

Run it with `run_simulated`, which also makes runs with one seed alike, or under trio with `trio.testing.MockClock`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

import trio

from p2pkad.config import Config
from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import AnyRequest
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.errors import NetworkError
from p2pkad.net.base import Handler, Network
from p2pkad.net.simulated import Latency, Lie, SimulatedHost, Trace, World, home
from p2pkad.node.clock import Clock
from p2pkad.node.service import KademliaService
from p2pkad.store.base import KeptPeer
from p2pkad.store.memory import MemoryStore
from p2pkad.testing.acquainted import acquaint
from p2pkad.wire.addresses import parse_address

START = 1_800_000_000.0
"""Seconds since 1970 at which a simulation begins for its nodes: 15 January 2027."""
JOINING = 60.0
"""Seconds that a node may take to find its first peer."""
FLOODING = 10.0
"""Seconds that each request of a flood waits for its answer."""

Member = KademliaService | Network
"""A node, or a peer made by hand."""
Prepare = Callable[[KademliaService], None]


class KeptStore(MemoryStore):
    """The disk of a simulated machine: what is in it outlives the service. cut: the machine has crashed, and saves no peers."""

    cut = False

    async def save_peers(self, peers: Sequence[KeptPeer]) -> None:
        """As every store, while the machine is up."""
        if not self.cut:
            await super().save_peers(peers)

    async def aclose(self) -> None:
        """Nothing is closed: after a crash the same store serves the next life."""


@dataclass(slots=True, eq=False)
class Machine:
    """What stays of a node when it crashes: who and where it is, how it is configured, what it has stored."""

    number: int
    id: PeerId
    options: Mapping[str, Any]
    addresses: tuple[Address, ...]
    host: SimulatedHost | None = None
    store: KeptStore | None = None
    lives: int = 0
    moves: int = 0
    scope: trio.CancelScope | None = None
    over: trio.Event | None = None


class SimulatedNodes:
    """A network of nodes, and what may befall it. Made by `open_simulated_network`.

    nodes: those that are up, in the order in which they started.
    """

    def __init__(self, world: World, nursery: trio.Nursery, seed: int, options: Mapping[str, Any]) -> None:
        self.nodes: list[KademliaService] = []
        self.world = world
        self._nursery = nursery
        self._seed = seed
        self._options = dict(options)
        self._machines: dict[PeerId, Machine] = {}
        self._numbers = count()
        self._latest_config: tuple[dict[str, Any], Config] | None = None
        self._began = trio.current_time()
        self._clock = Clock(monotonic=trio.lowlevel.current_clock().current_time, wall=self.wall)

    def __repr__(self) -> str:
        return f"<SimulatedNodes {len(self.nodes)} up, {self.messages} messages, {self.dials} dials>"

    # looking

    @property
    def messages(self) -> int:
        """Requests and announcements that have arrived so far."""
        return self.world.messages

    @property
    def dials(self) -> int:
        """Dials begun so far."""
        return self.world.dials

    @property
    def trace(self) -> Trace:
        """Everything that has arrived so far, in order. Of two runs with one seed the digests are equal."""
        return self.world.trace

    def wall(self) -> float:
        """What the clocks of the nodes show, in seconds since 1970."""
        return START + trio.current_time() - self._began

    # coming and going

    async def start(self, **options: Any) -> KademliaService:
        """One more node, that has looked for its place in the network. options: of `Config`, beside those of the network.

        It bootstraps from the first node, unless `bootstrap=` says otherwise. Raises NotReady: nobody has answered it.
        """
        node = await self.open(**options)
        if node._config.bootstrap:
            await node.wait_ready(timeout=JOINING)
            await node.refresh()
        return node

    async def open(self, **options: Any) -> KademliaService:
        """The same, without waiting until it knows anybody."""
        return await self._live(self._machine(options))

    async def start_peer(self, handler: Handler, **options: Any) -> Network:
        """A peer made by hand: a server that answers with `handler`, and does nothing unasked.

        What it says goes through the codec, so that nonsense is seen as such. Its Network asks others: `peer.request(...)`.
        """
        network: Network = await self._nursery.start(self._serve, self._machine(options), handler)
        return network

    async def stop(self, node: KademliaService) -> None:
        """End a node in good order: it closes its connections."""
        await self._end(self._machine_of(node), node)

    async def crash(self, node: KademliaService) -> None:
        """End a node without a goodbye: it is silent from this moment on. Its store is kept."""
        machine = self._machine_of(node)
        assert machine.host is not None
        assert machine.store is not None
        machine.host.crash()
        machine.store.cut = True
        await self._end(machine, node)

    async def restart(self, node: KademliaService) -> KademliaService:
        """A new node on the machine of one that was stopped or has crashed: same id, same addresses, same store."""
        return await self._live(self._machine_of(node))

    async def restart_elsewhere(self, node: KademliaService) -> KademliaService:
        """The same, with a new address: a machine that was carried to another network meanwhile."""
        self._address_anew(self._machine_of(node))
        return await self.restart(node)

    def forget(self, node: KademliaService) -> None:
        """The machine of a node that is down will not come back: nothing of it is kept, so that many may come and go.

        The address of one that has crashed stays silent.
        """
        machine = self._machines.pop(node.id)
        assert machine.host is not None
        assert not machine.host.up, "it is up"
        self.world.bury(machine.host)

    # what goes wrong

    def hang(self, node: Member) -> None:
        """It can be dialled, and answers nothing."""
        self._host(node).hangs = True

    def nat(self, node: Member) -> None:
        """Dials to it are silent. It dials, and over the connections that it opened it can be asked."""
        self._host(node).natted = True

    def lie(self, node: Member, how: Lie) -> None:
        """It answers what `how` makes of each request and its honest answer."""
        self._host(node).lie = how

    def delay(self, node: Member, seconds: float) -> None:
        """Its answers come so many seconds later than they would."""
        self._host(node).answers_late = seconds

    def mend(self, node: Member) -> None:
        """Undo hang, nat, lie and delay."""
        host = self._host(node)
        host.hangs = host.natted = False
        host.lie, host.answers_late = None, 0.0

    def move(self, node: Member) -> None:
        """It gets a new address, and its connections are lost, as when a machine changes its network."""
        machine = self._machine_of(node)
        self._address_anew(machine)
        self._host(node).move(machine.addresses)

    async def flood(self, peer: Network, node: Member, message: AnyRequest, count: int) -> int:
        """Let a peer made by hand ask the same thing so many times at once; returns how many times it was answered."""
        there, answered = PeerInfo(node.id, self._machine_of(node).addresses), 0

        async def ask() -> None:
            nonlocal answered
            with suppress(NetworkError):
                await peer.request(there, message, trio.current_time() + FLOODING)
                answered += 1

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(ask)
        return answered

    def partition(self, one: Iterable[Member], other: Iterable[Member]) -> None:
        """From now on nothing passes between these two groups. Who is in neither talks to both."""
        self.world.cut([self._host(node) for node in one], [self._host(node) for node in other])

    def heal(self) -> None:
        """Undo every partition."""
        self.world.links.heal()

    def link(self, *pair: Member, latency: Latency | None = None, loss: float | None = None) -> None:
        """Change latency (seconds one way) or loss (0 to 1) from now on: between two members, or everywhere."""
        one_other = None
        if pair:
            one, other = pair
            one_other = self._host(one).number, self._host(other).number
        self.world.links.set(one_other, latency, loss)

    # inside

    def _machine(self, options: dict[str, Any]) -> Machine:
        number = next(self._numbers)
        mine = {**self._options, **options} if options else self._options
        machine = Machine(number, _peer_id(self._seed, number), mine, (home(number),))
        self._machines[machine.id] = machine
        return machine

    def _machine_of(self, member: Member) -> Machine:
        return self._machines[member.id]

    def _address_anew(self, machine: Machine) -> None:
        machine.moves += 1
        machine.addresses = (_address(machine.number, machine.moves),)

    def _host(self, member: Member) -> SimulatedHost:
        host = self._machine_of(member).host
        assert host is not None
        return host

    def _config(self, machine: Machine) -> Config:
        options = dict(machine.options)
        if "bootstrap" not in options:
            first = next((node for node in self.nodes if node.id != machine.id), None)
            options["bootstrap"] = () if first is None else first.addresses
        # Most nodes have the same options: one config for them all.
        if self._latest_config is None or self._latest_config[0] != options:
            self._latest_config = options, Config.of(options)
        return self._latest_config[1]

    async def _live(self, machine: Machine, prepare: Prepare = lambda node: None) -> KademliaService:
        assert machine.over is None or machine.over.is_set(), "it is up already"
        node: KademliaService = await self._nursery.start(self._run, machine, self._config(machine), prepare)
        self.nodes.append(node)
        self.nodes.sort(key=lambda each: self._machine_of(each).number)
        return node

    async def _end(self, machine: Machine, node: KademliaService) -> None:
        self.nodes.remove(node)
        assert machine.scope is not None
        assert machine.over is not None
        machine.scope.cancel()
        await machine.over.wait()

    async def _run(self, machine: Machine, config: Config, prepare: Prepare, *, task_status: Any) -> None:
        machine.host = SimulatedHost(self.world, machine.number, machine.id, machine.addresses, config)
        machine.store = machine.store or _store(machine.id, config)
        machine.store.cut = False
        machine.over, machine.scope = over, scope = trio.Event(), trio.CancelScope()
        machine.lives += 1
        dice = Random(f"{self._seed}/{machine.number}/{machine.lives}")  # noqa: S311 - a simulation has no secrets
        service = KademliaService(machine.host, config, store=machine.store, clock=self._clock, random=dice)
        try:
            with scope:
                async with service as node:
                    prepare(node)  # before it does anything by itself
                    task_status.started(node)
                    await trio.sleep_forever()
        finally:
            if machine.host.up:
                machine.host.close()
            over.set()

    async def _serve(self, machine: Machine, handler: Handler, *, task_status: Any) -> None:
        config = Config.of(machine.options)
        host = machine.host = SimulatedHost(self.world, machine.number, machine.id, machine.addresses, config, by_hand=True)
        try:
            async with host.open_network(protocol=config.protocol, max_message=config.max_message) as network:
                network.serve(handler)
                await network.set_server(True)
                task_status.started(network)
                await trio.sleep_forever()
        finally:
            host.close()

    async def _open_acquainted(self, count: int) -> None:
        """All at once, each with a table as if it had been up for long."""
        machines = [self._machine({}) for _ in range(count)]
        servers = machines if Config.of(self._options).mode == "server" else []
        known = sorted((SHA256.key(machine.id), PeerInfo(machine.id, machine.addresses)) for machine in servers)
        dice = Random(f"{self._seed}/acquainted")  # noqa: S311 - see above
        with self.world.standing_still():
            for machine in machines:
                await self._live(machine, partial(acquaint, servers=known, random=dice))


@asynccontextmanager
async def open_simulated_network(
    n: int, *, seed: int = 1, latency: Latency = (0.01, 0.1), loss: float = 0.0, **options: Any
) -> AsyncIterator[SimulatedNodes]:
    """`n` nodes that know each other as if they had been up for hours (`p2pkad.testing.acquainted` says how).

    seed: what chance decides: identities, latencies, losses, whom a node knows. latency: seconds one way: a number, two bounds
    between which each pair has a value of its own, or a function of the numbers of two members. loss: of requests and replies,
    0 to 1. options: of `Config`, for all nodes. Those of the host that are about sockets and keys have no meaning here.
    Leaving the block ends everybody.
    """
    failure: Exception | None = None
    async with World.open(seed=seed, latency=latency, loss=loss) as world, trio.open_nursery() as nursery:
        net = SimulatedNodes(world, nursery, seed, options)
        # What the block raises is carried around the nurseries, which would wrap it in a group.
        try:
            await net._open_acquainted(n)
            yield net
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _store(own: PeerId, config: Config) -> KeptStore:
    return KeptStore(SHA256.key(own), config.store_bounds)


def _peer_id(seed: int, number: int) -> PeerId:
    """A well-formed peer id (a sha2-256 multihash) that belongs to these two."""
    return PeerId(b"\x12\x20" + sha256(f"{seed}/{number}".encode()).digest())


def _address(number: int, moves: int) -> Address:
    """A private address, another one after each move. There are 15 of them for each of 65,536 numbers."""
    return home(number) if not moves else parse_address(f"/ip4/172.{16 + moves % 16}.{number >> 8}.{number & 255}/tcp/4001")
