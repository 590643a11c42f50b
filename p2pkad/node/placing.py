"""Telling something to the k peers nearest to a key, some of which fail meanwhile.

word       of whom                                                        its place
taken      it has it, or was told where nobody can say more               filled
declined   it answered, and does not want it                              filled: whoever is asked next would decline as well
unknown    it may have it or not, and would not say                       filled
lost       it failed: nobody there, silent, gone in the middle            goes to the next nearest

A peer that declines a record may have a better one: then so do, or will, the next nearest. It may be full: then the others
of the k do. So a place is given away only when nobody is in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from itertools import islice

import trio

from p2pkad.core.peers import PeerId


class Word(Enum):
    """What came of telling one peer; the table is in the head of this module."""

    TAKEN = "taken"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    LOST = "lost"


REPLACEMENTS = 2
"""Peers that are tried instead of others, at most, for each place."""

Tell = Callable[[PeerId], Awaitable[Word]]
"""Tells one peer, within a deadline of its own."""


async def fill_places(
    tell: Tell, nearest: Sequence[PeerId], others: Sequence[PeerId], *, deadline: float
) -> dict[PeerId, Word]:
    """Tell the `nearest` all at once and, for each that is lost, the next of `others`.

    Returns what came of each that was told, the nearest first.
    It is over when as many as were nearest are not lost, when nobody is left, at `deadline` (trio's clock), and when
    REPLACEMENTS have been tried: then the fault is more likely on this side, and the others would only be tried in vain.
    Cancelled: who was told already may have it.
    """
    words: dict[PeerId, Word] = {}
    spare = islice(others, REPLACEMENTS * len(nearest))

    async def fill(place: PeerId) -> None:
        peer: PeerId | None = place
        while peer is not None:
            words[peer] = await tell(peer)
            if words[peer] is not Word.LOST or trio.current_time() >= deadline:
                return
            peer = next(spare, None)

    async with trio.open_nursery() as nursery:
        for place in nearest:
            nursery.start_soon(fill, place)
    return {peer: words[peer] for peer in (*nearest, *others) if peer in words}


def who(words: dict[PeerId, Word], word: Word) -> tuple[PeerId, ...]:
    """Those of whom this is the word."""
    return tuple(peer for peer, each in words.items() if each is word)
