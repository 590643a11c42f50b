"""The inbound side of a protocol, spoken to byte by byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.exceptions import MuxedStreamReset

from p2pkad.core.messages import AddProvider, FindNode, FindNodeReply, GetProviders, GetValue
from p2pkad.core.peers import PeerInfo
from p2pkad.net.libp2p.multistream import opening
from p2pkad.net.libp2p.pipe import Pipe, StreamLost
from p2pkad.wire.codec import decode_reply, encode_request
from p2pkad.wire.framing import FrameDecoder, encode_frame, encode_varint
from tests.net.libp2p.ends import PATIENCE, PROTOCOL, End, an_end, eventually, soon

LIMIT = 4 * 1024 * 1024
KEY = b"\x12\x20" + bytes(32)


class Line:
    """A stream to a server of the protocol, bytes out and replies in."""

    def __init__(self, stream: NetStream, server: End) -> None:
        self.stream = stream
        self.server = server
        self.pipe = Pipe(stream)
        self._decoder = FrameDecoder(LIMIT)
        self._skip = len(opening(PROTOCOL))

    async def say(self, data: bytes) -> None:
        await self.pipe.write(data)

    async def half_close(self) -> None:
        await self.stream.muxed_stream.close()

    async def reply(self) -> bytes:
        """The next reply, negotiation left aside."""
        with trio.fail_after(PATIENCE):
            while (frame := self._decoder.next_frame()) is None:
                data = await self.pipe.read()
                assert data, "the server closed the stream"
                self._decoder.feed(data[self._skip :])
                self._skip = max(0, self._skip - len(data))
            return frame

    async def is_reset(self) -> None:
        """Wait until the server resets the stream. A close would be the end of the data, not an error."""
        with pytest.raises(MuxedStreamReset), trio.fail_after(PATIENCE):
            await self._until_it_fails()

    async def is_closed(self) -> None:
        """Wait until the server closes the stream in good order."""
        with trio.fail_after(PATIENCE):
            while await self.pipe.read():
                pass
        assert not self.stream.muxed_stream.is_reset

    async def _until_it_fails(self) -> None:
        while True:
            await self.stream.muxed_stream.read(4096)


@asynccontextmanager
async def a_line(**config: object) -> AsyncIterator[Line]:
    """A client's raw stream, and the server that it leads to."""
    async with an_end() as client, an_end(**config) as server:
        await client.network.connect(server.info, soon())
        held = client.host.backbone.find(server.id)
        assert held is not None
        yield Line(await held.handle.new_stream(), server)


def framed(message: FindNode | GetValue | GetProviders | AddProvider) -> bytes:
    return encode_frame(encode_request(message), LIMIT)


@pytest.mark.scenario("W1")
async def test_any_number_of_requests_on_one_stream_are_answered_in_order_and_add_provider_is_not():
    async with a_line() as line:
        await line.say(opening(PROTOCOL))
        for number in range(200):
            key = KEY[:-1] + bytes([number])
            if number % 3 == 0:
                await line.say(framed(AddProvider(key, (PeerInfo(line.server.id),))))
            await line.say(framed(GetProviders(key)))
            assert decode_reply(GetProviders(key), await line.reply()).key == key
        kinds = [type(request.message) for request in line.server.requests]
        assert kinds.count(GetProviders) == 200
        assert kinds.count(AddProvider) == 67


@pytest.mark.scenario("W2")
async def test_half_close_right_after_the_request_still_gets_the_reply():
    async def slowly(request: object) -> FindNodeReply:
        await trio.sleep(0.05)
        return FindNodeReply(())

    async with a_line(handler=slowly) as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"key")))
        await line.half_close()
        assert decode_reply(FindNode(b"key"), await line.reply()) == FindNodeReply(())
        await line.is_closed()


@pytest.mark.scenario("W3")
async def test_requests_in_the_same_packet_as_the_negotiation_are_answered():
    async with a_line() as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a")) + framed(FindNode(b"b")))
        await line.reply()
        await line.reply()
        assert [request.message for request in line.server.requests] == [FindNode(b"a"), FindNode(b"b")]


@pytest.mark.scenario("W4")
async def test_a_frame_may_be_split_at_every_byte():
    async with a_line() as line:
        await line.say(opening(PROTOCOL))
        whole = framed(GetValue(b"/ns/" + b"k" * 130))
        for cut in range(len(whole) + 1):
            await line.say(whole[:cut])
            await line.say(whole[cut:])
            await line.reply()
        for byte in whole:
            await line.say(bytes([byte]))
        await line.reply()


@pytest.mark.scenario("W4")
async def test_several_frames_in_one_packet_and_one_of_the_longest_legal_length():
    limit = 128 * 1024
    async with a_line(max_message=limit) as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a")) * 5)
        for _ in range(5):
            await line.reply()
        longest = framed(FindNode(b"k" * (limit - 6)))
        assert len(longest) == limit + 3
        await line.say(longest)
        await line.reply()


@pytest.mark.scenario("W4")
@pytest.mark.parametrize(
    "said",
    [
        b"\x80" * 11,
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x81\x00\x08",
        encode_varint(LIMIT + 1),
        b"\x04\x08\x63\x12\x00",
        b"\x02\xff\xff",
    ],
    ids=["endless", "over-long", "not minimal", "above the limit", "unknown type", "no protobuf"],
)
async def test_what_is_no_request_is_reset(said):
    async with a_line() as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a")) + said)
        await line.is_reset()
        assert [request.message for request in line.server.requests] == [FindNode(b"a")]


@pytest.mark.scenario("W4")
async def test_a_truncated_body_is_reset():
    async with a_line() as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a"))[:-1])
        await line.half_close()
        await line.is_reset()
        assert line.server.requests == []


async def test_the_end_between_requests_is_a_close():
    async with a_line() as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a")))
        await line.reply()
        await line.half_close()
        await line.is_closed()


@pytest.mark.scenario("W7")
async def test_an_idle_inbound_stream_is_reset():
    async with a_line(idle_stream_timeout=0.2) as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a")))
        await line.reply()
        await line.is_reset()


@pytest.mark.scenario("H4")
async def test_a_request_that_trickles_in_is_reset_like_an_idle_stream():
    async with a_line(idle_stream_timeout=0.5) as line:
        await line.say(opening(PROTOCOL) + b"\x80\x80\x01")

        async def trickle() -> None:
            while True:
                await line.say(b"\x00")
                await trio.sleep(0.02)

        with pytest.raises(StreamLost), trio.fail_after(PATIENCE):
            await trickle()


@pytest.mark.scenario("H4")
async def test_a_peer_that_takes_no_replies_is_reset():
    async with a_line(idle_stream_timeout=0.5) as line:
        await line.say(opening(PROTOCOL))
        big = framed(GetProviders(b"k" * 100_000))  # whose reply is as long, and the window holds 256 KiB
        with pytest.raises(StreamLost), trio.fail_after(PATIENCE):
            await say_for_ever(line, big)


async def say_for_ever(line: Line, data: bytes) -> None:
    while True:
        await line.say(data)


@pytest.mark.scenario("M1")
async def test_turning_client_resets_the_streams_that_are_open():
    async with a_line() as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a")))
        await line.reply()
        await line.server.network.set_server(False)
        await line.is_reset()
        assert "client" in repr(line.server.network)


async def test_a_request_under_way_when_the_server_turns_client_is_not_answered():
    async def forever(request: object) -> None:
        await trio.sleep_forever()

    async with a_line(handler=forever) as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a")))
        await eventually(lambda: line.server.requests)
        await line.server.network.set_server(False)
        await line.is_reset()


async def test_nothing_of_a_stream_is_left_when_it_is_over():
    async with a_line() as line:
        await line.say(opening(PROTOCOL) + framed(FindNode(b"a")))
        await line.reply()
        await line.half_close()
        await line.is_closed()
        (there,) = line.server.host.get_network().get_connections()
        kept = (there.streams, there.muxed_conn.streams)
        await eventually(lambda: not any(kept))
