"""Another stream multiplexer in yamux's place."""

from __future__ import annotations

import pytest
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID, TYPE_DATA, TYPE_WINDOW_UPDATE, Yamux

from p2pkad.net.base import Identified
from tests.net.libp2p.ends import an_end, eventually


class Counting(Yamux):
    """yamux that notes the type of each frame it sends, by stream."""

    sent: list[tuple[int, int]]

    async def _write_frame(self, data: bytes) -> None:
        self.sent.append((int.from_bytes(data[4:8], "big"), data[1]))
        await super()._write_frame(data)


class CountingMuxers(MuxerMultistream):
    """Makes them, after the usual negotiation."""

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        protocol, _ = await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        assert protocol == PROTOCOL_ID
        muxed = Counting(conn, peer_id, is_initiator=conn.is_initiator)
        muxed.sent = []
        return muxed


async def test_a_host_runs_on_a_muxer_of_the_callers_and_a_request_costs_one_frame_each_way():
    async with an_end(host={"muxer": CountingMuxers}) as one, an_end(host={"muxer": CountingMuxers}) as other:
        await one.ask(other)
        here, there = (end.host.get_network().get_connections()[0].muxed_conn for end in (one, other))
        for end in one, other:
            await end.hears(Identified)
        await eventually(lambda: len(here.streams) == len(there.streams) == 1)  # those of identify are closed
        here.sent.clear()
        there.sent.clear()
        for _ in range(10):
            await one.ask(other)
        (stream,) = {number for number, _ in here.sent}
        assert here.sent == [(stream, TYPE_DATA)] * 10
        assert there.sent == [(stream, TYPE_DATA)] * 10


@pytest.mark.scenario("H4")
async def test_a_window_is_given_back_when_half_of_it_is_used_and_never_grows():
    async with an_end(host={"muxer": CountingMuxers}) as one, an_end(host={"muxer": CountingMuxers}) as other:
        key = b"k" * 100_000
        for _ in range(10):
            await one.ask(other, key)
        there = other.host.get_network().get_connections()[0].muxed_conn
        (stream,) = [each for each in there.streams.values() if each.recv_window != each.send_window]
        updates = [kind for number, kind in there.sent if number == stream.stream_id and kind == TYPE_WINDOW_UPDATE]
        # One acknowledges the stream; the others give a megabyte back in steps of 128 KiB to 256 KiB.
        assert 4 <= len(updates) <= 1 + 7
        assert stream.recv_window <= 256 * 1024
        assert stream.target_recv_window == 256 * 1024
