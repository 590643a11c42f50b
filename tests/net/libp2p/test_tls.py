"""The end of a connection, whatever secures it."""

from __future__ import annotations

import pytest
from libp2p.stream_muxer.yamux.yamux import Yamux

from p2pkad.net.libp2p.border import FOREIGN
from tests.net.libp2p.ends import End, an_end


def muxer(one: End, other: End) -> Yamux:
    held = one.host.backbone.find(other.id)
    assert held is not None
    assert isinstance(held.handle.muxed_conn, Yamux)
    return held.handle.muxed_conn


async def test_what_is_written_to_a_connection_that_has_ended_is_lost_with_it():
    async with an_end(security=("tls",)) as one, an_end() as other:
        await one.ask(other)
        secured = muxer(one, other).secured_conn
        await secured.close()
        with pytest.raises(FOREIGN):
            await secured.write(b"late")


@pytest.mark.scenario("W7")
@pytest.mark.parametrize("security", ["noise", "tls"])
async def test_a_connection_that_ends_under_a_request_is_replaced_unseen(security, monkeypatch):
    async with an_end(security=(security,)) as one, an_end() as other:
        await one.ask(other)
        connection = muxer(one, other)
        send = connection._write_frame

        async def too_late(data: bytes) -> None:
            await connection._cleanup_on_error()  # as its reader does when the other end is gone
            await send(data)

        monkeypatch.setattr(connection, "_write_frame", too_late)
        await one.ask(other)
        assert muxer(one, other) is not connection
