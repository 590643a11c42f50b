"""Everything that p2pkad raises.

P2pkadError
├── ConfigError
├── ProtocolError
│   ├── LocalProtocolError        this program broke the protocol's rules
│   └── RemoteProtocolError       the peer did
├── NetworkError
│   ├── PeerUnreachable           no address led to the peer
│   ├── PeerBusy                  the peer is there and closed the connection: it has no room
│   ├── RequestTimeout            the peer is silent
│   ├── RequestFailed             the peer reset the stream or refused the protocol
│   └── LocalLimit                this node's own bound; says nothing about the peer
├── RecordError
│   ├── InvalidRecord
│   │   └── NoValidator           nobody knows the rules for its key
│   ├── StaleRecord
│   └── RecordTooLarge
├── LookupFailed
│   ├── NotFound
│   ├── NoPeers
│   └── QuorumNotMet
├── StoreError
│   ├── StoreFull                 at its bound, or the disk is
│   └── StoreFailed               the disk refuses or breaks
└── NodeClosed

An error carries as attributes what its sentence says, so that nobody has to parse the sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pkad.core.peers import PeerId


class P2pkadError(Exception):
    """The root: `except P2pkadError` catches all that this package raises on purpose."""


class ConfigError(P2pkadError):
    """An option has a value that cannot work, or the machine refuses it. The sentence says what to do.

    options: those whose values do not work, where it is known; several where they do not go together.
    """

    def __init__(self, sentence: str, *options: str) -> None:
        super().__init__(sentence)
        self.options = options


class ProtocolError(P2pkadError):
    """Somebody left the kad-dht specification."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something that the protocol cannot express."""


class RemoteProtocolError(ProtocolError):
    """A peer sent what the specification forbids."""

    def __init__(self, reason: str, *, peer: PeerId | None = None) -> None:
        super().__init__(reason if peer is None else f"{peer}: {reason}")
        self.reason = reason
        self.peer = peer


class NetworkError(P2pkadError):
    """A peer could not be talked to."""


class PeerUnreachable(NetworkError):
    """No address led to the peer. `causes` has a reason for each address that was dialled."""

    def __init__(self, peer: PeerId, causes: Sequence[tuple[str, str]] = ()) -> None:
        tried = "; ".join(f"{address}: {reason}" for address, reason in causes)
        super().__init__(f"{peer}: unreachable ({tried or 'no usable address'})")
        self.peer = peer
        self.causes = tuple(causes)


class PeerBusy(NetworkError):
    """The peer is there, and closed the connection before it answered: it has no room now, and may have later.

    Peers of all implementations do so at their own limit, before a handshake or after it. `causes` has a reason for each
    address that was dialled; an empty address stands for a connection that was open already.
    """

    def __init__(self, peer: PeerId, causes: Sequence[tuple[str, str]]) -> None:
        tried = "; ".join(f"{address}: {reason}" if address else reason for address, reason in causes)
        super().__init__(f"{peer}: has no room for this node ({tried})")
        self.peer = peer
        self.causes = tuple(causes)


class RequestTimeout(NetworkError):
    """The peer did not answer within the deadline. Whether it acted on the request is unknown."""

    def __init__(self, peer: PeerId, doing: str, seconds: float) -> None:
        seconds = max(0.0, seconds)  # the deadline may have been over before anything began
        super().__init__(f"{peer}: no answer to {doing} within {seconds:.3g} s")
        self.peer = peer
        self.doing = doing
        self.seconds = seconds


class RequestFailed(NetworkError):
    """The peer reset the stream or refused the protocol, on a connection that it kept."""

    def __init__(self, peer: PeerId, reason: str) -> None:
        super().__init__(f"{peer}: {reason}")
        self.peer = peer
        self.reason = reason


class LocalLimit(NetworkError):
    """A bound of this node was reached. It is never held against the peer."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what}: the limit of {limit} is reached")
        self.what = what
        self.limit = limit


class NotReady(NetworkError):
    """The routing table did not reach the size that was waited for."""

    def __init__(self, peers: int, wanted: int, seconds: float, why: str = "") -> None:
        seconds = max(0.0, seconds)  # whoever works out what is left of its time may have none
        sentence = f"{peers} of {wanted} peers in the routing table after {seconds:.3g} s"
        super().__init__(f"{sentence}: {why}" if why else sentence)
        self.peers = peers
        self.wanted = wanted
        self.seconds = seconds


class RecordError(P2pkadError):
    """A record cannot be stored or served. `key` is the record's key."""

    def __init__(self, key: bytes, reason: str) -> None:
        super().__init__(f"{key_text(key)}: {reason}")
        self.key = key
        self.reason = reason


class InvalidRecord(RecordError):
    """The validator of the key's namespace refuses the value, or there is no validator for it."""


class NoValidator(InvalidRecord):
    """There is no validator for the key's namespace, or the key has none, and no default validator."""


class StaleRecord(RecordError):
    """A better record for the key is stored already."""


class RecordTooLarge(RecordError):
    """The record does not fit into a message: of the size that every implementation accepts, or, when large ones were allowed,
    of any size that this node sends. With `allow_large` the first is sent all the same, and some take it.
    """

    def __init__(self, key: bytes, size: int, limit: int, *, everywhere: bool = True) -> None:
        most = "the most that every peer takes" if everywhere else "the limit"
        super().__init__(key, f"the record takes {size} bytes on the wire, and {limit} is {most}")
        self.size = size
        self.limit = limit


class LookupFailed(P2pkadError):
    """A lookup ended without what was asked for.

    asked, answered: how many peers were asked, and how many of those answered.
    """

    def __init__(self, sentence: str, *, asked: int = 0, answered: int = 0) -> None:
        super().__init__(sentence)
        self.asked = asked
        self.answered = answered


class NotFound(LookupFailed):
    """Nobody who answered has it. complete: those who would have it did answer; else it may be there."""

    def __init__(self, what: str, *, asked: int, answered: int, complete: bool = True) -> None:
        ended = "not found"
        if not complete:
            ended = "not found in time, and may be there" if answered else "nobody answered"
        super().__init__(f"{what}: {ended} ({asked} asked, {answered} answered)", asked=asked, answered=answered)
        self.what = what
        self.complete = complete


class NoPeers(LookupFailed):
    """There is nobody to ask: the routing table is empty and no bootstrap peer was reached; or, where something was to be
    published, none of those who were asked for its place answered.

    late: the time was over before anybody was asked.
    """

    def __init__(self, what: str, *, asked: int = 0, late: bool = False) -> None:
        if asked:
            why = f"none of the {asked} peers asked for its place answered. Are they up? Try again, or with a longer timeout"
        elif late:
            why = "the time was over before anybody was asked. Try again, with a longer timeout"
        else:
            why = (
                "there is nobody to ask: the routing table is empty, and no bootstrap peer answered. "
                "Name bootstrap peers that are up, or connect to a peer first"
            )
        super().__init__(f"{what}: {why}", asked=asked)


class QuorumNotMet(LookupFailed):
    """Fewer peers agreed, or stored, than were asked for; or nobody took an announcement.

    agreed: how many gave the best value. best: that value, or None. receipt: of a put, whose copies stay where they are, or of
    an announcement.
    """

    def __init__(
        self,
        sentence: str,
        *,
        asked: int = 0,
        answered: int = 0,
        agreed: int = 0,
        best: bytes | None = None,
        receipt: object | None = None,
    ) -> None:
        super().__init__(sentence, asked=asked, answered=answered)
        self.agreed = agreed
        self.best = best
        self.receipt = receipt


class StoreError(P2pkadError):
    """The store did not take what came: nothing of it is stored, what was there is there as before.

    But for a StoreFailed that is `in_use`.
    """


class StoreFull(StoreError):
    """The store is at its bound and everything in it is worth more than what came; or its disk is full."""


class StoreFailed(StoreError):
    """The disk refused to write, or failed; the sentence has the system's reason. Or it has not answered for 30 seconds,
    or not in the time of the call.

    in_use: what came may be all the same, and be stored when the disk moves, or not.
    """

    def __init__(self, sentence: str, *, in_use: bool = False) -> None:
        super().__init__(sentence)
        self.in_use = in_use


class NodeClosed(P2pkadError):
    """The node is closed, or closing."""

    def __init__(self) -> None:
        super().__init__("the node is closed")


def without_content(error: Exception) -> str:
    """What an error says, for a log: of one that is about a record or a lookup its name alone, for its sentence has a key."""
    about_content = isinstance(error, RecordError | LookupFailed | StoreFull)
    return type(error).__name__ if about_content or not str(error) else str(error)


_LONGEST_KEY = 80
"""Bytes of a key that a sentence shows; keys come from peers, too, and may have megabytes."""


def key_text(key: bytes) -> str:
    """A key as people type it: `/ns/name` where all of it is printable ASCII, `hex:…` elsewhere; a long one is cut."""
    shown, more = key[:_LONGEST_KEY], f"… ({len(key)} bytes)" if len(key) > _LONGEST_KEY else ""
    if shown.startswith(b"/") and all(0x20 < byte < 0x7F for byte in shown):
        return shown.decode("ascii") + more
    return f"hex:{shown.hex()}{more}"
