"""Peers that are missed in the table: who left it for failing, and newcomers who knew nobody yet.

A network that falls apart comes together again only if somebody remembers who was on the other side.

turns      as long as anybody is missed, one of them is tried every now and then (the caller's timer: some 25 s), so that a
           network that healed is noticed however long it was apart. Each has a wait, FIRST_WAIT at first, doubled by
           each try in vain up to LONGEST_WAIT. It is the turn of who has waited for the greatest multiple of its wait: with
           few to try each is tried often, with many all of them wait longer by the same factor, and nobody starves.
a return   may be a network and not just a peer. Those who had left at about the same time are called, COMPANY of them, to
           be tried at once; each of them that answers calls as many more. So a network comes back within a few round
           trips, and a lone peer costs COMPANY tries.
forgotten  after KEPT; and when there are too many, who had been in the table for the shortest time goes first. A network
           loses short-lived peers all the time, but many long-lived ones together only when it falls apart; and who was
           there for long is likely to be there again (Maymounkov and Mazieres, "Kademlia", section 2.1).

Everything known of a peer is in its `AwaitedPeer`, plain data that can be kept across restarts. Times: monotonic seconds,
from the caller. go, rust and js forget peers that fail; all of this is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from p2pkad.core.peers import PeerId

FIRST_WAIT = 20.0
"""Seconds until a peer may be tried again that has just failed: a program takes about as long to be started again."""

LONGEST_WAIT = 3600.0
"""Seconds beyond which the wait does not grow."""

COMPANY = 8
"""How many are called when one returns. Half of a network that fell apart are enough to bring all of it back."""

KEPT = 24 * 3600.0
"""Seconds after which a peer is forgotten: addresses rarely outlive a day of silence."""


@dataclass(frozen=True, slots=True)
class AwaitedPeer:
    """since: when it left, or was turned away. stayed: seconds it had been in the table, 0 for one that never was.

    tried: when it failed last. tries: how often it was tried since it left.
    """

    peer: PeerId
    since: float
    stayed: float
    tried: float
    tries: int = 0

    @property
    def wait(self) -> float:
        """Seconds from its last try to the next one, if it is alone."""
        return min(FIRST_WAIT * 2.0 ** min(self.tries, 30), LONGEST_WAIT)


class Awaited:
    """At most `max_peers` (1 or more) missed peers. Every call is legal at any time."""

    def __init__(self, max_peers: int) -> None:
        self._max_peers = max_peers
        self._peers: dict[PeerId, AwaitedPeer] = {}  # tried longest ago first
        self._called: dict[PeerId, None] = {}

    def add(self, peer: PeerId, stayed: float, now: float) -> PeerId | None:
        """Miss `peer` from now on. Returns who is forgotten for its sake, possibly `peer` itself.

        Nothing changes when it is missed already: that it failed once more does not shorten its wait.
        """
        if peer in self._peers:
            return None
        self._peers[peer] = AwaitedPeer(peer, now, stayed, tried=now)
        return self._forget_surplus()

    def restore(self, peer: AwaitedPeer) -> PeerId | None:
        """Miss a peer as it was missed in an earlier life, before anybody else is: who was tried longest ago comes first.

        Returns who is forgotten for its sake, as `add`.
        """
        self._peers[peer.peer] = peer
        return self._forget_surplus()

    def returned(self, peer: PeerId, now: float) -> AwaitedPeer | None:
        """`peer` is back, and with it perhaps others: they are called. None: nobody missed it."""
        back = self._peers.get(peer)
        self.forget(peer)
        if back is not None and back.stayed:
            # Without those who have just been tried: each return would call the same dead ones again.
            others = [each for each in self._ready(now) if each.stayed and each.peer not in self._called]
            for each in sorted(others, key=lambda each: abs(each.since - back.since))[:COMPANY]:
                self._called[each.peer] = None
        return back

    def forget(self, peer: PeerId) -> None:
        """Do not miss `peer` any more."""
        self._called.pop(peer, None)
        self._peers.pop(peer, None)

    def expire(self, now: float) -> list[PeerId]:
        """Forget those who left KEPT ago; returns who they are."""
        gone = [each.peer for each in self._peers.values() if each.since <= now - KEPT]
        for peer in gone:
            self.forget(peer)
        return gone

    @property
    def ready(self) -> float:
        """The moment from which on somebody may be given a turn; infinity when nobody is missed."""
        return next((each.tried + FIRST_WAIT for each in self._peers.values()), float("inf"))

    @property
    def calls(self) -> int:
        """How many are called, and wait to be taken."""
        return len(self._called)

    def call(self, peer: PeerId) -> None:
        """Call one that is missed, whether it is its turn or not."""
        if peer in self._peers:
            self._called[peer] = None

    def call_next(self, now: float) -> None:
        """Call the one whose turn it is, if anybody is `ready`."""
        waited = {each.peer: (now - each.tried) / each.wait for each in self._ready(now)}
        if waited:
            self._called[max(waited, key=waited.__getitem__)] = None

    def take_called(self, room: int, now: float) -> list[PeerId]:
        """Who is to be tried now, `room` of them at most; each counts as tried in vain until it has `returned`."""
        taken = list(islice(self._called, room))
        for peer in taken:
            del self._called[peer]
            tried = self._peers.pop(peer)
            self._peers[peer] = replace(tried, tried=now, tries=tried.tries + 1)
        return taken

    def _forget_surplus(self) -> PeerId | None:
        if len(self._peers) <= self._max_peers:
            return None
        shortest = min(self._peers.values(), key=lambda each: (each.stayed, each.since))
        self.forget(shortest.peer)
        return shortest.peer

    def _ready(self, now: float) -> Iterator[AwaitedPeer]:
        return takewhile(lambda each: each.tried + FIRST_WAIT <= now, self._peers.values())

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._peers

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[AwaitedPeer]:
        """All of them, tried longest ago first."""
        return iter(list(self._peers.values()))

    def __repr__(self) -> str:
        return f"<Awaited peers={len(self)}/{self._max_peers} called={len(self._called)}>"
