"""The end of a connection, whatever secures it."""

from __future__ import annotations

import pytest

from p2pkad.net.libp2p.border import FOREIGN
from p2pkad.net.libp2p.host import ArmouredSwarm
from p2pkad.net.libp2p.yamux import Connection
from tests.net.libp2p.ends import End, an_end


def muxer(one: End, other: End) -> Connection:
    held = one.host.backbone.find(other.id)
    assert held is not None
    assert isinstance(held.handle.muxed_conn, Connection)
    return held.handle.muxed_conn


@pytest.mark.scenario("W7")
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
        send, swarm = connection.send, one.host.get_network()
        assert isinstance(swarm, ArmouredSwarm)

        def too_late(frame: bytes, data: bytes | memoryview = b"") -> None:
            swarm.abandon()  # the other end is gone, and this one has not noticed yet
            send(frame, data)

        monkeypatch.setattr(connection, "send", too_late)
        await one.ask(other)
        assert muxer(one, other) is not connection
