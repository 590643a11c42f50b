"""What a request costs in frames, on whichever stream multiplexer the host was given."""

from __future__ import annotations

import pytest
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import TYPE_DATA, TYPE_WINDOW_UPDATE, Yamux

from p2pkad.net.base import Identified
from p2pkad.net.libp2p.yamux import Connection
from tests.net.libp2p.ends import an_end, eventually

Frames = list[tuple[int, int]]
"""The stream and the type of each frame that an end sent."""


class Counting(Connection):
    """Our yamux."""

    def __init__(self, conn: ISecureConn, peer_id: ID) -> None:
        super().__init__(conn, peer_id)
        self.sent: Frames = []

    def send(self, frame: bytes, data: bytes | memoryview = b"") -> None:
        self.sent.append((int.from_bytes(frame[4:8], "big"), frame[1]))
        super().send(frame, data)


class CountingStock(Yamux):
    """py-libp2p's, as on a host that is not ours."""

    def __init__(self, conn: ISecureConn, peer_id: ID) -> None:
        super().__init__(conn, peer_id, is_initiator=conn.is_initiator)
        self.sent: Frames = []

    async def _write_frame(self, data: bytes) -> None:
        self.sent.append((int.from_bytes(data[4:8], "big"), data[1]))
        await super()._write_frame(data)


def muxers(kind: type[Counting] | type[CountingStock]) -> type[MuxerMultistream]:
    """Makes them, after the usual negotiation."""

    class Muxers(MuxerMultistream):
        async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
            await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
            return kind(conn, peer_id)

    return Muxers


KINDS = pytest.mark.parametrize("kind", [Counting, CountingStock])


@KINDS
async def test_a_request_costs_one_frame_each_way(kind):
    async with an_end(host={"muxer": muxers(kind)}) as one, an_end(host={"muxer": muxers(kind)}) as other:
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
@KINDS
async def test_a_window_is_given_back_when_half_of_it_is_used_and_never_grows(kind):
    async with an_end(host={"muxer": muxers(kind)}) as one, an_end(host={"muxer": muxers(kind)}) as other:
        key = b"k" * 100_000
        for _ in range(10):
            await one.ask(other, key)
        there = other.host.get_network().get_connections()[0].muxed_conn
        updates = [kind for number, kind in there.sent if kind == TYPE_WINDOW_UPDATE]
        # Some belong to the streams of identify; the others give a megabyte back in steps of 128 KiB to 256 KiB.
        assert 4 <= len(updates) <= 4 + 7
        if kind is CountingStock:
            assert all(stream.target_recv_window == 256 * 1024 for stream in there.streams.values())
