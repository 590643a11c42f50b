"""A line in the log for each event that an operator would like to know of: a name that stays, and fields beside it.

level    event                  fields
info     bootstrap peers asked  tried answered; as a warning when nobody answered, with given_up when it was the last attempt,
warning  bootstrap peer failed  peer reason; for MOST_NAMED of them. Where the same fail as the last time, that is no news, but
                                for a reminder
info     peer admitted          peer
info     peer evicted           peer cause
warning  routing table empty    whoever is evicted last
info     mode changed           mode; as a warning when the node is no server any more
warning  publishing failed      kind key error; what its caller was told, too, and what a later attempt came to
info     not published any more kind key; somebody else has a better record
error    request failed         request; a fault of this node, once a minute for each kind of request
warning  store full             request; somebody else's record found no room, as often
warning  limit reached          limit, as `events.Limit` names them; as often
debug    (the event's class)    its fields

Whatever peers can bring about is written LINES times a minute at most; the next line after that says in `suppressed` how many
were left out. What is stored is nobody's business: a key is the first digits of its hash, and a value is never in a line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import Enum
from hashlib import sha256
from logging import DEBUG, ERROR, INFO, WARNING, Filter, LogRecord, getLogger
from types import TracebackType
from typing import TYPE_CHECKING, Self

from p2pkad import NodeClosed, PeerId, StaleRecord, events

if TYPE_CHECKING:
    from p2pkad import KademliaService

log = getLogger(__name__)

NOTABLE = (
    events.BootstrapEnded
    | events.PeerAdmitted
    | events.PeerEvicted
    | events.ModeChanged
    | events.RepublishFailed
    | events.RequestServed
    | events.LimitReached
)
"""What is listened to above debug. The steps of lookups are many: only at debug are they made at all."""

REMINDER = 600.0
"""Seconds after which it is said once more that nobody answers. There is an attempt every half minute."""

MINUTE = 60.0
LINES = 30
"""Lines of one name in a minute, of those that peers bring about."""

KINDS = 256
"""Lines that are told apart by what they say; of libraries that write figures into the sentence there is no end of them."""

ONCE = 1
"""Of those that say what goes on and on once it has begun."""

Fields = Mapping[str, object]


class EventLog:
    """Writes what a node tells: `with EventLog(node)`, or `close`. Logging is set up before: it asks for the level once."""

    def __init__(self, node: KademliaService) -> None:
        self._node = node
        self._rates: dict[tuple[str, str], _Rate] = {}
        self._bootstrap: events.BootstrapEnded | None = None
        """The last one that was written."""
        kinds = events.NodeEvent if log.isEnabledFor(DEBUG) else NOTABLE
        self._unsubscribe: Callable[[], None] = node.subscribe(self._write, kinds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Write no more. Twice is once."""
        self._unsubscribe()

    def _write(self, event: events.NodeEvent) -> None:
        match event:
            case events.BootstrapEnded() if self._is_news(event):
                self._write_bootstrap(event)
            case events.PeerAdmitted(at=at, peer=peer):
                self._line(INFO, "peer admitted", at, {"peer": str(peer)}, LINES)
            case events.PeerEvicted(at=at, peer=peer, cause=cause):
                self._line(INFO, "peer evicted", at, {"peer": str(peer), "cause": cause}, LINES)
                if self._is_alone():
                    self._line(WARNING, "routing table empty", at, {}, ONCE)
            case events.ModeChanged(at=at, mode=mode):
                self._line(INFO if mode == "server" else WARNING, "mode changed", at, {"mode": mode}, LINES)
            case events.RepublishFailed():
                # Of a call that failed its caller knows, who may have meant it to be tried: PublishFailed is no warning.
                self._write_publishing(event)
            case events.RequestServed(at=at, message=message, result="failed"):
                self._line(ERROR, "request failed", at, {"request": message}, ONCE, about=message)
            case events.RequestServed(at=at, message=message, result="full"):
                self._line(WARNING, "store full", at, {"request": message}, ONCE, about=message)
            case events.LimitReached(at=at, limit=limit) if limit != "store":
                self._line(WARNING, "limit reached", at, {"limit": limit}, ONCE, about=limit)
            case _:
                if log.isEnabledFor(DEBUG):
                    log.debug(type(event).__name__, extra=_without_content(event))

    def _is_news(self, event: events.BootstrapEnded) -> bool:
        last = self._bootstrap
        if last is None or _who_failed(event) != _who_failed(last) or event.given_up != last.given_up:
            return True
        return not event.answered and event.at >= last.at + REMINDER

    def _write_bootstrap(self, event: events.BootstrapEnded) -> None:
        self._bootstrap = event
        told = {"tried": event.tried, "answered": event.answered}
        if event.given_up:
            told["given_up"] = True
        log.log(INFO if event.answered else WARNING, "bootstrap peers asked", extra=told)
        for peer, reason in () if event.answered else event.failed[: events.MOST_NAMED]:
            log.warning("bootstrap peer failed", extra={"peer": str(peer), "reason": reason})

    def _write_publishing(self, event: events.RepublishFailed) -> None:
        told = {"kind": event.kind, "key": hash_of(event.key)}
        if isinstance(event.error, StaleRecord):
            self._line(INFO, "not published any more", event.at, told, LINES)
            return
        # The sentence of an error about a record has its key in it.
        self._line(WARNING, "publishing failed", event.at, {**told, "error": type(event.error).__name__}, LINES)

    def _is_alone(self) -> bool:
        with suppress(NodeClosed):
            return not self._node.stats().table
        return False

    def _line(self, level: int, name: str, at: float, told: Fields, most: int, about: str = "") -> None:
        rate = self._rates.setdefault((name, about), _Rate(at))
        left_out = rate.admit(at, most)
        if left_out is not None:
            log.log(level, name, extra={**told, "suppressed": left_out} if left_out else told)


class Throttle(Filter):
    """A bound on warnings and errors of everybody, for a handler: LINES a minute of each kind, and no more than KINDS kinds.

    What a peer does wrong again and again is said again and again; whoever writes the line seldom thinks of that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rates: dict[tuple[str, str], _Rate] = {}

    def filter(self, record: LogRecord) -> bool:
        """Whether the line is written. One after others that were not has their number in `suppressed`."""
        if record.levelno < WARNING:
            return True
        kind = (record.name, str(record.msg))
        if kind not in self._rates and len(self._rates) >= KINDS:
            kind = ("", "")
        left_out = self._rates.setdefault(kind, _Rate(record.created)).admit(record.created, LINES)
        if left_out:
            record.suppressed = left_out
        return left_out is not None


@dataclass(slots=True)
class _Rate:
    """How often a line was written in the minute that began at `since`, and how many were left out since the last one."""

    since: float
    written: int = 0
    left_out: int = 0

    def admit(self, at: float, most: int) -> int | None:
        """How many were left out before this one; None: this one is, too."""
        # Lines of others have the time of the clock on the wall: one that was set back would be waited for.
        if not 0 <= at - self.since < MINUTE:
            self.since, self.written = at, 0
        if self.written >= most:
            self.left_out += 1
            return None
        left_out, self.left_out = self.left_out, 0
        self.written += 1
        return left_out


def _who_failed(event: events.BootstrapEnded) -> set[PeerId]:
    # Not why: a reason has seconds in it, and addresses in whatever order they failed.
    return {peer for peer, _ in event.failed}


def hash_of(key: bytes) -> str:
    """By what lines about the same key can be told to be: the first digits of its hash."""
    return sha256(key).hexdigest()[:8]


def _without_content(event: events.NodeEvent) -> dict[str, object]:
    """The fields of an event that say nothing of what is stored. `message` is the log's own word."""
    names = (each.name for each in fields(event) if each.name != "at")
    return {"request" if name == "message" else name: _shown(getattr(event, name)) for name in names}


def _shown(value: object) -> object:
    match value:
        case PeerId():
            return str(value)
        case bytes():
            return hash_of(value)
        case Enum():
            return value.name.lower()
        case tuple():
            return len(value)
        case bool() | int() | float() | str():
            return value
        case _:
            return type(value).__name__
