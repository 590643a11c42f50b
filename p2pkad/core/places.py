"""The addresses of one peer, each with what became of it.

They are in order, the one to dial first at the front:

             learn()      worked()          failed()        declared() elsewhere
  not known  heard        -                 -               -
  worked     lives on     worked, first     failed, last    failed, last
  heard      lives on     worked, first     failed, last    failed, last
  failed     -            worked, first     failed, last    -

New addresses come behind those that worked and before those heard earlier: a peer that moved is told at its new address.
Lives on: for the lifetime it was told with, from now; so does an address that works. One that failed is not kept alive by
those who still tell it; once it has expired, it may be learned afresh. What was never learned is not taken from a
connection: it may be the port that a peer happened to dial from.

Known at first hand is what worked, and what the peer itself declares. Only that is told to others, where there is any: were
hearsay passed on, nodes would tell each other the address that a peer has left for ever.

Times: monotonic seconds, from the caller; lifetimes: seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from math import inf

from p2pkad.core.peers import Address, PeerInfo


class Keep(IntEnum):
    """Which addresses stay when their lifetime is over. For all but NOTHING they stay anyway while there are no others."""

    NOTHING = 0
    UNLESS_FAILED = 1
    ALL = 2


class _Standing(Enum):
    WORKED = "worked"
    HEARD = "heard"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class _Place:
    address: Address
    since: float
    lifetime: float
    standing: _Standing = _Standing.HEARD
    first_hand: bool = False

    @property
    def expires(self) -> float:
        return self.since + self.lifetime

    def live_on(self, now: float, lifetime: float) -> None:
        self.since = now
        if lifetime > self.lifetime:
            self.lifetime = lifetime

    def ages(self, keep: Keep) -> bool:
        return keep is Keep.NOTHING or (keep is Keep.UNLESS_FAILED and self.standing is _Standing.FAILED)


class Places:
    """The addresses of one peer, which were all heard of at once so far: at `since`, for `lifetime`."""

    __slots__ = ("_again", "_again_for", "_again_until", "_known", "_known_to", "_known_until", "_peer", "_places", "_told")

    def __init__(self, peer: PeerInfo, since: float, lifetime: float) -> None:
        self._peer = peer.id
        self._places = [_Place(address, since, lifetime) for address in peer.addresses]
        self._known: PeerInfo | None = None  # what was known when it was looked at last; None after each change
        self._told = peer  # what of that is told
        self._known_to = Keep.NOTHING
        self._known_until = 0.0
        self._again: Sequence[Address] | None = None  # what was heard again last, the very same object; None after each change
        self._again_for = 0.0
        self._again_until = 0.0

    def __len__(self) -> int:
        """How many addresses are known, expired ones included."""
        return len(self._places)

    def hear_again(self, addresses: Sequence[Address], now: float, lifetime: float) -> bool:
        """Somebody says just what is known, which lives on. False: it is something else; nothing has changed."""
        if addresses is self._again and lifetime == self._again_for and now < self._again_until:
            for place in self._places:
                place.since = now
            self._again_until = now + lifetime
            return True
        if len(addresses) != len(self._places):
            return False
        for place, address in zip(self._places, addresses, strict=True):
            if place.address.raw != address.raw or place.expires <= now or place.standing is _Standing.FAILED:
                return False
            if address.down_to < place.address.down_to:
                return False
        for place in self._places:
            place.live_on(now, lifetime)
        self._again, self._again_for, self._again_until = addresses, lifetime, now + lifetime
        return True

    def learn(self, addresses: Sequence[Address], now: float, lifetime: float) -> None:
        """Somebody says that it is at these addresses, best first."""
        told = {address.raw: address for address in addresses}
        for place in self._places:
            again = told.pop(place.address.raw, None)
            if again is None:
                continue
            if again.down_to < place.address.down_to:
                place.address = again
                self._changed()
            if place.standing is not _Standing.FAILED:
                place.live_on(now, lifetime)
        if told:
            worked = sum(place.standing is _Standing.WORKED for place in self._places)
            self._places[worked:worked] = [_Place(address, now, lifetime) for address in told.values()]
            self._changed()

    def elsewhere(self, named: Sequence[Address], via: Address | None) -> None:
        """It says, connected through `via`, that it is at these addresses: at others it has failed.

        What worked at the host that it is connected from goes on working: a peer behind a port forwarding may not know of it.
        """
        kept = {address.raw for address in named}
        for place in list(self._places):
            forwarded = place.standing is _Standing.WORKED and via is not None and _same_host(place.address, via)
            if place.address.raw not in kept and not forwarded:
                self._fail(place)

    def at_first_hand(self, named: Sequence[Address]) -> None:
        """It says itself that it is at these addresses, which are learned already."""
        sure = {address.raw for address in named}
        for place in self._places:
            if not place.first_hand and place.address.raw in sure:
                place.first_hand = True
                self._changed()

    def worked(self, address: Address, now: float) -> bool:
        """It was reached at `address`, which may have expired while it was dialled. False: it was never learned."""
        place = self._at(address)
        if place is None:
            return False
        place.since = now
        place.standing = _Standing.WORKED
        place.first_hand = True
        self._places.remove(place)
        self._places.insert(0, place)
        self._changed()
        return True

    def failed(self, address: Address) -> None:
        """Nobody was reached at `address`, or somebody else."""
        place = self._at(address)
        if place is not None:
            self._fail(place)

    def live_on(self, now: float) -> None:
        """What did not fail lives on."""
        for place in self._places:
            if place.standing is not _Standing.FAILED:
                place.since = now
        self._changed()

    def keep_best(self, count: int) -> None:
        """Drop the last ones beyond `count`. Whoever tells of a peer may name others of its many addresses, or wrong ones: what
        it said itself, and has not failed, goes last.
        """
        surplus = len(self._places) - count
        if surplus > 0:
            doubtful = [place for place in self._places if not place.first_hand or place.standing is _Standing.FAILED]
            for place in doubtful[-surplus:]:
                self._places.remove(place)
            del self._places[count:]
            self._changed()

    def drop_expired(self, now: float, keep: Keep) -> None:
        """Drop what has expired and is not kept."""
        for place in self._places:
            if place.expires <= now:
                self._places = self._usable(now, keep)
                self._changed()
                break

    def known(self, now: float, keep: Keep) -> PeerInfo:
        """What is known of it, best address first. It changes nothing."""
        if self._known is None or now >= self._known_until or keep is not self._known_to:
            return self._look(now, keep)
        return self._known

    def told(self, now: float, keep: Keep) -> PeerInfo:
        """What others are told of it: what is known at first hand and has not failed; all that is known where nothing is."""
        if self._known is None or now >= self._known_until or keep is not self._known_to:
            self._look(now, keep)
        return self._told

    def _look(self, now: float, keep: Keep) -> PeerInfo:
        usable = self._usable(now, keep)
        sure = [place for place in usable if place.first_hand and place.standing is not _Standing.FAILED]
        self._known = self._told = known = PeerInfo(self._peer, tuple(place.address for place in usable))
        if 0 < len(sure) < len(usable):
            self._told = PeerInfo(self._peer, tuple(place.address for place in sure))
        self._known_to = keep
        self._known_until = min((place.expires for place in usable if place.ages(keep) and now < place.expires), default=inf)
        return known

    def _usable(self, now: float, keep: Keep) -> list[_Place]:
        usable = [place for place in self._places if now < place.expires or not place.ages(keep)]
        return usable or (self._places if keep else [])

    def _changed(self) -> None:
        self._known = self._again = None

    def _at(self, address: Address) -> _Place | None:
        return next((place for place in self._places if place.address.raw == address.raw), None)

    def _fail(self, place: _Place) -> None:
        place.standing = _Standing.FAILED
        self._places.remove(place)
        self._places.append(place)
        self._changed()


def lead_nearer(told: PeerInfo, known: PeerInfo) -> bool:
    """Whether a name among the addresses that are told is believed to lead nearer than among the same ones that are known."""
    return any(new.down_to < old.down_to for new, old in zip(told.addresses, known.addresses, strict=True))


def _same_host(one: Address, other: Address) -> bool:
    return one.text.split("/")[1:3] == other.text.split("/")[1:3]
