"""A host in a simulated world: its addresses, its connections, and whatever is wrong with it.

A request costs a round trip; where no connection is open, `HANDSHAKES` more before it. How many connections there may be, and
which one goes, is decided by the policy of real hosts (`p2pkad.net.connections`).

What is wrong              how others see it
closed                     its connections end; dials are refused after one round trip
crashed                    silence; its connections are given up after GIVE_UP
cut off (`World.cut`)      the same, until the cut is healed
hangs                      it can be dialled, and answers nothing
natted                     dials to it are silent; over connections that it opened it can be asked
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from p2pkad.config import HostConfig
from p2pkad.core.messages import AnyReply
from p2pkad.core.peers import Address, PeerDescription, PeerId
from p2pkad.errors import ConfigError
from p2pkad.net.base import Connected, Gone, Identified, Network, NetworkEvent, OwnAddressesChanged, Request, Usefulness
from p2pkad.net.connections import GRACE, Connections, Held
from p2pkad.net.simulated.dialling import Dialling
from p2pkad.net.simulated.line import Line
from p2pkad.net.simulated.network import SimulatedNetwork
from p2pkad.net.simulated.world import GIVE_UP, World
from p2pkad.wire.addresses import parse_address

AGENT = "p2pkad in a simulated world"

Lie = Callable[[Request, AnyReply | None], AnyReply | None]
"""Makes another answer of a request and the honest one; may raise a P2pkadError, which resets the stream."""


class SimulatedHost:
    """A `p2pkad.net.base.Host`, up from the moment it is made. number: its place in the order of hosts.

    config: its limits and its patience; what it listens on is `addresses`. by_hand: its messages go through the codec, as
    they may be some that a node would never make.
    """

    def __init__(
        self,
        world: World,
        number: int,
        own: PeerId,
        addresses: tuple[Address, ...],
        config: HostConfig,
        *,
        by_hand: bool = False,
    ) -> None:
        self.world = world
        self.number = number
        self.id = own
        self.config = config
        self.by_hand = by_hand
        self.networks: list[SimulatedNetwork] = []
        self.servers: dict[str, SimulatedNetwork] = {}
        self.up = True
        self.hangs = False
        self.natted = False
        self.answers_late = 0.0
        self.lie: Lie | None = None
        self.connections: Connections[Line] = Connections(config.max_connections, config.connection_reserve, self._usefulness)
        self.dialling = Dialling(self)
        self.descriptions: dict[PeerId, PeerDescription] = {}
        self._trim_due = False
        self._addresses: tuple[Address, ...] = ()
        self._source: Address | None = None
        world.hosts[own] = self
        self.addresses = addresses

    def __repr__(self) -> str:
        return f"<SimulatedHost {self.number} {self.connections!r}>"

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it can be dialled. Setting them moves nothing but the door: open connections stay."""
        return self._addresses

    @addresses.setter
    def addresses(self, addresses: tuple[Address, ...]) -> None:
        self._leave_places()
        self._addresses = addresses
        self._source = None
        for address in addresses:
            self.world.places[address.raw] = self

    @property
    def source(self) -> Address:
        """Where its own dials seem to come from: its address, and a port that nobody listens on."""
        if self._source is None:
            at = self._addresses[0] if self._addresses else home(self.number)
            self._source = parse_address(f"{at.text.rpartition('/')[0]}/50000")
        return self._source

    @asynccontextmanager
    async def open_network(self, *, protocol: str, max_message: int) -> AsyncIterator[Network]:
        if any(network.protocol == protocol for network in self.networks):
            raise ConfigError(f"protocol={protocol!r}: another service on this host has it; give this one its own")
        network = SimulatedNetwork(self, protocol, max_message)
        self.networks.append(network)
        try:
            yield network
        finally:
            network.close()
            self.networks.remove(network)

    # what befalls it

    def close(self) -> None:
        """It ends in good order: its connections are closed."""
        self._leave()
        self._leave_places()
        for held in list(self.connections):
            self.drop(held.handle)

    def crash(self) -> None:
        """From this moment on it is silent; others notice when they ask it, or give the connection up."""
        self._leave()
        for held in list(self.connections):
            self._fall_silent(held.handle)

    def move(self, addresses: tuple[Address, ...]) -> None:
        """It is elsewhere now: connections are lost, here at once, there when they are given up."""
        for held in list(self.connections):
            self._fall_silent(held.handle)
            self._forget(held.handle)
        self.addresses = addresses
        self.tell(OwnAddressesChanged(addresses))

    def _leave(self) -> None:
        self.up = False
        if self.world.hosts.get(self.id) is self:
            del self.world.hosts[self.id]

    def _leave_places(self) -> None:
        for address in self._addresses:
            if self.world.places.get(address.raw) is self:
                del self.world.places[address.raw]

    def _fall_silent(self, line: Line) -> None:
        line.broken = True
        self.world.at(trio.current_time() + GIVE_UP, line.other(self).lost, line)

    # connections

    def opened(self, line: Line, remote: Address) -> Held[Line]:
        """A connection is open, at this end."""
        peer, now = line.other(self).id, trio.current_time()
        held = Held(line, peer, remote, line.dialler is not self, now)
        first = not self.connections.of(peer)
        self.connections.add(held)
        if first:
            self.tell(Connected(peer, remote, held.inbound))
        if held.inbound:
            self.dialling.arrived(held)
        self.world.at(now + 2 * line.latency, self._identified, line)
        for extra, _ in self.connections.surplus(peer):
            self._let_go(extra.handle)
        self._trim()
        return held

    def held(self, line: Line) -> Held[Line] | None:
        """What is known of a connection; None when it is closed at this end."""
        for held in self.connections.of(line.other(self).id):
            if held.handle is line:
                return held
        return None

    def drop(self, line: Line) -> None:
        """Close a connection: known here at once, there when the news arrives."""
        if self._forget(line):
            self._say_goodbye(line)

    def hears_goodbye(self, line: Line) -> None:
        """The other end closed a connection. The news may be lost on its way; then it is given up in time."""
        if line.silent:
            self.world.at(trio.current_time() + GIVE_UP, self.lost, line)
        else:
            self._forget(line)

    def lost(self, line: Line) -> None:
        """A connection is of no use any more."""
        self._forget(line)

    def gives_up_if_silent(self, line: Line) -> None:
        """A connection was cut GIVE_UP ago: unless it has been healed, it is closed."""
        if line.silent:
            self._forget(line)

    def make_room(self, wanted: int) -> bool:
        """Whether so many more connections fit, after those that may go have gone."""
        for held, _ in self.connections.make_room(wanted, trio.current_time()):
            self._let_go(held.handle)
        return len(self.connections) + wanted <= self.connections.limit

    def make_room_for_another(self) -> bool:
        """Whether one more that others open leaves the reserve, after those that may go have gone."""
        for held, _ in self.connections.make_room_for_others(1, trio.current_time()):
            self._let_go(held.handle)
        return self.connections.inbound < self.connections.most_of_others

    def _trim(self) -> None:
        if len(self.connections) <= self.connections.limit - self.connections.reserve:
            return
        now = trio.current_time()
        for held, _ in self.connections.trim(now):
            self._let_go(held.handle)
        # What is new was left alone; a real host looks again every few seconds.
        if not self._trim_due and self.up:
            self._trim_due = True
            self.world.at(now + GRACE, self._trim_again)

    def _trim_again(self) -> None:
        self._trim_due = False
        self._trim()

    def _let_go(self, line: Line) -> None:
        self._say_goodbye(line)
        self._departed(line)

    def _say_goodbye(self, line: Line) -> None:
        self.world.at(trio.current_time() + line.latency, line.other(self).hears_goodbye, line)

    def _forget(self, line: Line) -> bool:
        held = self.connections.remove(line, line.other(self).id)
        if held is not None:
            self._departed(line)
        return held is not None

    def _departed(self, line: Line) -> None:
        line.end_exchanges(self)
        self.dialling.freed()
        peer = line.other(self).id
        if not self.connections.of(peer):
            self.descriptions.pop(peer, None)
            self.tell(Gone(peer))

    # news

    def tell(self, event: NetworkEvent) -> None:
        """Tell every network on this host."""
        for network in list(self.networks):
            network.tell(event)

    def introduce_all(self, network: SimulatedNetwork) -> None:
        """Tell a network that is new on this host who is connected."""
        for peer in self.connections.peers():
            held = self.connections.of(peer)[0]
            network.tell(Connected(peer, held.remote_address, held.inbound))
            self.world.at(trio.current_time() + 2 * held.handle.latency, self._hear_of, held.handle, network)

    def present(self) -> float:
        """Push to every connected peer what this host speaks; returns when the last one knows, in seconds as trio's."""
        last = now = trio.current_time()
        for peer in self.connections.peers():
            line = self.connections.of(peer)[0].handle
            last = max(last, now + line.latency)
            self.world.at(now + line.latency, line.other(self)._identified, line)
        return last

    def _identified(self, line: Line) -> None:
        for network in list(self.networks):
            self._hear_of(line, network)

    def _hear_of(self, line: Line, network: SimulatedNetwork) -> None:
        other, held = line.other(self), self.held(line)
        if held is None or other.hangs or line.silent:
            return
        server = network.protocol in other.servers
        self.world.trace.add(f"{trio.current_time():.6f} {self.number} = {other.number} {'server' if server else 'client'}")
        self.descriptions[other.id] = PeerDescription(
            agent=AGENT, protocols=frozenset(other.servers), addresses=other.addresses, observed=self.source
        )
        network.tell(Identified(other.id, server, other.addresses, held.remote_address))

    def _usefulness(self, peer: PeerId) -> Usefulness:
        return max((network.usefulness(peer) for network in self.networks), default=Usefulness.NONE)


def home(number: int) -> Address:
    """A private address that belongs to this number alone."""
    return parse_address(f"/ip4/10.{number >> 16}.{number >> 8 & 255}.{number & 255}/tcp/4001")
