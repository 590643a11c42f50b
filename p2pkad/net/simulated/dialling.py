"""How a simulated host gets a connection: one dial for a peer, shared by all who want it.

    address of nobody, or of a closed host      refused after one round trip
    of a crashed, cut off or natted host        silent for `dial_timeout`
    of another peer                             refused after the security handshake, two round trips
    of the peer                                 HANDSHAKES round trips; full, it waits for a place and is closed without one

Addresses are tried as the real dialler does it: the next one when the one before failed, or after its head start.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.tally import Tally
from p2pkad.errors import LocalLimit, PeerBusy, PeerUnreachable
from p2pkad.net.base import Limited
from p2pkad.net.connections import IDLE, Held
from p2pkad.net.simulated.line import Line
from p2pkad.net.simulated.parking import Parked
from p2pkad.net.simulated.world import Grave

if TYPE_CHECKING:
    from p2pkad.net.simulated.host import SimulatedHost

HANDSHAKES = 3
"""Round trips until a connection is open: TCP, security, multiplexer."""
HEAD_START = 0.25
"""Seconds an address has before the next one is dialled beside it, as in the real dialler."""
RETRANSMISSION = 1.0
"""Seconds until a lost packet of a handshake is sent again. RFC 6298, section 2: the initial RTO."""
MAX_ADDRESSES = 64
"""Addresses of one peer that are tried in one dial, as in the real dialler."""
PATIENCE = 2.0
"""Seconds that an inbound connection waits for its place when all others are in use, as on a real host."""
MAX_QUEUED = 32
"""Inbound connections that wait so; beyond them they are closed."""


class Dial:
    """A dial under way. causes: why addresses failed. ends: when it will be over, as far as is known. knocks: the other end
    has no room so far."""

    __slots__ = ("causes", "ends", "knocks", "peer", "waiting")

    def __init__(self, peer: PeerId) -> None:
        self.peer = peer
        self.causes: list[tuple[str, str]] = []
        self.ends = 0.0
        self.knocks = False
        self.waiting: list[tuple[Parked, float]] = []

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits."""
        return any(not parked.over for parked, _ in self.waiting)

    def open(self, held: Held[Line]) -> None:
        """Tell those who wait: there is a connection."""
        for parked, _ in self.waiting:
            parked.wake(held)

    def fail(self, kind: type[PeerUnreachable | PeerBusy]) -> None:
        """Tell those who wait: there is none."""
        for parked, _ in self.waiting:
            parked.wake(kind(self.peer, self.causes))


class Knock(NamedTuple):
    """An inbound connection that waits for its place. until: seconds."""

    line: Line
    address: Address
    dial: Dial
    until: float


class Dialling:
    """The dials of one host, and the inbound connections that wait for a place on it."""

    __slots__ = ("_dials", "_host", "_look_due", "_queue", "_room", "_short_of_room", "_world")

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        self._world = host.world
        self._dials: dict[PeerId, Dial] = {}
        self._room: trio.lowlevel.ParkingLot | None = None
        self._short_of_room: Tally | None = None
        self._queue: deque[Knock] | None = None
        self._look_due = False

    async def dial(self, peer: PeerInfo, deadline: float) -> Held[Line]:
        """A connection to a peer that has none. Raises PeerUnreachable, PeerBusy, LocalLimit; Late at the deadline."""
        if peer.id in self._dials or self._may_dial():
            return await self._join(peer, deadline)
        self._short_of_room = Tally() if self._short_of_room is None else self._short_of_room
        with self._short_of_room.during(peer.id):  # for as long as the dial takes, too, as on a real host
            await self._room_to_dial(peer.id, deadline)
            open_ones = self._host.connections.of(peer.id)
            return open_ones[0] if open_ones else await self._join(peer, deadline)

    async def _join(self, peer: PeerInfo, deadline: float) -> Held[Line]:
        dial = self._dials.get(peer.id)
        if dial is None:
            dial = self._dials[peer.id] = Dial(peer.id)
            self._world.dials += 1
            self._world.at(trio.current_time(), self._begin, dial, peer)
        parked = Parked()
        dial.waiting.append((parked, deadline))
        if dial.ends > deadline:
            self._world.at(deadline, parked.too_late)
        held: Held[Line] = await parked.wait()
        return held

    def waits_for_room(self, peer: PeerId) -> bool:
        """Whether a peer is to be dialled and there is no room for that, or it is dialled and had to wait for room here, or has
        none there so far."""
        if self._short_of_room is not None and peer in self._short_of_room:
            return True
        dial = self._dials.get(peer)
        return dial is not None and dial.knocks

    def arrived(self, held: Held[Line]) -> None:
        """The peer connected to us meanwhile: whoever waits may use that."""
        dial = self._dials.get(held.peer)
        if dial is not None:
            dial.open(held)

    def cancel(self, peer: PeerId) -> None:
        """End a dial; those who wait see the peer as unreachable."""
        dial = self._dials.get(peer)
        if dial is not None:
            dial.causes.append(("", "disconnected from this side"))
            self._fail(dial)

    def freed(self) -> None:
        """A place may be free: whoever waits for one may look again."""
        if self._room is not None:
            self._room.unpark_all()
        if self._queue:
            self._world.at(trio.current_time(), self._look)

    def _may_dial(self) -> bool:
        return len(self._dials) < self._host.connections.most_dials and self._room_for_one()

    def _room_for_one(self) -> bool:
        # What is being dialled has its place already.
        return self._host.make_room(len(self._dials) + 1)

    def _admits_one(self) -> bool:
        return self._host.make_room_for_another() and self._room_for_one()

    async def _room_to_dial(self, peer: PeerId, deadline: float) -> None:
        # As on a real host, half of the time is for the dial and what it is for.
        self._room = trio.lowlevel.ParkingLot() if self._room is None else self._room
        with trio.move_on_after(max(0.0, (deadline - trio.current_time()) / 2)):
            while not (self._host.connections.of(peer) or peer in self._dials or self._may_dial()):
                with trio.move_on_after(IDLE / 5):
                    await self._room.park()
            return
        self._host.tell(Limited("connections", peer))
        raise LocalLimit("connections", self._host.connections.limit)

    # the dial

    def _begin(self, dial: Dial, peer: PeerInfo) -> None:
        outcome = self._plan(dial, peer)
        self._ends(dial, dial.ends)
        self._world.at(dial.ends, *outcome)

    def _plan(self, dial: Dial, peer: PeerInfo) -> tuple[Any, ...]:
        """What will happen when the dial ends, and to whom."""
        starts = dial.ends = trio.current_time()
        limit = self._host.config.dial_timeout
        for address in peer.addresses[:MAX_ADDRESSES]:
            there, why, lasts = self._prospect(address, peer.id)
            if lasts >= limit:
                there, why, lasts = None, f"no answer within {limit:.3g} s", limit
            if there is not None:
                dial.ends = starts + lasts
                return self._reached, dial, there, address
            dial.causes.append((address.text, why))
            dial.ends = max(dial.ends, starts + lasts)
            starts += min(lasts, HEAD_START)
        return self._fail, dial

    def _prospect(self, address: Address, peer: PeerId) -> tuple[SimulatedHost | None, str, float]:
        """Who will answer there, or why nobody does, and how many seconds that takes."""
        there, links, own = self._world.places.get(address.raw), self._world.links, self._host.number
        if there is None:
            return None, "connection refused", 2 * links.latency(own, own)
        trip = 2 * links.latency(own, there.number)
        if isinstance(there, Grave) or not there.up or there.natted or links.severed(own, there.number):
            return None, "", inf
        again = sum(links.loses(own, there.number) for _ in range(HANDSHAKES)) * RETRANSMISSION
        if there.id != peer or there is self._host:
            return None, "another peer answers there", 2 * trip + again
        return there, "", HANDSHAKES * trip + again

    def _reached(self, dial: Dial, there: SimulatedHost, address: Address) -> None:
        if self._dials.get(dial.peer) is not dial:
            return
        if not dial.wanted:
            del self._dials[dial.peer]
            self.freed()
        elif not there.up or self._world.links.severed(self._host.number, there.number):
            dial.causes.append((address.text, "it fell silent"))
            self._ends(dial, trio.current_time() + self._host.config.dial_timeout)
            self._world.at(dial.ends, self._fail, dial)
        else:
            there.dialling.knocked(Line(self._host, there), address, dial)

    def connected(self, line: Line, address: Address, dial: Dial) -> None:
        """A dial of this host has come to its end: the connection is open."""
        del self._dials[dial.peer]
        dial.open(self._host.opened(line, address))

    def _ends(self, dial: Dial, when: float) -> None:
        """It will be over then; who cannot wait so long is told at the own deadline."""
        dial.ends = when
        for parked, deadline in dial.waiting:
            if deadline < dial.ends:
                self._world.at(deadline, parked.too_late)

    def _fail(self, dial: Dial, kind: type[PeerUnreachable | PeerBusy] = PeerUnreachable) -> None:
        if self._dials.get(dial.peer) is dial:
            del self._dials[dial.peer]
            dial.fail(kind)
            self.freed()

    def turned_away(self, dial: Dial, address: Address) -> None:
        """The other end closed the connection before it was of any use."""
        dial.causes.append((address.text, "the connection was lost"))
        self._fail(dial, PeerBusy)

    # the other end of a dial

    def knocked(self, line: Line, address: Address, dial: Dial) -> None:
        """Somebody has dialled this host: the connection opens, waits for its place, or is closed."""
        if self._admits_one():
            self._let_in(line, address, dial)
            return
        self._queue = self._queue if self._queue is not None else deque()
        if len(self._queue) >= MAX_QUEUED:
            self._host.tell(Limited("connections", None))
            line.dialler.dialling.turned_away(dial, address)
            return
        self._queue.append(Knock(line, address, dial, trio.current_time() + PATIENCE))
        dial.knocks = True
        line.dialler.dialling._ends(dial, trio.current_time() + PATIENCE)
        self._look_later()

    def _let_in(self, line: Line, address: Address, dial: Dial) -> None:
        self._host.opened(line, line.dialler.source)
        line.dialler.dialling.connected(line, address, dial)

    def _look_later(self) -> None:
        # Connections become idle by the mere passing of time.
        if self._queue and not self._look_due:
            self._look_due = True
            self._world.at(trio.current_time() + IDLE / 5, self._look_again)

    def _look_again(self) -> None:
        self._look_due = False
        self._look()
        self._look_later()

    def _look(self) -> None:
        queue = self._queue or ()
        now = trio.current_time()
        while queue:
            line, address, dial, until = queue[0]
            dialler = line.dialler
            gone = not dial.wanted or not dialler.up or line.silent
            if not gone and now < until and not self._admits_one():
                return
            queue.popleft()
            if gone:
                dialler.dialling._fail(dial)
            elif now < until:
                self._let_in(line, address, dial)
            else:
                self._host.tell(Limited("connections", None))
                dialler.dialling.turned_away(dial, address)
