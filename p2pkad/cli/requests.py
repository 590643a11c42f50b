"""What can be asked of a node, as values: the same whether it lives as long as the command or runs in another process.

A request is checked when it is made; it holds texts and numbers only, so that it can travel. What is answered is an object
of JSON, or several, and is what the command prints with `--json`. Making one raises UsageError.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, get_args

from p2pkad.cli.exits import UsageError
from p2pkad.cli.words import key_of, require_peer, require_peer_or_address

DEFAULT_TIMEOUT = 60.0
MAX_TIMEOUT = 24 * 3600.0
"""Seconds that anything may be asked to take."""
GRACE = 2.0
"""Seconds beyond a time-out: a search ends by its own deadline first, and says more than "timed out"."""

BETWEEN_PINGS = 1.0
"""Seconds from one answer to the next question, as ping(8) leaves them."""

Answer = dict[str, Any]
Tell = Callable[[Answer], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """timeout: seconds for all of it."""

    timeout: float = DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= MAX_TIMEOUT:
            raise UsageError(f"--timeout {self.timeout:.15g}: must be above 0, and {MAX_TIMEOUT:.0f} at most", "timeout")


@dataclass(frozen=True, kw_only=True)
class Keyed(Timed):
    """key: as typed, /ns/name or hex: and its bytes."""

    key: str

    def __post_init__(self) -> None:
        super().__post_init__()
        key_of(self.key)


@dataclass(frozen=True, kw_only=True)
class Put(Keyed):
    """value: in base64."""

    value: str
    allow_large: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            b64decode(self.value, validate=True)
        except ValueError:
            raise UsageError("a value travels in base64, and this is none") from None


@dataclass(frozen=True, kw_only=True)
class Get(Keyed):
    """quorum: how many have to agree; 0 asks all that are nearest."""

    quorum: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(0, "quorum", self.quorum)


@dataclass(frozen=True, kw_only=True)
class StopPublishing(Keyed):
    """What `Put` began."""


@dataclass(frozen=True, kw_only=True)
class Provide(Timed):
    """content: a CID, or a multihash in hex."""

    content: str


@dataclass(frozen=True, kw_only=True)
class StopProviding(Timed):
    """What `Provide` began."""

    content: str


@dataclass(frozen=True, kw_only=True)
class FindProviders(Timed):
    """An answer for each provider, as they are found. count: 0 finds all."""

    content: str
    count: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(0, "count", self.count)


@dataclass(frozen=True, kw_only=True)
class FindPeer(Timed):
    """peer: its id."""

    peer: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_peer(self.peer)


@dataclass(frozen=True, kw_only=True)
class Closest(Keyed):
    """An answer for each peer, nearest first. count: None takes k."""

    count: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(1, "count", 1 if self.count is None else self.count)


@dataclass(frozen=True, kw_only=True)
class Ping(Timed):
    """An answer for each round trip, BETWEEN_PINGS apart; `timeout` is for all of them. peer: its id, or its address."""

    peer: str
    count: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_peer_or_address(self.peer)
        _at_least(1, "count", self.count)
        if self.count - 1 >= (self.timeout + GRACE) / BETWEEN_PINGS:
            late = f"--count {self.count}: one each {BETWEEN_PINGS:g} s takes more than the {self.timeout:g} s that there are"
            raise UsageError(f"{late}; pass a longer --timeout", "count", "timeout")


@dataclass(frozen=True, kw_only=True)
class Status(Timed):
    """The node in figures."""


@dataclass(frozen=True, kw_only=True)
class Peers(Timed):
    """An answer for each peer that is connected or in the routing table."""


@dataclass(frozen=True, kw_only=True)
class Doctor(Timed):
    """An answer for each finding."""


Request = (
    Put | Get | StopPublishing | Provide | StopProviding | FindProviders | FindPeer | Closest | Ping | Status | Peers | Doctor
)

REQUESTS: dict[str, type[Request]] = {
    "put": Put,
    "get": Get,
    "stop-publishing": StopPublishing,
    "provide": Provide,
    "stop-providing": StopProviding,
    "findprovs": FindProviders,
    "findpeer": FindPeer,
    "closest": Closest,
    "ping": Ping,
    "status": Status,
    "peers": Peers,
    "doctor": Doctor,
}
"""Each by the verb that is typed for it."""

VERBS = {kind: verb for verb, kind in REQUESTS.items()}
assert VERBS.keys() == set(get_args(Request))


class Asked(Protocol):
    """A node to ask, wherever it is."""

    async def ask(self, request: Request, tell: Tell) -> None:
        """Call `tell` with each answer, in order, and return when there are no more.

        Raises P2pkadError. Cancelled: the node stops working on it.
        """
        ...


def _at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise UsageError(f"--{name} {value}: must be {least} or more")


async def ask_once(node: Asked, request: Request) -> Answer:
    """The answer to a request that has one."""
    answers: list[Answer] = []

    async def keep(answer: Answer) -> None:
        answers.append(answer)

    await node.ask(request, keep)
    (answer,) = answers
    return answer
