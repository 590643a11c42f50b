"""Who takes the place of a peer that fails while it is told."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.peers import PeerId
from p2pkad.node.placing import REPLACEMENTS, Word, fill_places, who

NEVER = float("inf")
PEERS = [PeerId([number]) for number in range(10)]


async def told(words: list[Word], places: int, deadline: float = NEVER) -> dict[PeerId, Word]:
    """The first `places` of PEERS are the nearest, the others follow; the words are theirs, in this order."""

    async def tell(peer: PeerId) -> Word:
        await trio.lowlevel.checkpoint()
        return words[peer[0]]

    return await fill_places(tell, PEERS[:places], PEERS[places : len(words)], deadline=deadline)


@pytest.mark.scenario("V13")
async def test_the_next_nearest_take_the_places_of_those_that_are_lost() -> None:
    words = [Word.TAKEN, Word.LOST, Word.LOST, Word.LOST, Word.TAKEN, Word.TAKEN, Word.TAKEN]
    came = await told(words, places=3)
    assert who(came, Word.TAKEN) == (PEERS[0], PEERS[4], PEERS[5])
    assert who(came, Word.LOST) == (PEERS[1], PEERS[2], PEERS[3])


@pytest.mark.parametrize("word", [Word.DECLINED, Word.UNKNOWN])
async def test_who_answered_keeps_its_place_whatever_it_said(word: Word) -> None:
    assert await told([Word.TAKEN, word, Word.TAKEN], places=2) == {PEERS[0]: Word.TAKEN, PEERS[1]: word}


async def test_when_everybody_is_lost_not_all_of_the_others_are_tried() -> None:
    assert len(await told([Word.LOST] * 10, places=3)) == 3 + 3 * REPLACEMENTS


async def test_nobody_is_tried_after_the_deadline() -> None:
    words = [Word.TAKEN, Word.LOST, Word.TAKEN]
    assert len(await told(words, places=2, deadline=trio.current_time() - 1)) == 2


@given(st.lists(st.sampled_from(Word), max_size=10), st.integers(0, 10))
async def test_the_places_are_filled_in_order_as_long_as_anybody_is_left(words: list[Word], places: int) -> None:
    places = min(places, len(words))
    came = await told(words, places)
    assert list(came) == PEERS[: len(came)]
    filled = sum(word is not Word.LOST for word in came.values())
    assert filled <= places
    assert filled == places or len(came) == min(len(words), places + places * REPLACEMENTS)
