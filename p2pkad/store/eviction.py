"""Who leaves a full store: what is farthest from the node's own key, records and providers alike, and never its own.

Under a key of which the node keeps something itself others may have entries, too: guests. They leave as others do.

`Ranking` keeps members in order, `Shelf` the keys of one kind and what they weigh, `Shelves` several kinds within one bound
of bytes. Nothing here holds a value: `Shelves.make_room` says which keys have to go, the store lets go of what is under them
and not its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

from p2pkad.core.keyspace import Key
from p2pkad.core.peers import PeerId
from p2pkad.errors import StoreFull, key_text

Member = TypeVar("Member", bytes, tuple[bytes, PeerId])


class Ranking(Generic[Member]):
    """Members by rank, the least first. A change costs the logarithm of their number.

    A heap cannot give up an entry in its middle: one that no longer holds is dropped when it comes to the top, and all of
    them when they are the most.
    """

    def __init__(self) -> None:
        self._ranks: dict[Member, float] = {}
        self._heap: list[tuple[float, Member]] = []

    def __contains__(self, member: Member) -> bool:
        return member in self._ranks

    def __len__(self) -> int:
        return len(self._ranks)

    def set(self, member: Member, rank: float) -> None:
        """Put a member at a rank, wherever it was before."""
        if self._ranks.get(member) == rank:
            return
        self._ranks[member] = rank
        heappush(self._heap, (rank, member))
        if len(self._heap) > 2 * len(self._ranks) + 64:
            self._heap = [(rank, member) for member, rank in self._ranks.items()]
            heapify(self._heap)

    def discard(self, member: Member) -> None:
        """Forget a member; nothing happens when it is not there."""
        self._ranks.pop(member, None)

    def first(self) -> tuple[float, Member] | None:
        """The least rank, and who has it; None when there is no member."""
        while self._heap:
            rank, member = self._heap[0]
            if self._ranks.get(member) == rank:
                return rank, member
            heappop(self._heap)
        return None


class Shelf:
    """The keys of one kind, what each weighs in bytes, and which may have to go: those that are loose, with nothing own under
    them, and those that are visited, whose guests alone would go.

    limit: how many keys at most. guests: what they weigh.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.weights: dict[bytes, int] = {}
        self.guests: dict[bytes, int] = {}
        self.weight = 0
        self.loose: Ranking[bytes] = Ranking()
        self.visited: Ranking[bytes] = Ranking()

    @property
    def own(self) -> int:
        """How many of the keys have something own under them."""
        return len(self.weights) - len(self.loose)

    def drop(self, key: bytes) -> None:
        """Forget a key."""
        self.weight -= self.weights.pop(key)
        self.guests.pop(key, None)
        self.loose.discard(key)
        self.visited.discard(key)

    def would_free(self, key: bytes) -> int:
        """Bytes that there are when what is not own has gone from a key."""
        return self.guests.get(key, self.weights[key])


class Shelves:
    """The shelves of one store, one for each of `limits`, within one bound of bytes.

    distance: of a key to the node's own. max_bytes: what all keys together may weigh.
    """

    def __init__(self, *limits: int, distance: Callable[[bytes], Key], max_bytes: int) -> None:
        self.all = tuple(Shelf(limit) for limit in limits)
        self._distance = distance
        self._max_bytes = max_bytes

    @property
    def weight(self) -> int:
        """What all keys together weigh."""
        return sum(shelf.weight for shelf in self.all)

    def make_room(self, shelf: Shelf, key: bytes, weight: int, *, own: bool, guests: int = 0) -> Sequence[tuple[Shelf, bytes]]:
        """Whom to drop before `key` is put with this weight: an own key displaces any loose one, others those farther away.

        guests: what others have under it weighs so much, and goes last, for what is own.
        Raises StoreFull when that is not room enough; nothing has changed then.
        """
        crowded = key not in shelf.weights and len(shelf.weights) >= shelf.limit
        over = self.weight - shelf.weights.get(key, 0) + weight - self._max_bytes
        if not crowded and over <= 0:
            return ()
        if weight > self._max_bytes:
            raise StoreFull(f"{key_text(key)}: no room; the store has {self._max_bytes} bytes in all")
        # Those chosen, and the key itself, are taken off the rankings, so that the next ones show.
        lifted = [(ranking, key) for ranking in (shelf.loose, shelf.visited) if key in ranking]
        for ranking, _ in lifted:
            ranking.discard(key)
        leaving: list[tuple[Shelf, bytes]] = []
        try:
            while crowded or over > 0:
                among = [(shelf, shelf.loose)] if crowded else self._rankings()
                if own and not crowded and _first(among) is None and 0 < over <= guests:
                    leaving.append((shelf, key))
                    break
                left, ranking, gone = _farthest(among, key, inf if own else -self._distance(key))
                ranking.discard(gone)
                lifted.append((ranking, gone))
                leaving.append((left, gone))
                over -= left.would_free(gone)
                crowded = False
        finally:
            for ranking, gone in lifted:
                ranking.set(gone, -self._distance(gone))
        return leaving

    def surplus(self) -> tuple[Shelf, bytes] | None:
        """The farthest, while there is more than the bounds allow; None when there is not, or what is left is own."""
        crowded = [(shelf, shelf.loose) for shelf in self.all if len(shelf.weights) > shelf.limit and shelf.loose]
        first = _first(crowded[:1] or (self._rankings() if self.weight > self._max_bytes else []))
        return None if first is None else (first[1], first[3])

    def put(self, shelf: Shelf, key: bytes, weight: int, *, own: bool, guests: int = 0) -> None:
        """Note a key, or what it weighs now. guests: of an own one, what others have under it."""
        shelf.weight += weight - shelf.weights.get(key, 0)
        shelf.weights[key] = weight
        if own and guests:
            shelf.guests[key] = guests
        else:
            shelf.guests.pop(key, None)
        for ranking, ranked in ((shelf.loose, not own), (shelf.visited, own and guests > 0)):
            if not ranked:
                ranking.discard(key)
            elif key not in ranking:
                ranking.set(key, -self._distance(key))

    def _rankings(self) -> list[tuple[Shelf, Ranking[bytes]]]:
        return [(shelf, ranking) for shelf in self.all for ranking in (shelf.loose, shelf.visited)]


Among = Sequence[tuple[Shelf, Ranking[bytes]]]


def _first(among: Among) -> tuple[float, Shelf, Ranking[bytes], bytes] | None:
    firsts = [(first[0], shelf, ranking, first[1]) for shelf, ranking in among if (first := ranking.first()) is not None]
    return min(firsts, key=lambda entry: (entry[0], entry[3]), default=None)


def _farthest(among: Among, key: bytes, worth: float) -> tuple[Shelf, Ranking[bytes], bytes]:
    first = _first(among)
    if first is None or first[0] >= worth:
        raise StoreFull(f"{key_text(key)}: no room; all that is stored is the node's own or nearer to it")
    return first[1:]
