"""Outbound streams: used again, given up in time, asked twice at most. The server is a script that counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.exceptions import MuxedStreamError

from p2pkad.core.messages import AddProvider, AnyRequest, FindNode, FindNodeReply, GetValue, GetValueReply
from p2pkad.core.peers import PeerInfo
from p2pkad.errors import LocalProtocolError, PeerBusy, RemoteProtocolError, RequestFailed, RequestTimeout
from p2pkad.identity import Identity
from p2pkad.net.base import MAX_STREAMS
from p2pkad.net.libp2p.pipe import Pipe, StreamLost
from p2pkad.net.libp2p.streams import IDLE_AFTER, LAST_IDLE_AFTER
from p2pkad.wire.codec import decode_request, encode_reply, encode_request
from p2pkad.wire.framing import FrameDecoder, encode_frame
from tests.net.libp2p.ends import PATIENCE, PROTOCOL, End, an_end, eventually, soon

LIMIT = 4 * 1024 * 1024
REPLY = encode_frame(encode_reply(FindNodeReply(())), LIMIT)
NEWS = AddProvider(b"\x12\x20" + bytes(32), (PeerInfo(Identity.generate().id),))

Act = Callable[["Turn"], Awaitable[None]]


class Turn:
    """One stream as the script sees it. number: how many streams were opened before."""

    def __init__(self, number: int, pipe: Pipe) -> None:
        self.number = number
        self.pipe = pipe
        self.requests = 0
        self._decoder = FrameDecoder(LIMIT)

    async def request(self) -> AnyRequest:
        """Wait for a whole request."""
        while (frame := self._decoder.next_frame()) is None:
            data = await self.pipe.read()
            if not data:
                raise StreamLost("the client is through")
            self._decoder.feed(data)
        self.requests += 1
        return decode_request(frame)

    async def serve(self) -> None:
        """Answer everything that has an answer."""
        while True:
            if not isinstance(await self.request(), AddProvider):
                await self.pipe.write(REPLY)


class Scripted:
    """A client, and a server that does as the script says."""

    def __init__(self, client: End, server: End, act: Act) -> None:
        self.client = client
        self.server = server
        self.turns: list[Turn] = []
        self._act = act
        server.host.set_stream_handler(TProtocol(PROTOCOL), self._handle)

    @property
    def requests(self) -> list[int]:
        """How many requests came on each stream."""
        return [turn.requests for turn in self.turns]

    @property
    def open_streams(self) -> int:
        """NetStreams of the protocol that the client holds."""
        connections = self.client.host.get_network().get_connections()
        return sum(each.get_protocol() == PROTOCOL for connection in connections for each in connection.get_streams())

    async def ask(self, key: bytes = b"key") -> object:
        return await self.client.ask(self.server, key)

    async def _handle(self, stream: NetStream) -> None:
        turn = Turn(len(self.turns), Pipe(stream))
        self.turns.append(turn)
        try:
            await self._act(turn)
        except StreamLost:
            await turn.pipe.close()


@asynccontextmanager
async def scripted(act: Act, **config: object) -> AsyncIterator[Scripted]:
    async with an_end(server=False) as client, an_end(server=False, **config) as server:
        yield Scripted(client, server, act)


async def test_one_stream_carries_one_request_after_the_other():
    async with scripted(Turn.serve) as stage:
        for _ in range(10):
            await stage.ask()
        assert stage.requests == [10]


async def test_requests_at_once_take_a_stream_each_up_to_a_bound_and_then_wait():
    gate = trio.Event()

    async def when_told(turn: Turn) -> None:
        await gate.wait()
        await turn.serve()

    async with scripted(when_told) as stage, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(stage.ask)
        await eventually(lambda: len(stage.turns) == MAX_STREAMS)
        gate.set()
    assert len(stage.turns) == MAX_STREAMS
    assert sum(stage.requests) == 50


@pytest.mark.scenario("W7")
async def test_a_stream_that_was_reset_while_it_lay_idle_is_replaced_unseen():
    async def once_and_reset(turn: Turn) -> None:
        await turn.request()
        await turn.pipe.write(REPLY)
        await turn.pipe.reset()

    async with scripted(once_and_reset) as stage:
        for _ in range(3):
            await stage.ask()
        assert stage.requests == [1, 1, 1]


@pytest.mark.scenario("W7")
async def test_a_pooled_stream_that_turns_out_stale_is_retried_once_on_a_fresh_one():
    async def second_request_resets(turn: Turn) -> None:
        await turn.request()
        await turn.pipe.write(REPLY)
        await turn.request()
        if turn.number == 0:
            await turn.pipe.reset()
            return
        await turn.pipe.write(REPLY)
        await turn.serve()

    async with scripted(second_request_resets) as stage:
        await stage.ask()
        await stage.ask()
        assert stage.requests == [2, 1]


@pytest.mark.scenario("W7")
async def test_there_is_never_a_third_time():
    async def first_is_answered_then_all_reset(turn: Turn) -> None:
        await turn.request()
        if turn.number == 0:
            await turn.pipe.write(REPLY)
            await turn.request()
        await turn.pipe.reset()

    async with scripted(first_is_answered_then_all_reset) as stage:
        await stage.ask()
        with pytest.raises(RequestFailed):
            await stage.ask()
        assert stage.requests == [2, 1]


@pytest.mark.scenario("W7")
async def test_of_several_streams_that_turn_out_stale_one_is_tried():
    together = trio.Event()

    async def three_are_reset_at_their_second_request(turn: Turn) -> None:
        await turn.request()
        if turn.number < 3:
            await together.wait()
            await turn.pipe.write(REPLY)
            await turn.request()
            await turn.pipe.reset()
        else:
            await turn.pipe.write(REPLY)

    async with scripted(three_are_reset_at_their_second_request) as stage:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(stage.ask)
            await eventually(lambda: stage.requests == [1, 1, 1])
            together.set()
        await stage.ask()
        assert sorted(stage.requests) == [1, 1, 1, 2]


@pytest.mark.scenario("W7")
async def test_a_fresh_stream_that_is_reset_is_an_answer():
    async def reset(turn: Turn) -> None:
        await turn.request()
        await turn.pipe.reset()

    async with scripted(reset) as stage:
        with pytest.raises(RequestFailed):
            await stage.ask()
        assert stage.requests == [1]


@pytest.mark.scenario("L18", "W7")
async def test_who_closes_the_connection_instead_of_answering_is_asked_once_more_and_is_then_busy():
    async def close_the_connection(turn: Turn) -> None:
        await turn.request()
        assert turn.pipe.stream.swarm_conn is not None
        await turn.pipe.stream.swarm_conn.close()

    async with scripted(close_the_connection) as stage:
        with pytest.raises(PeerBusy):
            await stage.ask()
        assert stage.requests == [1, 1]


@pytest.mark.scenario("L18")
async def test_a_connection_that_ends_before_a_stream_is_open_is_replaced_unseen():
    async with scripted(Turn.serve) as stage:
        await stage.client.network.connect(stage.server.info, soon())
        held = stage.client.host.backbone.find(stage.server.id)
        assert held is not None
        dying = held.handle.muxed_conn

        async def too_late() -> object:
            # What the multiplexer says while a connection ends; who looked just before saw it alive.
            del dying.open_stream
            await dying.close()
            raise MuxedStreamError("Connection is shutting down")

        dying.open_stream = too_late
        await stage.ask()
        assert stage.requests == [1]


@pytest.mark.scenario("W7")
async def test_nothing_is_retried_once_the_reply_has_begun():
    async def half_a_second_reply(turn: Turn) -> None:
        await turn.request()
        await turn.pipe.write(REPLY)
        await turn.request()
        await turn.pipe.write(b"\x20\x08")
        await trio.sleep(0.05)
        await turn.pipe.reset()

    async with scripted(half_a_second_reply) as stage:
        await stage.ask()
        with pytest.raises(RequestFailed):
            await stage.ask()
        assert stage.requests == [2]


async def test_a_reply_that_is_none_is_the_peers_fault_and_its_stream_is_not_used_again():
    async def nonsense(turn: Turn) -> None:
        await turn.request()
        await turn.pipe.write(b"\x02\xff\xff" if turn.number == 0 else REPLY)
        await turn.serve()

    async with scripted(nonsense) as stage:
        with pytest.raises(RemoteProtocolError) as caught:
            await stage.ask()
        assert caught.value.peer == stage.server.id
        await stage.ask()
        assert stage.requests == [1, 1]


async def test_a_late_reply_is_nobody_elses():
    release = trio.Event()

    async def late_once(turn: Turn) -> None:
        await turn.request()
        if turn.number == 0:
            await release.wait()
        await turn.pipe.write(REPLY)
        await turn.serve()

    async with scripted(late_once) as stage:
        with pytest.raises(RequestTimeout, match="no answer to FindNode") as caught:
            await stage.client.network.request(stage.server.info, FindNode(b"slow"), trio.current_time() + 0.2)
        assert 0 < caught.value.seconds <= 0.2
        release.set()
        await stage.ask()
        assert stage.requests == [1, 1]


@pytest.mark.scenario("L15")
async def test_a_cancelled_request_resets_its_stream_and_holds_no_slot():
    ended: list[str] = []

    async def silent(turn: Turn) -> None:
        try:
            await turn.request()
            await turn.request()
        except StreamLost as error:
            ended.append(str(error))

    async with scripted(silent) as stage:
        for number in range(MAX_STREAMS + 5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.ask)
                await eventually(lambda number=number: len(stage.turns) > number)
                nursery.cancel_scope.cancel()
        await eventually(lambda: len(ended) == len(stage.turns) == MAX_STREAMS + 5)
        (connection,) = stage.client.host.get_network().get_connections()
        await eventually(lambda: stage.open_streams == 0 and not connection.muxed_conn.streams)


@pytest.mark.scenario("L15")
async def test_a_place_that_comes_free_goes_to_who_waits_and_on_to_the_next_when_that_one_gives_up():
    async def first_silent(turn: Turn) -> None:
        if turn.number < MAX_STREAMS:
            await turn.request()
            await turn.request()
        await turn.serve()

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            await stage.ask()

    holding, waiting = ([trio.CancelScope() for _ in range(count)] for count in (MAX_STREAMS, 3))
    async with scripted(first_silent) as stage, trio.open_nursery() as nursery:
        for scope in holding:
            nursery.start_soon(ask, scope)
        await eventually(lambda: len(stage.turns) == MAX_STREAMS)
        (pool,) = stage.client.network._pools.values()
        for scope in waiting:
            nursery.start_soon(ask, scope)
            await trio.testing.wait_all_tasks_blocked()
        lot = pool._waiting
        assert lot is not None

        class AsItIsWoken(trio.abc.Instrument):
            def after_task_step(self, task: trio.lowlevel.Task) -> None:
                if len(lot) < 2:
                    waiting[1].cancel()
                    trio.lowlevel.remove_instrument(self)

        waiting[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(AsItIsWoken())
        holding[0].cancel()
        await eventually(lambda: len(stage.turns) == MAX_STREAMS + 1 and pool.in_use == MAX_STREAMS - 1)
        for scope in holding:
            scope.cancel()
        await eventually(lambda: not pool.in_use)
        await stage.ask()
    assert not waiting[2].cancelled_caught


async def test_unused_streams_are_closed_in_good_order():
    async with scripted(Turn.serve) as stage:
        await stage.ask()
        stage.client.network.swept(trio.current_time() + LAST_IDLE_AFTER - 1)
        assert stage.open_streams == 1
        stage.client.network.swept(trio.current_time() + LAST_IDLE_AFTER + 1)
        await eventually(lambda: stage.open_streams == 0)
        (connection,) = stage.client.host.get_network().get_connections()
        await eventually(lambda: not connection.muxed_conn.streams)
        await stage.ask()
        assert stage.requests == [1, 1]


async def test_a_stream_that_the_peer_never_closes_is_forgotten_after_a_while(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.pipe.LINGER", 0.1)

    async def deaf_to_the_end(turn: Turn) -> None:
        await turn.request()
        await turn.pipe.write(REPLY)
        await trio.sleep_forever()

    async with scripted(deaf_to_the_end) as stage:
        await stage.ask()
        (connection,) = stage.client.host.get_network().get_connections()
        stage.client.network.swept(trio.current_time() + LAST_IDLE_AFTER + 1)
        await eventually(lambda: not connection.muxed_conn.streams)


async def test_what_a_burst_has_opened_is_closed_sooner_than_the_last_stream():
    async with scripted(Turn.serve) as stage:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(stage.ask)
        assert stage.open_streams == 3
        stage.client.network.swept(trio.current_time() + IDLE_AFTER - 1)
        assert stage.open_streams == 3
        stage.client.network.swept(trio.current_time() + IDLE_AFTER + 1)
        await eventually(lambda: stage.open_streams == 1)
        await stage.ask()
        assert sorted(stage.requests) == [1, 1, 2], "it is the one that the next request takes"


async def test_bytes_that_nobody_asked_for_cost_the_stream():
    async def chatty(turn: Turn) -> None:
        await turn.request()
        await turn.pipe.write(REPLY + REPLY)
        await turn.serve()

    async with scripted(chatty) as stage:
        await stage.ask()
        await stage.ask()
        assert stage.requests == [1, 1]


async def tell(stage: Scripted, within: float = PATIENCE) -> None:
    await stage.client.network.send(stage.server.info, NEWS, trio.current_time() + within)


@pytest.mark.scenario("P10")
async def test_news_count_as_sent_when_they_have_been_dealt_with_however_slow_the_peer_is(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.pipe.LINGER", 0.05)
    gate, told = trio.Event(), []

    async def slow(turn: Turn) -> None:
        await turn.request()
        await gate.wait()
        await turn.serve()

    async def tell_and_note() -> None:
        await tell(stage)
        told.append(sum(stage.requests))

    async with scripted(slow) as stage:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(tell_and_note)
            await eventually(lambda: stage.requests == [1, 1, 1])
            await trio.sleep(0.2)  # longer than a stream lingers
            assert told == []
            gate.set()
        assert len(told) == 3
        assert stage.requests == [2, 2, 2]


@pytest.mark.scenario("P10", "W1")
async def test_who_takes_news_amiss_has_not_been_told_and_news_behind_them_are_not_lost():
    """js resets the stream for content that is no CID to it."""

    async def takes_the_first_amiss(turn: Turn) -> None:
        await turn.request()
        if turn.number == 0:
            await turn.pipe.reset()
        else:
            assert await turn.request() == FindNode(NEWS.key)
            await turn.pipe.write(REPLY)
            await turn.serve()

    async with scripted(takes_the_first_amiss) as stage:
        with pytest.raises(RequestFailed):
            await tell(stage)
        for _ in range(3):
            await tell(stage)
        assert stage.requests == [1, 6]


@pytest.mark.scenario("P10", "W7")
async def test_news_on_a_stream_that_turns_out_stale_are_told_once_more_on_a_fresh_one():
    async def one_request_a_stream(turn: Turn) -> None:
        await turn.request()
        await turn.pipe.write(REPLY)
        if turn.number == 0:
            await turn.request()
            await turn.pipe.reset()
            return
        await turn.serve()

    async with scripted(one_request_a_stream) as stage:
        await stage.ask()
        await tell(stage)
        assert stage.requests == [2, 2]


@pytest.mark.scenario("P10")
async def test_an_end_in_good_order_tells_nothing():
    """js closes so what it has not read."""

    async def polite(turn: Turn) -> None:
        await turn.pipe.close()

    async with scripted(polite) as stage:
        with pytest.raises(RequestFailed):
            await tell(stage)


@pytest.mark.scenario("P10")
async def test_who_deals_with_nothing_in_time_may_have_been_told_or_not():
    async def deaf(turn: Turn) -> None:
        await trio.sleep_forever()

    async with scripted(deaf) as stage:
        with pytest.raises(RequestTimeout):
            await tell(stage, within=0.2)
        (connection,) = stage.client.host.get_network().get_connections()
        await eventually(lambda: stage.open_streams == 0 and not connection.muxed_conn.streams)


async def test_news_and_requests_share_their_streams():
    async with scripted(Turn.serve) as stage:
        for _ in range(3):
            await stage.ask()
            await tell(stage)
        assert stage.requests == [9]


@pytest.mark.scenario("P10")
async def test_an_echo_of_add_provider_is_not_taken_for_the_next_reply():
    """py-libp2p echoes it and closes the stream: it has been read, and its holder has it."""
    echo = encode_frame(encode_request(NEWS), LIMIT)

    async def echoes(turn: Turn) -> None:
        if isinstance(await turn.request(), AddProvider):
            await turn.pipe.write(echo)
            await trio.sleep(0.1)  # it answers one thing after the other; the stream looks unused meanwhile
        await turn.pipe.write(REPLY)
        await turn.serve()

    async with scripted(echoes) as stage:
        await tell(stage)
        await stage.ask()
        assert len(stage.requests) == 2
        assert stage.requests[1] == 1


async def test_a_request_that_fits_no_frame_is_not_sent():
    async with an_end(max_message=100) as one, an_end() as other:
        with pytest.raises(LocalProtocolError):
            await one.ask(other, b"k" * 200)
        assert other.requests == []


async def test_a_reply_longer_than_the_limit_is_refused_by_its_length():
    async def lengthy(request: object) -> GetValueReply:
        return GetValueReply(b"k" * 5000, None, ())

    async with an_end(max_message=1000) as one, an_end(handler=lengthy) as other:
        with pytest.raises(RemoteProtocolError, match="more than 1000 bytes"):
            await one.network.request(other.info, GetValue(b"k"), soon())


async def test_streams_end_with_their_network_and_the_connection_stays():
    async with scripted(Turn.serve) as stage:
        await stage.ask()
        await stage.client.network.__aexit__(None, None, None)
        await eventually(lambda: stage.open_streams == 0)
        assert stage.client.network.connection(stage.server.id) is not None
        await stage.client.network.__aenter__()
