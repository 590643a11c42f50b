"""What a node tells about itself. `node.subscribe(listener)` gets each of these as it happens.

An event is one fact, complete when it is sent. Times are monotonic seconds of the node's clock.

Events of a lookup carry its number, which no other lookup of the node has, and its key:

LookupStarted  PeerAsked     a request leaves; the peer is dialled first where there is no connection
               PeerAnswered  after it the ValueHeard or ProvidersHeard that the answer brought, if it did
               PeerLate      no answer for long: its slot goes to somebody else; it may still answer, or fail
               PeerFailed
LookupEnded    or LookupCancelled; the last event of a lookup, also for those who were asked and had not answered

Every request is told once, when it is over: RequestEnded for those of this node, of lookups and of everything else that it
does; RequestServed for those of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from p2pkad.core.goals import Failure
    from p2pkad.core.lookup import Outcome
    from p2pkad.core.messages import MessageName
    from p2pkad.core.peers import PeerId, PeerInfo
    from p2pkad.core.records import Record
    from p2pkad.errors import P2pkadError
    from p2pkad.node.results import ProvideReceipt, PutReceipt

RequestResult = Literal["answered", "unreachable", "busy", "silent", "refused", "malformed", "limited", "cancelled"]
"""How a request of this node ends; `RequestEnded` says what each means."""

ServedResult = Literal["answered", "refused", "full", "limited", "failed", "cancelled"]
"""How a request of a peer ends; `RequestServed` says what each means."""


class HostFault(Enum):
    """What a host that `p2pkad.new_host` did not make leaves open, in words; docs/hosts.md says more of each."""

    INBOUND_PLACES = "once it has let in some 250 peers in its life, gone ones included, it lets in nobody"
    FULL = "at its limit of connections it refuses whoever comes, and keeps those of no use"
    OWN_KEY = "its peer store forgets its own key when it has heard of more peers than fit, and no handshake works from then on"
    UNINVITED_DIALS = "it dials peers that nobody asked it to"
    REPEATED_DIALS = "it tries each address that refuses several times before it says so"
    WILDCARDS = "it tells peers to reach it at 0.0.0.0"
    PLAINTEXT = "it takes connections without modern encryption"
    LISTENING = "it does not say when an address that it should listen on is taken"
    CLOSING = "it leaves sockets open when it ends"
    SLOW_READS = "each message costs several reads of its socket"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNotArmoured:
    """The host is one that `p2pkad.new_host` did not make. faults: what of it cannot be mended from outside.

    Told while the service is opened, to those who listen by then; the log has it, too.
    """

    at: float
    faults: tuple[HostFault, ...]


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
class PeerReturned:
    """A peer that had left the routing table for failing answers again. away: for so many seconds.

    It is in the table again, unless its place was taken. To a node that was started again, with the store that it had, all of
    its peers have been away.
    """

    at: float
    peer: PeerId
    away: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged:
    """The node answers requests now (server), or no longer does (client)."""

    at: float
    mode: Literal["server", "client"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupStarted:
    """A lookup begins. lookup: its number. kind: its goal's name. seeds: how many peers of the table it begins with."""

    at: float
    lookup: int
    kind: str
    key: bytes
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAsked:
    """A lookup asks a peer."""

    at: float
    lookup: int
    key: bytes
    peer: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAnswered:
    """A peer answered. seconds: since it was asked, dialling included. closer: how many believable peers it told of."""

    at: float
    lookup: int
    key: bytes
    peer: PeerId
    seconds: float
    closer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueHeard:
    """A peer's answer had a valid record. It may be worse than one that was heard before."""

    at: float
    lookup: int
    key: bytes
    peer: PeerId
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvidersHeard:
    """A peer's answer had providers, with the addresses that are believed. Others may have told of them before."""

    at: float
    lookup: int
    key: bytes
    peer: PeerId
    providers: tuple[PeerInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLate:
    """A peer was silent for so long that the lookup goes on without it. What it answers later still counts."""

    at: float
    lookup: int
    key: bytes
    peer: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFailed:
    """A peer will not answer. seconds: since it was asked."""

    at: float
    lookup: int
    key: bytes
    peer: PeerId
    seconds: float
    reason: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupEnded:
    """A lookup is over. seconds: how long it took. outcome: what it came to, and why it ended."""

    at: float
    lookup: int
    kind: str
    key: bytes
    seconds: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupCancelled:
    """Whoever wanted a lookup wants it no more."""

    at: float
    lookup: int
    kind: str
    key: bytes
    seconds: float


MOST_NAMED = 3
"""Bootstrap peers that are named when nobody answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapEnded:
    """The bootstrap peers were tried: how many there are, and how many answered. failed: who did not, and why.

    given_up: so many attempts in a row were in vain (`bootstrap_attempts`) that the node makes no more by itself.
    """

    at: float
    tried: int
    answered: int
    failed: tuple[tuple[PeerId, str], ...] = ()
    given_up: bool = False

    def __str__(self) -> str:
        """What came of it, for people. MOST_NAMED of those who did not answer are named."""
        if self.answered:
            return f"{self.answered} of {self.tried} bootstrap peers answered"
        named = [f"{peer}: {reason}" for peer, reason in self.failed[:MOST_NAMED]]
        if len(self.failed) > MOST_NAMED:
            named.append(f"and {len(self.failed) - MOST_NAMED} more")
        more = "; the node makes no more attempts by itself" if self.given_up else ""
        return f"no bootstrap peer answered ({'; '.join(named)}){more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Republished:
    """The node has published something of its own again, because it was time."""

    at: float
    kind: Literal["record", "provider"]
    key: bytes
    receipt: PutReceipt | ProvideReceipt


@dataclass(frozen=True, slots=True, kw_only=True)
class RepublishFailed:
    """It could not, or need not. StaleRecord: somebody else has a better record, which the node has come to know in whatever
    way, and keeps instead where it has room: it publishes the key no more.

    Anything else is tried again: in some minutes, or when the node has peers.
    """

    at: float
    kind: Literal["record", "provider"]
    key: bytes
    error: P2pkadError


Limit = Literal[
    "connections",
    "connections_per_prefix",
    "streams",
    "streams_per_peer",
    "arriving_bytes",
    "requests_in_flight",
    "requests_to_peer",
    "requests_per_peer",
    "stored_per_peer",
    "stored_bytes_per_peer",
    "updates_per_key",
    "updates_per_publisher",
    "lookups",
    "store",
]
"""What may run out: the options `max_<limit>`; for streams `max_inbound_streams`, for the store `max_records`,
`max_provider_keys` and `max_store_bytes`, for requests to one peer none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """A limit of this node turned something away, or made it wait: requests_in_flight, requests_to_peer, lookups, mostly
    requests_per_peer.

    peer: who was held back, or whom this node wanted to reach; None for lookups, and while nobody knows who connects.
    """

    at: float
    limit: Limit
    peer: PeerId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The node has published something for the first time, because it was told to. seconds: how long that took."""

    at: float
    kind: Literal["record", "provider"]
    key: bytes
    seconds: float
    receipt: PutReceipt | ProvideReceipt


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishFailed:
    """It could not; the caller was told the same. A call that was cancelled is not told."""

    at: float
    kind: Literal["record", "provider"]
    key: bytes
    seconds: float
    error: P2pkadError


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnded:
    """A request of this node is over. seconds: since it was made, dialling and waiting for room included.

    message: its name in the specification. An ADD_PROVIDER has no reply: "answered" says that the FIND_NODE or
    GET_PROVIDERS behind it on the same stream was. "unreachable" to
    "malformed": as in `Failure`. "limited": a limit of this node. "cancelled": whoever wanted it wants it no more; the rest
    of a lookup ends so.
    """

    at: float
    peer: PeerId
    message: MessageName
    seconds: float
    result: RequestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestServed:
    """A request of a peer is over, as far as this node's work goes. seconds: from the whole request to the whole answer.

    "refused": its stream is reset, because the peer or the record breaks a rule, or is not wanted. "full": because there is no
    room in the store. "limited": because the peer has had its share. "failed": a fault of this node, or of its disk.
    "cancelled": the stream was lost, or took too long. What cannot be read has no name, and is not told.
    """

    at: float
    peer: PeerId
    message: MessageName
    seconds: float
    result: ServedResult


LookupEvent = (
    LookupStarted
    | PeerAsked
    | PeerAnswered
    | ValueHeard
    | ProvidersHeard
    | PeerLate
    | PeerFailed
    | LookupEnded
    | LookupCancelled
)
"""The story of one lookup; each has its number and its key."""

NodeEvent = (
    HostNotArmoured
    | PeerAdmitted
    | PeerEvicted
    | PeerReturned
    | ModeChanged
    | BootstrapEnded
    | Published
    | PublishFailed
    | Republished
    | RepublishFailed
    | LimitReached
    | RequestEnded
    | RequestServed
    | LookupEvent
)
