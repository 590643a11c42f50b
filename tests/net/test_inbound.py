"""Whose stream goes when there is no place left."""

from __future__ import annotations

import pytest
import trio

from p2pkad.core.peers import PeerId
from p2pkad.net.inbound import InboundStreams
from tests.support.worlds import peer_id

pytestmark = pytest.mark.scenario("H4")

GREEDY, OTHER, NEWCOMER = (peer_id(number) for number in range(3))


def opened(streams: InboundStreams, *owners: PeerId) -> list[trio.CancelScope]:
    """A stream of each, which of them is idle the longest last."""
    scopes = [trio.CancelScope(deadline=trio.current_time() + 100 - number) for number in range(len(owners))]
    for scope, owner in zip(scopes, owners, strict=True):
        assert streams.make_room(owner)
        streams.open(scope, owner)
    return scopes


async def test_who_has_the_most_gives_up_the_one_that_has_been_idle_for_longest() -> None:
    refused: list[PeerId] = []
    streams = InboundStreams(4, refused.append)
    scopes = opened(streams, GREEDY, GREEDY, GREEDY, OTHER)
    assert streams.make_room(NEWCOMER)
    assert [scope.cancel_called for scope in scopes] == [False, False, True, False]
    assert refused == [GREEDY]
    streams.open(trio.CancelScope(), NEWCOMER)
    streams.close(scopes[2])  # its handler has ended
    assert (len(streams), streams.count(GREEDY)) == (4, 2)


async def test_who_would_have_as_many_as_anybody_is_refused() -> None:
    refused: list[PeerId] = []
    streams = InboundStreams(3, refused.append)
    scopes = opened(streams, GREEDY, GREEDY, OTHER)
    assert not streams.make_room(OTHER)
    assert not streams.make_room(GREEDY)
    assert refused == [OTHER, GREEDY]
    assert not any(scope.cancel_called for scope in scopes)
    streams.close(scopes[0])
    assert streams.make_room(OTHER)
