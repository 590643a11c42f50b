"""A connection between two simulated hosts, and the exchanges under way on it.

Each end knows a connection until it closes it, hears that the other did, or gives it up; for a while they may differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pkad.core.messages import AddProvider, AnyRequest
from p2pkad.net.simulated.parking import LineLost, Parked

if TYPE_CHECKING:
    from p2pkad.net.simulated.host import SimulatedHost


class Exchange(Parked):
    """One request and its reply on a line.

    message: None is libp2p's ping. before: what goes ahead of it on the same stream. size: bytes of the message, where they
    matter. deadline: seconds, as trio's.
    """

    __slots__ = ("asker", "before", "deadline", "line", "message", "protocol", "size")

    def __init__(
        self,
        asker: SimulatedHost,
        line: Line,
        protocol: str,
        message: AnyRequest | None,
        before: AddProvider | None,
        size: int,
        deadline: float,
    ) -> None:
        super().__init__()
        self.asker = asker
        self.line = line
        self.protocol = protocol
        self.message = message
        self.before = before
        self.size = size
        self.deadline = deadline


class Line:
    """dialler, listener: its ends. broken: nothing passes any more, though an end may not know it."""

    __slots__ = ("_latency", "_version", "broken", "dialler", "exchanges", "listener")

    def __init__(self, dialler: SimulatedHost, listener: SimulatedHost) -> None:
        self.dialler = dialler
        self.listener = listener
        self.broken = False
        self.exchanges: dict[Exchange, None] = {}
        self._version = -1
        self._latency = 0.0

    @property
    def latency(self) -> float:
        """Seconds one way, as of now."""
        links = self.dialler.world.links
        if self._version != links.version:
            self._version = links.version
            self._latency = links.latency(self.dialler.number, self.listener.number)
        return self._latency

    @property
    def silent(self) -> bool:
        """Whether what is sent does not arrive."""
        return self.broken or self.dialler.world.links.severed(self.dialler.number, self.listener.number)

    def other(self, end: SimulatedHost) -> SimulatedHost:
        """The other end."""
        return self.listener if end is self.dialler else self.dialler

    def end_exchanges(self, asker: SimulatedHost) -> None:
        """One end has lost this connection: what it asked will not be answered."""
        for exchange in list(self.exchanges):
            if exchange.asker is asker:
                exchange.wake(LineLost())
