"""On real hosts: a peer that floods gets what the limits say and no more, and others get all that they ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
import trio
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN
from multiaddr import Multiaddr

from p2pkad.core.messages import AddProvider, FindNode, FindNodeReply
from p2pkad.core.peers import PeerId
from p2pkad.errors import P2pkadError
from tests.behaviour.conftest import BehaviourNetwork
from tests.behaviour.test_shares import a_server, content, limits, record
from tests.support.raw_peer import raw_peer, yamux_frame

pytestmark = [pytest.mark.scenario("H4"), pytest.mark.on_real_hosts_only]

AT_ONCE = 100
"""More than the streams that a peer has."""
STREAMS = 1000


@asynccontextmanager
async def flooding(act: Callable[[int], Awaitable[object]]) -> AsyncIterator[list[int]]:
    """Do it as often as can be, many at once, while the block lasts. Yields the numbers of those that came to something."""
    numbers, done = count(), list[int]()

    async def again_and_again() -> None:
        for number in numbers:
            try:
                if await act(number) is not True:
                    done.append(number)
            except P2pkadError:
                await trio.sleep(0.001)  # a peer that has no time for anything else

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(again_and_again)
        yield done
        nursery.cancel_scope.cancel()


async def test_a_flood_of_questions_is_answered_at_its_rate_and_others_are_answered(network: BehaviourNetwork) -> None:
    burst, rate = 50, 20.0
    _, reached, flood, other = await a_server(network, max_requests_per_peer=burst, request_rate_per_peer=rate)
    began = trio.current_time()
    async with flooding(lambda number: flood.ask(FindNode(b"%d" % number), FindNodeReply)) as answered:
        await network.until(lambda: len(answered) > burst, "its burst is used up")
        for number in range(40):
            await other.ask(FindNode(b"%d" % number), FindNodeReply)
        await trio.sleep(0.5)
        most = burst + rate * (trio.current_time() - began) + 1
        assert len(answered) <= most
    told = limits(reached)
    assert told["requests_per_peer", flood.own.id] > 0
    assert not any(peer == other.own.id for _, peer in told)


@pytest.mark.parametrize("kind", ["records", "providers"])
async def test_a_flood_of_things_to_store_fills_its_share_alone(network: BehaviourNetwork, kind: str) -> None:
    share = 50
    node, reached, flood, other = await a_server(network, max_stored_per_peer=share, request_rate_per_peer=100_000.0)

    def store(number: int) -> Awaitable[bool]:
        return flood.is_refused(record(number) if kind == "records" else AddProvider(content(number), (flood.own,)))

    async with flooding(store) as stored:
        await network.until(lambda: limits(reached)["stored_per_peer", flood.own.id] > 20, "it wants more than its share")
        for number in range(10):
            assert not await other.is_refused(record(1_000_000 + number))
            assert not await other.is_refused(AddProvider(content(1_000_000 + number), (other.own,)))
        # What is on its way to the store while another one is counted may go beyond.
        assert share <= len(stored) <= share + AT_ONCE
    stats = node.stats()
    assert stats.records + stats.providers <= share + 20 + AT_ONCE


async def test_announcements_alone_come_in_at_the_rate_and_are_not_lost(network: BehaviourNetwork) -> None:
    node, _, publisher, _ = await a_server(network, max_requests_per_peer=20, request_rate_per_peer=200.0)
    for number in range(120):
        await publisher.tell(AddProvider(content(number), (publisher.own,)))
        await publisher.ask(FindNode(b"what a lookup asks"), FindNodeReply)
    await network.until(lambda: node.stats().providers == 120, "all of them arrived")


async def test_of_a_thousand_streams_its_share_is_kept_and_others_are_served(network: BehaviourNetwork) -> None:
    node, reached, other, _ = await a_server(network)
    where = info_from_p2p_addr(Multiaddr(node.addresses[0]))
    async with raw_peer(where) as flood:
        # On each one byte, of what may become anything.
        frames = [yamux_frame(stream, b"\x13", flags=FLAG_SYN) for stream in flood.stream_ids(STREAMS)]
        await flood.send_frames(b"".join(frames))
        name = PeerId(flood.id.to_bytes())
        # Most of them are reset before they are counted: yamux lets 256 wait. Of these 64 may stay.
        await network.until(lambda: limits(reached)["streams_per_peer", name] >= 100, "the others were reset")
        for number in range(20):
            await other.ask(FindNode(b"%d" % number), FindNodeReply)
    assert {peer for _, peer in limits(reached)} == {name}
