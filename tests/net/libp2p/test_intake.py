"""Large requests and replies while they arrive: a bounded number of bytes, of one peer and of all."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream

from p2pkad.config import MIB
from p2pkad.core.messages import GetValue, GetValueReply, PutValue
from p2pkad.core.peers import PeerId
from p2pkad.core.records import Record
from p2pkad.errors import LocalLimit
from p2pkad.net.base import Limited, Request
from p2pkad.net.libp2p.intake import Arrival, Intake
from p2pkad.net.libp2p.pipe import Pipe
from p2pkad.wire.codec import encode_reply, encode_request
from p2pkad.wire.framing import encode_frame
from tests.net.libp2p.ends import PROTOCOL, End, an_end, eventually, soon
from tests.support.worlds import peer_id

pytestmark = pytest.mark.scenario("H4")

LARGE = encode_frame(encode_request(PutValue(b"/v/key", Record(b"/v/key", bytes(300_000)))), MIB)
"""Of a mebibyte, three fit."""


async def begun(asker: End, victim: End) -> NetStream:
    """A stream on which all of a large request has arrived but its last byte."""
    await asker.network.connect(victim.info, trio.current_time() + 5)
    stream = await asker.host.new_stream(victim.host.get_id(), [TProtocol(PROTOCOL)])
    await stream.write(LARGE[:-1])
    return stream


async def test_of_the_peer_that_has_the_most_one_is_given_up_and_nobody_else_waits() -> None:
    async with an_end(max_arriving_bytes=MIB) as victim, an_end() as greedy, an_end() as other:
        modest = await begun(other, victim)
        streams = [await begun(greedy, victim) for _ in range(2)]
        await eventually(lambda: arriving(victim) == 3)
        streams += [await begun(greedy, victim) for _ in range(5)]
        await eventually(lambda: victim.told(Limited) == [Limited("arriving_bytes", greedy.id)] * 5)
        await modest.write(LARGE[-1:])
        await eventually(lambda: [request.peer for request in victim.requests] == [other.id])
        for stream in streams:
            with suppress(Exception):  # five of them are reset
                await stream.write(LARGE[-1:])
        await eventually(lambda: len(victim.requests) == 3)
        await eventually(lambda: arriving(victim) == 0)


async def test_a_stream_that_is_reset_counts_no_more() -> None:
    async with an_end(max_arriving_bytes=MIB) as victim, an_end() as one:
        for _ in range(8):
            stream = await begun(one, victim)
            await eventually(lambda: arriving(victim) == 1)
            await stream.reset()
            await eventually(lambda: arriving(victim) == 0)
        assert victim.told(Limited) == []


async def test_a_reply_that_does_not_end_makes_room_for_those_that_do() -> None:
    value = Record(b"/v/key", bytes(300_000))
    reply = encode_frame(encode_reply(GetValueReply(value.key, value, ())), MIB)

    async def stall(stream: NetStream) -> None:
        await Pipe(stream).write(reply[:-1])
        await trio.sleep_forever()

    async def tell(request: Request) -> GetValueReply:
        return GetValueReply(value.key, value, ())

    async def ask(other: End) -> None:
        try:
            await asker.network.request(other.info, GetValue(value.key), soon())
        except LocalLimit as error:
            failed.append((other.id, error.what))

    failed: list[tuple[PeerId, str]] = []
    async with (
        an_end(max_arriving_bytes=MIB) as asker,
        an_end(server=False) as greedy,
        an_end(handler=tell) as honest,
        trio.open_nursery() as nursery,
    ):
        greedy.host.set_stream_handler(TProtocol(PROTOCOL), stall)
        for _ in range(8):
            nursery.start_soon(ask, greedy)
        await eventually(lambda: len(failed) == 5 and len(asker.network._way.intake._arrivals) == 3)
        assert asker.told(Limited) == [Limited("arriving_bytes", greedy.id)] * 5
        for _ in range(3):
            await ask(honest)
        assert set(failed) == {(greedy.id, "arriving_bytes")}
        nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint()
    assert repr(asker.network._way.intake) == f"<Intake 0/{MIB} in 0>"


async def test_a_small_reply_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Intake, "hold", None)
    async with an_end() as asker, an_end() as other:
        await asker.ask(other)


def arriving(end: End) -> int:
    """How many large requests, all but their last byte."""
    assert end.network._server is not None
    arrivals = end.network._server._intake._arrivals
    return sum((arrival.size or 0) > len(LARGE) - 10 for arrival in arrivals) if arrivals else 0


async def test_what_is_small_or_alone_is_let_be() -> None:
    refused: list[bytes] = []
    intake = Intake(100, refused.append)
    one, other, third = (Arrival(peer_id(number), trio.CancelScope()) for number in (1, 1, 2))
    intake.hold(one, 1000)  # alone, one of any size
    intake.hold(third, 1)
    assert refused == [peer_id(1)]
    assert one.stream.cancel_called
    with pytest.raises(LocalLimit, match="arriving_bytes"):
        intake.hold(one, 1001)
    intake.hold(other, 60)
    intake.hold(third, 41)
    assert refused == [peer_id(1)] * 2, "the one that has more"
    assert not third.stream.cancel_called
    for _ in range(2):
        intake.let_go(third)
    assert repr(intake) == "<Intake 0/100 in 0>"
