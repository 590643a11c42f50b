"""Where peers can be reached: what was heard of them, what worked and what failed.

The addresses of a peer are in order, the one to dial first at the front:

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

Everything is bounded, because peers make things up: of one peer the best addresses stay, of all peers those most recently
heard of or reached. A pinned peer stays whatever happens, and its addresses with it, expired or not: however much is told
of others, and however long the own network is down, this node knows where its own peers are. Only what failed is dropped
once it has expired, unless nothing else is left: a peer that moved often would be told with all the places it has left.
Of bootstrap peers nothing is dropped, the user has said where they are.

Times: monotonic seconds, from the caller; lifetimes: seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from enum import Enum, Flag, auto

from p2pkad.core.peers import Address, PeerId, PeerInfo


class Pin(Flag):
    """Why a peer must not be forgotten."""

    BOOTSTRAP = auto()
    CONNECTED = auto()
    TABLE = auto()
    AWAITED = auto()


_NO_PIN = Pin(0)


class _Standing(Enum):
    WORKED = "worked"
    HEARD = "heard"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class _Place:
    address: Address
    lifetime: float
    expires: float
    standing: _Standing = _Standing.HEARD
    first_hand: bool = False

    def live_on(self, now: float) -> None:
        self.expires = now + self.lifetime


@dataclass(slots=True, eq=False)
class _Entry:
    places: list[_Place] = field(default_factory=list)  # best first: worked, heard, failed
    pins: Pin = _NO_PIN
    info: PeerInfo | None = None  # what was known last, and
    told: PeerInfo | None = None  # what of it is told; None after each change
    info_until: float = 0.0


class AddressBook:
    """The addresses of at most `max_peers` peers, `max_addresses` of each. Pinned peers are kept beyond that, too."""

    def __init__(self, max_peers: int, max_addresses: int) -> None:
        self._max_peers = max_peers
        self._max_addresses = max_addresses
        self._entries: dict[PeerId, _Entry] = {}
        self._loose: OrderedDict[PeerId, None] = OrderedDict()  # those without a pin, least recently touched first

    def learn(self, peer: PeerId, addresses: Sequence[Address], now: float, lifetime: float) -> None:
        """Somebody says that `peer` is at these addresses, best first. Those beyond `max_addresses` are not looked at."""
        if not addresses:
            return
        entry = self._entries.get(peer)
        if entry is None:
            entry = self._entries[peer] = _Entry()
        elif _as_known(entry, addresses, now):  # twenty times in each reply of a network that has settled
            for place in entry.places:
                place.lifetime = max(place.lifetime, lifetime)
                place.expires = now + place.lifetime
            self._touch(peer, entry)
            return
        told = {address.raw: address for address in addresses[: self._max_addresses]}
        self._drop_expired(entry, now)
        for place in entry.places:
            if told.pop(place.address.raw, None) is not None and place.standing is not _Standing.FAILED:
                place.lifetime = max(place.lifetime, lifetime)
                place.live_on(now)
        if told:
            behind_worked = sum(place.standing is _Standing.WORKED for place in entry.places)
            expires = now + lifetime
            new = [_Place(each, lifetime, expires) for each in told.values()]
            # A slice has no room to grow: there are thousands of these lists, nearly all with one or two places.
            places = [*entry.places[:behind_worked], *new, *entry.places[behind_worked:]]
            entry.places = places[: self._max_addresses]
            entry.info = None
        self._touch(peer, entry)

    def declared(self, peer: PeerId, addresses: Sequence[Address], via: Address | None, now: float, lifetime: float) -> None:
        """`peer`, connected through `via`, says itself where it is, best first. Where it says nothing of has failed.

        What worked at the host that it is connected from goes on working: a peer behind a port forwarding may not know of it.
        """
        named = addresses[: self._max_addresses]
        kept = {address.raw for address in named}
        entry = self._entries.get(peer)
        if entry is not None:
            _leave(entry, kept, via)
        self.learn(peer, named, now, lifetime)
        entry = entry or self._entries.get(peer)
        if entry is not None:
            _believe(entry, kept)

    def worked(self, peer: PeerId, address: Address, now: float) -> None:
        """`peer` was reached at `address`, which may have expired while it was dialled."""
        entry, place = self._find(peer, address)
        if entry is None or place is None:
            return
        place.live_on(now)
        place.standing = _Standing.WORKED
        place.first_hand = True
        entry.places.remove(place)
        entry.places.insert(0, place)
        entry.info = None
        self._touch(peer, entry)

    def failed(self, peer: PeerId, address: Address) -> None:
        """Nobody was reached at `address`, or somebody else."""
        entry, place = self._find(peer, address)
        if entry is None or place is None:
            return
        _fail(entry, place)

    def info(self, peer: PeerId, now: float) -> PeerInfo:
        """What is known of `peer` now, best address first; without addresses when nothing is. It changes nothing."""
        entry = self._entries.get(peer)
        return PeerInfo(peer) if entry is None else _look(peer, entry, now)[0]

    def told(self, peer: PeerId, now: float) -> PeerInfo:
        """What others are told of `peer`: what is known at first hand and has not failed, or all of `info` where nothing is."""
        entry = self._entries.get(peer)
        return PeerInfo(peer) if entry is None else _look(peer, entry, now)[1]

    def pin(self, peer: PeerId, why: Pin, now: float) -> None:
        """Keep `peer`, until it is unpinned for each reason it was pinned for. It need not be known yet."""
        entry = self._entries.setdefault(peer, _Entry())
        self._drop_expired(entry, now)
        entry.pins |= why
        self._loose.pop(peer, None)
        self._make_room()

    def unpin(self, peer: PeerId, why: Pin, now: float) -> None:
        """`why` no longer holds `peer`. After the last reason its addresses live on from now, but for those that failed."""
        entry = self._entries.get(peer)
        if entry is None or not entry.pins & why:
            return
        entry.pins &= ~why
        if entry.pins:
            return
        for place in entry.places:
            if place.standing is not _Standing.FAILED:
                place.live_on(now)
        entry.info = None
        self._drop_expired(entry, now)
        if entry.places:
            self._touch(peer, entry)
        else:
            del self._entries[peer]

    def forget(self, peer: PeerId) -> None:
        """Drop what is known of `peer`, unless it is pinned."""
        if peer in self._loose:
            del self._loose[peer], self._entries[peer]

    def expire(self, now: float) -> None:
        """Drop what has expired. It is not told anyway; this frees its memory."""
        for peer, entry in list(self._entries.items()):
            self._drop_expired(entry, now)
            if not entry.places:
                self.forget(peer)

    def __len__(self) -> int:
        """How many peers are known, pinned ones included."""
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<AddressBook peers={len(self)}/{self._max_peers} pinned={len(self._entries) - len(self._loose)}>"

    def _find(self, peer: PeerId, address: Address) -> tuple[_Entry | None, _Place | None]:
        entry = self._entries.get(peer)
        places = entry.places if entry is not None else ()
        return entry, next((place for place in places if place.address.raw == address.raw), None)

    def _drop_expired(self, entry: _Entry, now: float) -> None:
        if any(place.expires <= now for place in entry.places):
            entry.places = _usable(entry, now)
            entry.info = None

    def _touch(self, peer: PeerId, entry: _Entry) -> None:
        if not entry.pins:
            self._loose[peer] = None
            self._loose.move_to_end(peer)
            self._make_room()

    def _make_room(self) -> None:
        while len(self._entries) > self._max_peers and self._loose:
            peer, _ = self._loose.popitem(last=False)
            del self._entries[peer]


def _look(peer: PeerId, entry: _Entry, now: float) -> tuple[PeerInfo, PeerInfo]:
    """What is known, and what of it is told. Kept until something changes: servers look twenty times a request."""
    if entry.info is None or entry.told is None or now >= entry.info_until:
        usable = _usable(entry, now)
        sure = [place for place in usable if place.first_hand and place.standing is not _Standing.FAILED]
        entry.info = entry.told = PeerInfo(peer, tuple(place.address for place in usable))
        if 0 < len(sure) < len(usable):
            entry.told = PeerInfo(peer, tuple(place.address for place in sure))
        until = [place.expires for place in usable if _ages(entry, place) and now < place.expires]
        entry.info_until = min(until, default=float("inf"))
    return entry.info, entry.told


def _as_known(entry: _Entry, addresses: Sequence[Address], now: float) -> bool:
    """Whether these are just the addresses that are known, alive and not failed."""
    if len(addresses) != len(entry.places):
        return False
    for place, address in zip(entry.places, addresses, strict=True):
        if place.address.raw != address.raw or place.expires <= now or place.standing is _Standing.FAILED:
            return False
    return True


def _fail(entry: _Entry, place: _Place) -> None:
    place.standing = _Standing.FAILED
    entry.places.remove(place)
    entry.places.append(place)
    entry.info = None


def _leave(entry: _Entry, kept: Set[bytes], via: Address | None) -> None:
    """All places but the `kept` ones have failed, and those that worked at the host of `via`."""
    for place in list(entry.places):
        forwarded = place.standing is _Standing.WORKED and via is not None and _same_host(place.address, via)
        if place.address.raw not in kept and not forwarded:
            _fail(entry, place)


def _believe(entry: _Entry, named: Set[bytes]) -> None:
    """The places `named` are known at first hand."""
    for place in entry.places:
        if not place.first_hand and place.address.raw in named:
            place.first_hand = True
            entry.info = None


def _same_host(one: Address, other: Address) -> bool:
    return one.text.split("/")[1:3] == other.text.split("/")[1:3]


def _ages(entry: _Entry, place: _Place) -> bool:
    return not entry.pins or (place.standing is _Standing.FAILED and Pin.BOOTSTRAP not in entry.pins)


def _usable(entry: _Entry, now: float) -> list[_Place]:
    usable = [place for place in entry.places if now < place.expires or not _ages(entry, place)]
    return usable or (entry.places if entry.pins else [])
