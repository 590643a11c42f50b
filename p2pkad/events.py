"""What a node tells about itself. `node.subscribe(listener)` gets each of these as it happens.

An event is one fact, complete when it is sent. Times are monotonic seconds of the node's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from p2pkad.core.lookup import Outcome
    from p2pkad.core.peers import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAdmitted:
    """A peer entered the routing table. bucket: the common prefix with the own id, in bits."""

    at: float
    peer: PeerId
    bucket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEvicted:
    """A peer left the routing table. Sent after the change. moved: to an address group that has enough peers there."""

    at: float
    peer: PeerId
    bucket: int
    cause: Literal["failed", "left_protocol", "moved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged:
    """The node answers requests now (server), or no longer does (client)."""

    at: float
    mode: Literal["server", "client"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupEnded:
    """A lookup is over. kind: the goal's name. seconds: how long it took."""

    at: float
    kind: str
    key: bytes
    seconds: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapEnded:
    """The bootstrap peers were tried: how many there are, and how many answered."""

    at: float
    tried: int
    answered: int


NodeEvent = PeerAdmitted | PeerEvicted | ModeChanged | LookupEnded | BootstrapEnded
