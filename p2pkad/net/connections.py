"""The connections of a host, as values: which there are, which one to use, and which may go.

Nothing here touches a socket: `make_room` picks and forgets, its caller closes. So nothing changes between the look and
the choice, and the choice is tested without a network.

py-libp2p refuses dials at its limit and prunes by tags, long after; a lookup would take that for dead peers. Here a
reserve is kept free for dialling, and what goes is the idle and least useful connection, with the reason said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from p2pkad.core.peers import Address, PeerId
from p2pkad.core.tally import Tally
from p2pkad.net.base import Connection, Usefulness

Handle = TypeVar("Handle")
"""What a caller closes. Compared by identity."""

MAX_PER_PEER = 4
"""Connections to one peer. Two appear when both ends dial at once; more are a mistake, or one peer taking all slots."""
GRACE = 5.0
"""Seconds for which a new connection is the last to go: identify has not told yet what it is good for."""

IDLE = 0.3
"""Seconds without a request after which a connection that the other end opened counts as idle. Of our own we know it."""
SETTLE = 1.5
"""Seconds for which a connection that the other end opened is not idle before the first request on it, of either end."""


@dataclass(slots=True, eq=False)
class Held(Generic[Handle]):
    """One open connection. opened: monotonic seconds. used: the same, when the last request on it was over; None before the
    first."""

    handle: Handle
    peer: PeerId
    remote_address: Address | None
    inbound: bool
    opened: float
    used: float | None = None

    connection: Connection = field(init=False)
    """The same for the node, which asks for it several times a request."""

    def __post_init__(self) -> None:
        self.connection = Connection(self.peer, self.remote_address, self.inbound, self.opened)

    @property
    def idle_since(self) -> float:
        """When it was used last, or else opened; monotonic seconds."""
        return self.opened if self.used is None else self.used


@dataclass(slots=True)
class Connections(Generic[Handle]):
    """The open connections. limit: how many there may be; reserve: how many of these are kept free for dialling.

    usefulness: what the node thinks of a peer, asked at the moment room is needed.
    busy: whether a connection carries something that this table does not know of (another protocol's streams).
    """

    limit: int
    reserve: int
    usefulness: Callable[[PeerId], Usefulness] = lambda peer: Usefulness.NONE
    busy: Callable[[Handle], bool] = lambda handle: False
    _peers: dict[PeerId, list[Held[Handle]]] = field(default_factory=dict)
    _users: Tally = field(default_factory=Tally)
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Held[Handle]]:
        for held in self._peers.values():
            yield from held

    def __repr__(self) -> str:
        inbound = self.inbound
        return f"<Connections {self._count}/{self.limit} peers={len(self._peers)} inbound={inbound} in_use={len(self._users)}>"

    @property
    def inbound(self) -> int:
        """How many of them the other end opened."""
        return sum(held.inbound for held in self)

    @property
    def most_of_others(self) -> int:
        """How many of them others may have opened, however busy these are: the reserve is for dialling, or of few places a
        quarter."""
        return self.limit - min(self.reserve, self.limit // 4)

    @property
    def most_dials(self) -> int:
        """How many dials may be under way at a time. The other quarter of the places is for those who dial this host: were
        all hosts full of dials to each other, each would wait for the others and none would be let in."""
        return self.limit - max(1, self.limit // 4)

    @property
    def most_handshakes(self) -> int:
        """How many inbound connections may shake hands at a time, so that strangers who never finish leave room."""
        return max(1, self.limit // 2)

    def peers(self) -> list[PeerId]:
        """Who is connected."""
        return list(self._peers)

    def of(self, peer: PeerId) -> list[Held[Handle]]:
        """The connections to a peer, oldest first."""
        return self._peers.get(peer, [])

    def add(self, held: Held[Handle]) -> None:
        """Take note of a new connection."""
        self._peers.setdefault(held.peer, []).append(held)
        self._count += 1

    def remove(self, handle: Handle, peer: PeerId) -> Held[Handle] | None:
        """Forget a connection; None when it was forgotten before."""
        for held in self._peers.get(peer, []):
            if held.handle is handle:
                self._forget(held)
                return held
        return None

    def using(self, peer: PeerId, after: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
        """While this lasts no connection to the peer is chosen to go, one that is only being dialled included.

        after: called when it is over.
        """
        return self._users.during(peer, after)

    def make_room(self, wanted: int, now: float) -> list[tuple[Held[Handle], str]]:
        """Choose what has to go so that `wanted` more connections fit below the limit.

        Returns the connections to close, each with the reason, and forgets them. Fewer than needed are returned when the
        others may not go: those to peers in use, and to protected ones.
        """
        return self._choose(self._count + wanted - self.limit, now)

    def make_room_for_others(self, wanted: int, now: float) -> list[tuple[Held[Handle], str]]:
        """The same for `wanted` more that others open: of these so many have to go that all of them leave the reserve."""
        return self._choose(self.inbound + wanted - self.most_of_others, now, of_others=True)

    def trim(self, now: float) -> list[tuple[Held[Handle], str]]:
        """Choose what has to go so that the reserve is free again, new connections excepted. Returns as `make_room`.

        A peer of the routing table may go for a newcomer: it can be dialled again, a newcomer that was refused is lost.
        """
        return self._choose(self._count + self.reserve - self.limit, now, at_least=GRACE)

    def surplus(self, peer: PeerId) -> list[tuple[Held[Handle], str]]:
        """The connections to one peer beyond MAX_PER_PEER, newest first. Returns as `make_room`."""
        chosen = [(held, f"{MAX_PER_PEER} connections to this peer are enough") for held in self.of(peer)[MAX_PER_PEER:]]
        for held, _ in chosen:
            self._forget(held)
        return chosen

    def _choose(
        self, surplus: int, now: float, *, at_least: float = 0.0, of_others: bool = False
    ) -> list[tuple[Held[Handle], str]]:
        if surplus <= 0:
            return []
        may_go = [
            (held, useful)
            for held, useful in self._ranks()
            if (held.inbound or not of_others)
            and useful < Usefulness.PROTECTED
            and now - held.opened >= at_least
            and not self._in_use(held, now)
        ]
        may_go.sort(key=lambda each: _order(each[0], each[1], now))
        chosen = []
        for held, useful in may_go[:surplus]:
            self._forget(held)
            idle = now - held.idle_since
            chosen.append((held, f"{useful.name.lower()}, idle for {idle:.1f} s, {self.limit} connections at most"))
        return chosen

    def _in_use(self, held: Held[Handle], now: float) -> bool:
        quiet = SETTLE if held.used is None else IDLE
        return held.peer in self._users or (held.inbound and now - held.idle_since < quiet) or self.busy(held.handle)

    def _ranks(self) -> Iterator[tuple[Held[Handle], Usefulness]]:
        # Were all of them protected, nobody could come or be dialled: a quarter is, to those that came first.
        places = self.most_of_others // 4
        for held in sorted(self, key=lambda held: held.opened):
            useful = self.usefulness(held.peer)
            if useful is Usefulness.PROTECTED:
                useful = Usefulness.PROTECTED if places > 0 else Usefulness.IN_TABLE
                places -= 1
            yield held, useful

    def _forget(self, held: Held[Handle]) -> None:
        same = self._peers[held.peer]
        same.remove(held)
        self._count -= 1
        if not same:
            del self._peers[held.peer]


def _order(held: Held[Handle], useful: Usefulness, now: float) -> tuple[bool, int, float]:
    # What is new has not been judged yet: it goes after what has, and among its like in turn.
    if now - held.opened < GRACE:
        return True, 0, held.opened
    return False, useful, held.idle_since
