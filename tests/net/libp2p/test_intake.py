"""Large requests while they arrive: a bounded number of bytes, of one peer and of all."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream

from p2pkad.config import MIB
from p2pkad.core.messages import PutValue
from p2pkad.core.records import Record
from p2pkad.net.base import Limited
from p2pkad.net.libp2p.intake import Intake
from p2pkad.wire.codec import encode_request
from p2pkad.wire.framing import encode_frame
from tests.net.libp2p.ends import PROTOCOL, End, an_end, eventually
from tests.support.worlds import peer_id

pytestmark = pytest.mark.scenario("H4")

LARGE = encode_frame(encode_request(PutValue(b"/v/key", Record(b"/v/key", bytes(200_000)))), MIB)
"""Of a quarter of a mebibyte, one fits."""


async def begun(asker: End, victim: End) -> NetStream:
    """A stream on which all of a large request has been sent but its last byte."""
    await asker.network.connect(victim.info, trio.current_time() + 5)
    stream = await asker.host.new_stream(victim.host.get_id(), [TProtocol(PROTOCOL)])
    await stream.write(LARGE[:-1])
    return stream


async def test_one_peer_has_a_quarter_of_what_may_be_arriving_and_all_of_it_arrives_in_turn() -> None:
    async with an_end(max_arriving_bytes=MIB) as victim, an_end() as greedy, an_end() as other:
        streams = [await begun(greedy, victim) for _ in range(3)]
        await eventually(lambda: victim.told(Limited) == [Limited("arriving_bytes", greedy.id)] * 2)
        another = await begun(other, victim)
        await another.write(LARGE[-1:])
        await eventually(lambda: [request.peer for request in victim.requests] == [other.id])
        for stream in streams:
            await stream.write(LARGE[-1:])
        await eventually(lambda: len(victim.requests) == 4)


async def test_a_stream_that_is_reset_gives_its_place_back() -> None:
    async with an_end(max_arriving_bytes=MIB) as victim, an_end() as one:
        first, second = await begun(one, victim), await begun(one, victim)
        await eventually(lambda: victim.told(Limited))
        await first.reset()
        await second.write(LARGE[-1:])
        await eventually(lambda: len(victim.requests) == 1)


async def test_all_together_have_no_more_than_there_is(autojump_clock: trio.testing.MockClock) -> None:
    waited: list[bytes] = []
    intake = Intake(100, waited.append)
    leaves = [await intake.enter(peer_id(number), 25) for number in range(4)]
    with trio.move_on_after(1):
        await intake.enter(peer_id(9), 1)
    assert waited == [peer_id(9)]
    leaves[0]()
    leave = await intake.enter(peer_id(9), 25)
    for each in (leave, *leaves[1:]):
        each()
    assert repr(intake) == "<Intake 0/100 of 0 waiting=0>"
    (await intake.enter(peer_id(1), 1000))()  # alone, one of any size
    assert waited == [peer_id(9)]
