"""Whether a node is well, in one word for machines and one sentence for whoever is woken by it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from p2pkad import peer_id
from p2pkad.errors import NodeClosed
from p2pkad.events import BootstrapEnded

if TYPE_CHECKING:
    from p2pkad import KademliaService, NodeStats

ALONE = "alone: no bootstrap peers are configured, and nobody is there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """live: the node runs; one that does not is to be started anew. ready: it can be used. reason: why, or why not."""

    live: bool
    ready: bool
    reason: str


def others_in_bootstrap(node: KademliaService) -> tuple[str, ...]:
    """The bootstrap peers of a node without itself: bootstrap nodes share a list that names them, too."""
    return tuple(each for each in node.config.bootstrap if not is_itself(node, each))


def is_itself(node: KademliaService, address: str) -> bool:
    """Whether a bootstrap peer is the node itself, in whatever way its id is written."""
    return peer_id(address.rpartition("/p2p/")[2]) == node.id


def is_first(node: KademliaService) -> bool:
    """Whether a node has nobody to wait for, so that its empty routing table is no fault: a server without bootstrap peers."""
    return node.mode == "server" and not others_in_bootstrap(node)


class HealthWatch:
    """Judges a node. It listens to the outcome of bootstrap attempts; `close` ends that, as leaving its block does."""

    def __init__(self, node: KademliaService) -> None:
        self._node = node
        self._attempt: BootstrapEnded | None = None
        self._unsubscribe = node.subscribe(self._remember, BootstrapEnded)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more. Twice is once."""
        self._unsubscribe()

    def health(self) -> Health:
        """As of now.

        A server is ready when it has an address and a peer that answers; a client, when it has such a peer. The first node of
        a network has nobody to wait for: a server without bootstrap peers is ready alone. Nobody is whose disk takes nothing.
        """
        try:
            return self._judge(self._node.stats(), self._node.addresses)
        except NodeClosed as closed:
            return Health(live=False, ready=False, reason=str(closed))

    def _judge(self, stats: NodeStats, addresses: tuple[str, ...]) -> Health:
        if stats.mode == "server" and not addresses:
            reason = "a server without an address: nobody can reach it; give it one to listen on, or to announce"
            return Health(live=True, ready=False, reason=reason)
        if stats.store_trouble:
            return Health(live=True, ready=False, reason=stats.store_trouble)
        if stats.silent < stats.table:
            return Health(live=True, ready=True, reason=f"{counted(stats.table, 'peer')} in the routing table")
        if is_first(self._node):
            return Health(live=True, ready=True, reason=f"{ALONE}; {silence(stats)}" if stats.table else ALONE)
        if stats.table:
            return Health(live=True, ready=False, reason=silence(stats))
        if others := others_in_bootstrap(self._node):
            return Health(live=True, ready=False, reason=f"no peers in the routing table: {self._of_attempt(len(others))}")
        reason = "no peers in the routing table, and no bootstrap peers: a client alone has nobody to ask"
        return Health(live=True, ready=False, reason=reason)

    def _of_attempt(self, configured: int) -> str:
        attempt = self._attempt
        if attempt is None:
            return f"{counted(configured, 'bootstrap peer')} asked, and not one has answered yet"
        return f"{attempt}, and none is there now" if attempt.answered else str(attempt)

    def _remember(self, event: BootstrapEnded) -> None:
        self._attempt = event


def silence(stats: NodeStats) -> str:
    """What there is to say where nobody of the routing table answers any more."""
    return f"of {counted(stats.table, 'peer')} in the routing table none answers"


def counted(number: int, thing: str) -> str:
    """1 peer, 2 peers."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
