"""Where peers can be reached: what was heard of them, what worked and what failed. One peer's addresses are in `places`.

Everything is bounded, because peers make things up: of one peer the best addresses stay, of all peers those most recently
heard of or reached. A pinned peer stays whatever happens, and its addresses with it, expired or not: however much is told
of others, and however long the own network is down, this node knows where its own peers are. Only what failed is dropped
once it has expired, unless nothing else is left: a peer that moved often would be told with all the places it has left.
Of bootstrap peers nothing is dropped, the user has said where they are.

Of most peers nothing is known but that somebody told of them, and each reply tells again of twenty of them. Such a peer is
kept as it was told, and costs next to nothing when it is told so again.

Times: monotonic seconds, from the caller; lifetimes: seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum

from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.places import Keep, Places, lead_nearer


class Pin(IntEnum):
    """Why a peer must not be forgotten. A bit each."""

    BOOTSTRAP = 1
    CONNECTED = 2
    TABLE = 4
    AWAITED = 8


@dataclass(slots=True, eq=False)
class _Entry:
    """heard: all that is known, told at `since` for `lifetime`; unless there are `places`, which then have it all."""

    heard: PeerInfo
    since: float
    lifetime: float
    pins: int = 0
    keep: Keep = Keep.NOTHING
    places: Places | None = None

    def pinned(self, pins: int) -> None:
        self.pins = pins
        self.keep = Keep.NOTHING if not pins else Keep.ALL if pins & Pin.BOOTSTRAP else Keep.UNLESS_FAILED

    @property
    def empty(self) -> bool:
        return not (self.heard.addresses if self.places is None else self.places)

    def lives(self, now: float) -> bool:
        """Whether what was heard still counts."""
        return self.pins != 0 or now < self.since + self.lifetime

    def heard_at(self, now: float) -> PeerInfo:
        return self.heard if self.lives(now) else PeerInfo(self.heard.id)

    def hear_again(self, told: PeerInfo, now: float, lifetime: float) -> bool:
        if self.places is not None:
            return self.places.hear_again(told.addresses, now, lifetime)
        if not self.lives(now):
            return False
        if told is not self.heard and (self.heard.addresses != told.addresses or lead_nearer(told, self.heard)):
            return False
        self.lifetime = max(self.lifetime, lifetime)
        self.since = now
        return True

    def place_by_place(self) -> Places:
        if self.places is None:
            self.places = Places(self.heard, self.since, self.lifetime)
        return self.places

    def live_on(self, now: float) -> None:
        self.since = now
        if self.places is not None:
            self.places.live_on(now)

    def keep_best(self, count: int) -> None:
        if self.places is not None:
            self.places.keep_best(count)

    def drop_expired(self, now: float) -> None:
        if self.places is not None:
            self.places.drop_expired(now, self.keep)
        elif not self.lives(now):
            self.heard = PeerInfo(self.heard.id)


class AddressBook:
    """The addresses of at most `max_peers` peers, `max_addresses` of each. Pinned peers are kept beyond that, too."""

    def __init__(self, max_peers: int, max_addresses: int) -> None:
        self._max_peers = max_peers
        self._max_addresses = max_addresses
        self._entries: dict[PeerId, _Entry] = {}
        self._loose: OrderedDict[PeerId, None] = OrderedDict()  # those without a pin, least recently touched first

    def learn(self, told: PeerInfo, now: float, lifetime: float) -> None:
        """Somebody says where a peer is, best address first. Those beyond `max_addresses` are not looked at."""
        if not told.addresses:
            return
        entry = self._entries.get(told.id)
        if entry is None or not entry.hear_again(told, now, lifetime):
            entry = self._learn_more(entry, told, now, lifetime)
            entry.keep_best(self._max_addresses)
        self._touch(told.id, entry)

    def declared(self, info: PeerInfo, via: Address | None, now: float, lifetime: float) -> None:
        """A peer, connected through `via`, says itself where it is, best address first. Where it says nothing of has failed.

        What it says beyond `max_addresses` is not learned, but has not failed either; what is new comes before it.
        """
        entry = self._entries.get(info.id)
        if entry is not None:
            entry.place_by_place().elsewhere(info.addresses, via)
        if not info.addresses:
            return
        entry = self._learn_more(entry, info, now, lifetime)
        entry.place_by_place().at_first_hand(info.addresses)
        entry.keep_best(self._max_addresses)
        self._touch(info.id, entry)

    def worked(self, peer: PeerId, address: Address, now: float) -> None:
        """`peer` was reached at `address`, which may have expired while it was dialled."""
        entry = self._entries.get(peer)
        if entry is not None and entry.place_by_place().worked(address, now):
            self._touch(peer, entry)

    def failed(self, peer: PeerId, address: Address) -> None:
        """Nobody was reached at `address`, or somebody else."""
        entry = self._entries.get(peer)
        if entry is not None:
            entry.place_by_place().failed(address)

    def info(self, peer: PeerId, now: float) -> PeerInfo:
        """What is known of `peer` now, best address first; without addresses when nothing is. It changes nothing."""
        entry = self._entries.get(peer)
        if entry is None:
            return PeerInfo(peer)
        return entry.heard_at(now) if entry.places is None else entry.places.known(now, entry.keep)

    def told(self, peer: PeerId, now: float) -> PeerInfo:
        """What others are told of `peer`: what is known at first hand and has not failed, or all of `info` where nothing is."""
        entry = self._entries.get(peer)
        if entry is None:
            return PeerInfo(peer)
        return entry.heard_at(now) if entry.places is None else entry.places.told(now, entry.keep)

    def pin(self, peer: PeerId, why: Pin, now: float) -> None:
        """Keep `peer`, until it is unpinned for each reason it was pinned for. It need not be known yet."""
        entry = self._entries.get(peer)
        if entry is None:
            entry = self._entries[peer] = _Entry(PeerInfo(peer), now, 0.0)
        entry.drop_expired(now)
        entry.pinned(entry.pins | why)
        self._loose.pop(peer, None)
        self._make_room()

    def unpin(self, peer: PeerId, why: Pin, now: float) -> None:
        """`why` no longer holds `peer`. After the last reason its addresses live on from now, but for those that failed."""
        entry = self._entries.get(peer)
        if entry is None or not entry.pins & why:
            return
        entry.pinned(entry.pins & ~why)
        if entry.pins:
            return
        entry.live_on(now)
        entry.drop_expired(now)
        if entry.empty:
            del self._entries[peer]
        else:
            self._touch(peer, entry)

    def forget(self, peer: PeerId) -> None:
        """Drop what is known of `peer`, unless it is pinned."""
        if peer in self._loose:
            del self._loose[peer], self._entries[peer]

    def expire(self, now: float) -> None:
        """Drop what has expired. It is not told anyway; this frees its memory."""
        for peer, entry in list(self._entries.items()):
            if entry.places is None and entry.lives(now):
                continue  # as nearly all of them
            entry.drop_expired(now)
            if entry.empty:
                self.forget(peer)

    def __len__(self) -> int:
        """How many peers are known, pinned ones included."""
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<AddressBook peers={len(self)}/{self._max_peers} pinned={len(self._entries) - len(self._loose)}>"

    def _bounded(self, told: PeerInfo) -> PeerInfo:
        """Each address once, and no more of them than are kept."""
        addresses = {address.raw: address for address in told.addresses[: self._max_addresses]}
        return told if len(addresses) == len(told.addresses) else PeerInfo(told.id, tuple(addresses.values()))

    def _learn_more(self, entry: _Entry | None, told: PeerInfo, now: float, lifetime: float) -> _Entry:
        # Which of them are too many is decided when it is known who told them.
        told = self._bounded(told)
        if entry is None:
            entry = self._entries[told.id] = _Entry(told, now, lifetime)
            return entry
        entry.drop_expired(now)
        if entry.empty:
            entry.heard, entry.since, entry.lifetime, entry.places = told, now, lifetime, None
        else:
            entry.place_by_place().learn(told.addresses, now, lifetime)
        return entry

    def _touch(self, peer: PeerId, entry: _Entry) -> None:
        if not entry.pins:
            self._loose[peer] = None
            self._loose.move_to_end(peer)
            self._make_room()

    def _make_room(self) -> None:
        while len(self._entries) > self._max_peers and self._loose:
            peer, _ = self._loose.popitem(last=False)
            del self._entries[peer]
