"""yamux, on two ends of a cable in memory: against itself, against py-libp2p's, and against frames made by hand."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamReset,
)
from libp2p.stream_muxer.yamux.yamux import Yamux
from trio.testing import wait_all_tasks_blocked

from p2pkad.net.libp2p import yamux, yamux_stream
from p2pkad.net.libp2p.yamux import BACKLOG, FLOODED, Connection
from p2pkad.net.libp2p.yamux_stream import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    UNSENT,
    WINDOW,
    WINDOW_UPDATE,
    Stream,
)

PEER = ID(b"\x00\x24\x08\x01\x12\x20" + bytes(32))
MUCH = 3 * WINDOW


class Secured:
    """One end of a connection without encryption. written: what each write brought, in order. broken: it takes no more."""

    def __init__(self, is_initiator: bool, out: trio.MemorySendChannel[bytes], back: trio.MemoryReceiveChannel[bytes]) -> None:
        self.is_initiator = is_initiator
        self.written: list[bytes] = []
        self.closed = False
        self._out = out
        self._back = back
        self._left = b""

    async def read(self, n: int | None = None) -> bytes:
        if not self._left:
            try:
                self._left = await self._back.receive()
            except (trio.EndOfChannel, trio.ClosedResourceError) as error:
                raise ConnectionClosedError("gone") from error
        size = len(self._left) if n is None else n
        data, self._left = self._left[:size], self._left[size:]
        return data

    async def write(self, data: bytes) -> None:
        self.written.append(data)
        try:
            await self._out.send(data)
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError("gone") from error

    async def close(self) -> None:
        self.closed = True
        self._out.close()
        self._back.close()

    def get_remote_address(self) -> tuple[str, int]:
        return ("127.0.0.1", 4001)


def cable(messages: float = math.inf) -> tuple[Secured, Secured]:
    """Both ends. messages: that wait at the other end, beyond which writing waits."""
    there, out = trio.open_memory_channel[bytes](messages)
    back, here = trio.open_memory_channel[bytes](messages)
    return Secured(True, there, here), Secured(False, back, out)


def muxer(end: Secured) -> Connection:
    return Connection(end, PEER)  # type: ignore[arg-type]


LOOK_EVERY = 5.0


async def look_after(connection: Connection, seconds: float = LOOK_EVERY) -> None:
    """As whoever has the connections of a host does."""
    while True:
        await trio.sleep(seconds)
        connection.look()


@asynccontextmanager
async def two(other: Callable[[Secured], Any] = muxer) -> AsyncIterator[tuple[Connection, Any]]:
    """A connection, with both of its ends at work. other: makes the end that was called."""
    here, there = cable()
    ends = muxer(here), other(there)
    async with trio.open_nursery() as nursery:
        for end in ends:
            nursery.start_soon(end.start)
            await end.event_started.wait()
            if isinstance(end, Connection):
                nursery.start_soon(look_after, end)
        yield ends
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def one(messages: float = math.inf, look_every: float = LOOK_EVERY) -> AsyncIterator[tuple[Connection, Secured]]:
    """A connection that was called, and the caller's end of its cable, for frames made by hand."""
    caller, called = cable(messages)
    connection = muxer(called)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.start)
        await connection.event_started.wait()
        nursery.start_soon(look_after, connection, look_every)
        yield connection, caller
        nursery.cancel_scope.cancel()


def frame(kind: int, flags: int, stream_id: int, length: int | None = None, body: bytes = b"") -> bytes:
    return HEADER.pack(0, kind, flags, stream_id, len(body) if length is None else length) + body


def frames(data: bytes) -> list[tuple[int, int, int, int]]:
    """Type, flags, stream and length of each."""
    found = []
    while data:
        _, kind, flags, stream_id, length = HEADER.unpack_from(data)
        found.append((kind, flags, stream_id, length))
        data = data[HEADER.size + (length if kind == DATA else 0) :]
    return found


async def all_of(stream: Any) -> bytes:
    data = bytearray()
    try:
        while True:
            data += await stream.read(50_000)
    except MuxedStreamEOF:
        return bytes(data)


async def pair(ends: tuple[Any, Any]) -> tuple[Any, Any]:
    """A stream that the first end opened, at both ends. "hi" is on its way to the second one."""
    opened = await ends[0].open_stream()
    await opened.write(b"hi")
    accepted = await ends[1].accept_stream()
    assert await accepted.read(2) == b"hi"
    return opened, accepted


async def test_bytes_arrive_in_order_and_the_end_after_them():
    async with two() as ends:
        opened, accepted = await pair(ends)
        await opened.write(b"a")
        await opened.write(b"b" * 1000)
        await opened.close()
        assert await all_of(accepted) == b"a" + b"b" * 1000
        await accepted.write(b"still here")  # one half is closed, the other is not
        await accepted.close()
        assert await all_of(opened) == b"still here"
        assert ends[0].streams == ends[1].streams == {}
        with pytest.raises(MuxedStreamClosed):
            await opened.write(b"more")


def stock(initiator: bool) -> Callable[[Secured], Yamux]:
    return lambda end: Yamux(end, PEER, is_initiator=initiator)  # type: ignore[arg-type]


@pytest.mark.parametrize("turned", [False, True])
async def test_py_libp2ps_own_understands_it(turned):
    async with two(stock(False)) as ends:
        opened, accepted = await pair((ends[1], ends[0]) if turned else ends)
        async with trio.open_nursery() as nursery:
            for writer in opened, accepted:
                nursery.start_soon(writer.write, bytes(MUCH))
            for reader in opened, accepted:
                got = 0
                while got < MUCH:
                    got += len(await reader.read(50_000))
        await opened.close()
        await accepted.close()
        await wait_all_tasks_blocked()
        assert not ends[0].streams


@pytest.mark.parametrize("unread", [b"", b"unread"])
async def test_a_reset_is_seen_behind_what_came_before_and_nothing_is_kept(unread):
    async with two() as ends:
        opened, accepted = await pair(ends)
        if unread:
            await opened.write(unread)
        await opened.reset()
        if unread:
            assert await accepted.read() == unread
        with pytest.raises(MuxedStreamReset):
            await accepted.read()
        with pytest.raises(MuxedStreamReset):
            await accepted.write(b"hello?")
        assert accepted.is_reset
        assert accepted.stale
        assert ends[0].streams == ends[1].streams == {}


async def test_of_a_stream_that_nothing_was_written_to_the_other_end_never_hears():
    async with two() as ends:
        await (await ends[0].open_stream()).reset()
        await wait_all_tasks_blocked()
        assert ends[0].secured_conn.written == []
        assert ends[0].streams == {}


async def test_what_comes_for_a_stream_that_was_given_up_is_dropped():
    async with two() as ends:
        opened, accepted = await pair(ends)
        await accepted.write(b"reply")
        await opened.reset()
        await accepted.write(b"too late")
        await wait_all_tasks_blocked()
        await pair(ends)
        assert list(ends[0].streams) == [3]


@pytest.mark.scenario("W2")
async def test_who_still_writes_to_a_stream_that_was_left_is_told():
    async with two() as ends:
        opened, accepted = await pair(ends)
        await accepted.write(b"reply")
        await accepted.close()
        accepted.leave()
        await wait_all_tasks_blocked()
        assert await opened.read() == b"reply"
        await opened.write(b"for nobody")
        await wait_all_tasks_blocked()
        with pytest.raises(MuxedStreamReset):
            await opened.write(b"more of it")
        assert not ends[0].streams


# windows


@pytest.mark.scenario("H4")
async def test_who_is_not_read_waits_with_a_window_full_and_the_others_go_on():
    async with two() as ends:
        opened, accepted = await pair(ends)
        other, read = await pair(ends)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened.write, bytes(MUCH))
            await wait_all_tasks_blocked()
            assert len(accepted._data) == WINDOW - len(b"hi")
            await other.write(b"me first")
            assert await read.read() == b"me first"
            got = 0
            while got < MUCH:
                got += len(await accepted.read(10_000))
            assert got == MUCH


@pytest.mark.scenario("H4")
async def test_who_sends_more_than_it_may_loses_the_connection():
    async with one() as (connection, caller):
        await caller.write(frame(DATA, SYN, 1, body=bytes(WINDOW)))
        await wait_all_tasks_blocked()
        assert not connection.is_closed
        await caller.write(frame(DATA, 0, 1, body=b"!"))
        await wait_all_tasks_blocked()
        assert connection.is_closed
        assert frames(b"".join(connection.secured_conn.written))[-1] == (GO_AWAY, 0, 0, PROTOCOL_ERROR)


async def test_a_window_opens_for_a_writer_that_waits():
    async with one() as (connection, caller):
        await caller.write(frame(WINDOW_UPDATE, SYN, 1, 0))
        stream = await connection.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, bytes(WINDOW + 5))
            await wait_all_tasks_blocked()
            await caller.write(frame(WINDOW_UPDATE, 0, 1, 3))
            await wait_all_tasks_blocked()
            await caller.write(frame(WINDOW_UPDATE, 0, 1, 3))
        await wait_all_tasks_blocked()
        sent = frames(b"".join(connection.secured_conn.written))
        assert [length for _, _, _, length in sent][-2:] == [3, 2]
        assert sum(length for _, _, _, length in sent) == WINDOW + 5


async def test_a_window_has_an_upper_end():
    async with one() as (connection, caller):
        await caller.write(frame(WINDOW_UPDATE, SYN, 1, 2**32 - 1) + frame(WINDOW_UPDATE, 0, 1, 2**32 - 1))
        stream = await connection.accept_stream()
        await stream.write(b"x")
        assert stream._window == yamux_stream.MOST_GRANTED - 1


# what is sent, and how


async def test_what_piles_up_leaves_in_one_message():
    async with two() as ends:
        streams = [(await pair(ends))[0] for _ in range(10)]
        before = len(ends[0].secured_conn.written)
        for stream in streams:
            await stream.write(b"request")
        await wait_all_tasks_blocked()
        assert len(ends[0].secured_conn.written) == before + 1


async def test_the_first_frame_of_each_end_says_that_it_is():
    async with two() as ends:
        opened, accepted = await pair(ends)
        await accepted.write(b"yes")
        await accepted.write(b"and no")
        await opened.read(9)
        await wait_all_tasks_blocked()
        assert frames(b"".join(ends[0].secured_conn.written)) == [(DATA, SYN, 1, 2)]
        assert frames(b"".join(ends[1].secured_conn.written)) == [(DATA, ACK, 1, 3), (DATA, 0, 1, 6)]


@pytest.mark.scenario("H4")
async def test_of_an_end_that_takes_nothing_little_waits_here_and_its_pings_are_not_read():
    async with one(messages=1) as (connection, caller):
        await caller.write(frame(WINDOW_UPDATE, SYN, 1, 0))
        stream = await connection.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, bytes(WINDOW))
            await wait_all_tasks_blocked()
            assert connection.unsent <= UNSENT + yamux_stream.LARGEST + HEADER.size
            pings = frame(PING, SYN, 0, 7) * 1000
            for _ in range(100):
                with trio.move_on_after(0.01):
                    await caller.write(pings)
            assert connection.unsent <= FLOODED + len(pings)
            nursery.cancel_scope.cancel()


async def test_who_is_cancelled_while_it_writes_leaves_whole_frames():
    async with one(messages=0) as (connection, caller):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.write, frame(WINDOW_UPDATE, SYN, 1, 0))
            stream = await connection.accept_stream()
        with trio.move_on_after(0.05):
            await stream.write(bytes(WINDOW))
        received = bytearray()
        with trio.move_on_after(0.05):
            while True:
                received += await caller.read()
        assert {length for _, _, _, length in frames(bytes(received))} == {yamux_stream.LARGEST}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, b"on we go")
            last = frames(await caller.read())
        assert last == [(DATA, 0, 1, len(b"on we go"))]


# what strangers send


@given(data=st.data())
async def test_frames_arrive_in_any_pieces(data):
    async with one() as (connection, caller):
        sent = (
            frame(DATA, SYN, 1, body=b"first")
            + frame(PING, SYN, 0, 9)
            + frame(DATA, 0, 1, body=b"")
            + frame(DATA, SYN | FIN, 3, body=b"x" * 40)
            + frame(DATA, FIN, 1, body=b" last")
        )
        cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=len(sent))))
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            await caller.write(sent[begin:end])
        assert await all_of(await connection.accept_stream()) == b"first last"
        assert await all_of(await connection.accept_stream()) == b"x" * 40
        await wait_all_tasks_blocked()
        assert frames(b"".join(connection.secured_conn.written)) == [(PING, ACK, 0, 9)]


@pytest.mark.scenario("H1")
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(HEADER.pack(1, DATA, 0, 1, 0), id="version"),
        pytest.param(HEADER.pack(0, 4, 0, 1, 0), id="type"),
        pytest.param(frame(DATA, SYN, 2, body=b"x"), id="a number that is not the callers"),
        pytest.param(frame(WINDOW_UPDATE, SYN, 0, 0), id="no number"),
        pytest.param(frame(WINDOW_UPDATE, SYN, 1, 0) * 2, id="twice"),
    ],
)
async def test_what_is_not_yamux_ends_the_connection(sent):
    async with one() as (connection, caller):
        await caller.write(sent)
        await wait_all_tasks_blocked()
        assert connection.is_closed
        assert connection.secured_conn.closed


@pytest.mark.scenario("H1")
@given(st.binary(max_size=200))
async def test_whatever_comes_nothing_breaks(garbage):
    async with one() as (connection, caller):
        await caller.write(garbage)
        await wait_all_tasks_blocked()
        await connection.close()
        assert connection.streams == {}


@pytest.mark.scenario("H4")
async def test_of_streams_that_nobody_has_accepted_there_is_a_bounded_number():
    async with one() as (connection, caller):
        await caller.write(b"".join(frame(DATA, SYN, 1 + 2 * number, body=b"x") for number in range(BACKLOG + 10)))
        await wait_all_tasks_blocked()
        assert len(connection.streams) == BACKLOG
        assert frames(b"".join(connection.secured_conn.written)) == [
            (WINDOW_UPDATE, RST, 1 + 2 * number, 0) for number in range(BACKLOG, BACKLOG + 10)
        ]


# ends


async def test_the_end_of_a_connection_is_that_of_its_streams_and_of_everybody_who_waits(autojump_clock):
    async with two() as ends:
        opened, accepted = await pair(ends)
        await opened.write(b"last words")
        ended: list[type[BaseException]] = []

        async def wait(what: Callable[[], Any]) -> None:
            try:
                await what()
            except Exception as error:
                ended.append(type(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, opened.read)
            nursery.start_soon(wait, ends[0].accept_stream)
            nursery.start_soon(wait, lambda: opened.write(bytes(MUCH)))
            await wait_all_tasks_blocked()
            await ends[0].close()
        assert set(ended) == {MuxedStreamReset, MuxedConnUnavailable}
        assert len(ended) == 3
        await wait_all_tasks_blocked()
        assert ends[1].is_closed
        assert not ends[1].is_established
        assert (await accepted.read())[: len(b"last words")] == b"last words"
        for end in ends:
            assert (end.streams, end.secured_conn.closed) == ({}, True)
            with pytest.raises(MuxedConnUnavailable):
                await end.open_stream()


async def test_closing_sends_what_is_left_and_says_so():
    async with two() as ends:
        stream = await ends[0].open_stream()
        await stream.write(b"do not lose me")
        await ends[0].close()
        assert frames(b"".join(ends[0].secured_conn.written)) == [(DATA, SYN, 1, 14), (GO_AWAY, 0, 0, NORMAL)]
        await wait_all_tasks_blocked()
        assert ends[1].is_closed
        assert await (await ends[1].accept_stream()).read() == b"do not lose me"
        await ends[0].close()  # once more changes nothing


async def test_closing_waits_for_a_moment_for_an_end_that_takes_nothing(autojump_clock):
    async with one(messages=0) as (connection, _):
        stream = await connection.open_stream()
        await stream.write(b"x")
        began = trio.current_time()
        await connection.close()
        assert trio.current_time() - began == yamux.FAREWELL
        assert connection.secured_conn.closed


async def test_one_that_is_closed_before_it_starts_is_closed():
    here, _ = cable()
    connection = muxer(here)
    await connection.close()
    assert (here.closed, here.written, connection.is_closed) == (True, [], True)
    await connection.start()
    assert not connection.is_established


async def test_who_is_cancelled_closes_the_connection():
    here, _ = cable()
    connection = muxer(here)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.start)
        await connection.event_started.wait()
        nursery.cancel_scope.cancel()
    assert here.closed
    assert connection.is_closed


async def test_a_silent_peer_is_asked_and_given_up(autojump_clock):
    async with one() as (connection, _):
        began = trio.current_time()
        with pytest.raises(MuxedConnUnavailable):
            await connection.accept_stream()
        assert trio.current_time() - began == yamux.KEEP_ALIVE + yamux.ANSWER_WITHIN + LOOK_EVERY
        assert frames(connection.secured_conn.written[0]) == [(PING, SYN, 0, 0)]


async def test_one_that_takes_nothing_is_given_up_whatever_it_says(autojump_clock):
    async with one(messages=0) as (connection, caller):
        stream = await connection.open_stream()
        await stream.write(b"x")
        began = trio.current_time()
        while not connection.is_closed:
            with trio.move_on_after(5):
                await caller.write(frame(PING, ACK, 0, 0))
            await trio.sleep(1)
        assert yamux.WRITE_WITHIN <= trio.current_time() - began <= yamux.WRITE_WITHIN + 10


@pytest.mark.parametrize("behind", [frame(GO_AWAY, 0, 0, NORMAL), frame(WINDOW_UPDATE, RST, 1, 0)])
async def test_what_came_whole_stays_whole_whatever_comes_behind(behind):
    async with one() as (connection, caller):
        await caller.write(frame(DATA, SYN | FIN, 1, body=b"all of it") + behind)
        assert await all_of(await connection.accept_stream()) == b"all of it"


async def test_of_streams_on_which_nothing_was_said_there_is_a_bounded_number():
    async with two() as ends:
        opened: list[Stream] = []

        async def open_many() -> None:
            for _ in range(yamux.MOST_UNACKNOWLEDGED + 2):
                opened.append(await ends[0].open_stream())
                await opened[-1].write(b"x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_many)
            await wait_all_tasks_blocked()
            assert len(opened) == yamux.MOST_UNACKNOWLEDGED
            await (await ends[1].accept_stream()).write(b"yes")
            await wait_all_tasks_blocked()
            assert len(opened) == yamux.MOST_UNACKNOWLEDGED + 1
            await opened[1].reset()
        assert not any(stream.is_reset for stream in opened if stream is not opened[1])


async def test_closing_a_stream_wakes_whoever_writes_to_it():
    async with two() as ends:
        opened, _ = await pair(ends)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                with pytest.raises(MuxedStreamClosed):
                    await opened.write(bytes(MUCH))

            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            await opened.close()


@pytest.mark.scenario("H4")
async def test_a_stream_that_only_this_end_has_closed_is_given_up_when_nothing_comes_any_more(autojump_clock):
    async with two() as ends:
        quiet, kept_open = await pair(ends)
        talking, answering = await pair(ends)
        waiting, _ = await pair(ends)
        await quiet.close()
        await talking.close()
        for _ in range(3):
            await trio.sleep(yamux.HALF_CLOSED * 0.9)
            await answering.write(b"still here")
        await wait_all_tasks_blocked()
        assert await talking.read() == b"still here" * 3
        assert [each for each in (quiet, talking, waiting) if each in ends[0].streams.values()] == [talking, waiting]
        assert kept_open.is_reset
        with pytest.raises(MuxedStreamReset):
            await quiet.read()
        await answering.close()
        await wait_all_tasks_blocked()
        assert list(ends[0].streams.values()) == [waiting]


async def test_a_stream_on_which_somebody_waits_for_an_answer_stays_half_closed(autojump_clock):
    async def answer(stream: Stream) -> None:
        await trio.sleep(3 * yamux.HALF_CLOSED)
        await stream.write(b"a long story")

    async with two() as ends, trio.open_nursery() as nursery:
        opened, accepted = await pair(ends)
        await opened.close()
        nursery.start_soon(answer, accepted)
        assert await opened.read() == b"a long story"


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_message_that_leaves_right_after_a_look_is_not_late(leaves, autojump_clock):
    async with one(messages=0, look_every=math.inf) as (connection, caller):
        stream = await connection.open_stream()
        for turn in range(2):
            assert not connection.is_closed
            if leaves or turn == 0:
                await stream.write(b"x")
            await trio.sleep(yamux.WRITE_WITHIN)  # a stop of the process is over, and whoever looks was woken first
            await caller.write(frame(PING, ACK, 0, 0))
            connection.look()
            if leaves:
                await caller.read()
                await wait_all_tasks_blocked()
        assert connection.is_closed != leaves


async def test_an_answer_that_is_read_right_after_a_look_is_not_late(autojump_clock):
    async with one(look_every=math.inf) as (connection, caller):
        for _ in range(3):
            await trio.sleep(yamux.KEEP_ALIVE)
            connection.look()
            await trio.sleep(2 * yamux.ANSWER_WITHIN)
            connection.look()
            await caller.write(frame(PING, ACK, 0, 0))
            await wait_all_tasks_blocked()
            connection.look()
        assert not connection.is_closed
        assert connection.secured_conn.written == [frame(PING, SYN, 0, 0)] * 3


async def test_what_cannot_be_sent_in_a_look_ends_that_connection_alone(monkeypatch, autojump_clock):
    async with two() as ends:

        def broken(frame: bytes) -> None:
            raise ValueError("out of nonces")

        monkeypatch.setattr(ends[0], "send", broken)
        with pytest.raises(MuxedConnUnavailable):
            await ends[1].accept_stream()
        assert ends[0].is_closed
        assert trio.current_time() >= yamux.KEEP_ALIVE


async def test_one_that_answers_stays(autojump_clock):
    async with two() as ends:
        opened, accepted = await pair(ends)
        await trio.sleep(1000)
        await accepted.write(b"there")
        assert await opened.read() == b"there"
        pings = [each for end in ends for each in frames(b"".join(end.secured_conn.written)) if each[0] == PING]
        assert 1000 / 40 <= len(pings) <= 4 * 1000 / 30


def test_it_says_where_its_other_end_is_and_what_it_is():
    here, _ = cable()
    connection = muxer(here)
    assert connection.get_remote_address() == ("127.0.0.1", 4001)
    assert "streams=0" in repr(connection)
    assert "unread=0" in repr(Stream(connection, 1, SYN))
