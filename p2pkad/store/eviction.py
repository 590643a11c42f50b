"""Who leaves a full store: what is farthest from the node's own key, records and providers alike, and never its own.

`Ranking` keeps members in order, `Shelf` the keys of one kind and what they weigh, `Shelves` several kinds within one bound
of bytes. Nothing here holds a value: `Shelves.make_room` says which keys have to go, the store lets go of what is under them.
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
    """The keys of one kind, what each weighs in bytes, and which are loose: not own, so that they may have to go.

    limit: how many keys at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.weights: dict[bytes, int] = {}
        self.weight = 0
        self.loose: Ranking[bytes] = Ranking()

    def drop(self, key: bytes) -> None:
        """Forget a key."""
        self.weight -= self.weights.pop(key)
        self.loose.discard(key)


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

    def make_room(self, shelf: Shelf, key: bytes, weight: int, *, own: bool) -> Sequence[tuple[Shelf, bytes]]:
        """Whom to drop before `key` is put with this weight: an own key displaces any loose one, others those farther away.

        Raises StoreFull when that is not room enough; nothing has changed then.
        """
        crowded = key not in shelf.weights and len(shelf.weights) >= shelf.limit
        over = self.weight - shelf.weights.get(key, 0) + weight - self._max_bytes
        if not crowded and over <= 0:
            return ()
        if weight > self._max_bytes:
            raise StoreFull(f"{key_text(key)}: no room; the store has {self._max_bytes} bytes in all")
        # Those chosen, and the key itself, are taken off the rankings, so that the next ones show.
        lifted = [(shelf, key)] if key in shelf.loose else []
        shelf.loose.discard(key)
        leaving: list[tuple[Shelf, bytes]] = []
        try:
            while crowded or over > 0:
                left, gone = _farthest((shelf,) if crowded else self.all, key, inf if own else -self._distance(key))
                left.loose.discard(gone)
                leaving.append((left, gone))
                over -= left.weights[gone]
                crowded = False
        finally:
            for left, gone in lifted + leaving:
                left.loose.set(gone, -self._distance(gone))
        return leaving

    def surplus(self) -> tuple[Shelf, bytes] | None:
        """The farthest, while there is more than the bounds allow; None when there is not, or what is left is own."""
        crowded = [shelf for shelf in self.all if len(shelf.weights) > shelf.limit and shelf.loose]
        shelves = crowded[:1] or (self.all if self.weight > self._max_bytes else ())
        firsts = [(first, shelf) for shelf in shelves if (first := shelf.loose.first()) is not None]
        if not firsts:
            return None
        (_, gone), shelf = min(firsts, key=lambda entry: entry[0])
        return shelf, gone

    def put(self, shelf: Shelf, key: bytes, weight: int, *, own: bool) -> None:
        """Note a key, or what it weighs now."""
        shelf.weight += weight - shelf.weights.get(key, 0)
        shelf.weights[key] = weight
        if own:
            shelf.loose.discard(key)
        elif key not in shelf.loose:
            shelf.loose.set(key, -self._distance(key))


def _farthest(shelves: Sequence[Shelf], key: bytes, worth: float) -> tuple[Shelf, bytes]:
    firsts = [(first, shelf) for shelf in shelves if (first := shelf.loose.first()) is not None]
    (rank, gone), shelf = min(firsts, key=lambda entry: entry[0], default=((inf, b""), shelves[0]))
    if rank >= worth:
        raise StoreFull(f"{key_text(key)}: no room; all that is stored is the node's own or nearer to it")
    return shelf, gone
