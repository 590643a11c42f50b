"""One protocol on one host, between two real ends on the loopback."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest
import trio
from libp2p.abc import INetConn, INetwork
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.rcmgr import Direction

from p2pkad.core.messages import AddProvider, FindNode, FindNodeReply, GetProviders
from p2pkad.core.peers import PeerInfo, Scope
from p2pkad.errors import LocalProtocolError, PeerUnreachable, RequestFailed
from p2pkad.net.base import Connected, Gone, Identified
from p2pkad.net.libp2p.backbone import Backbone
from p2pkad.net.libp2p.serving import Server
from tests.net.libp2p.ends import an_end, eventually, soon


async def test_a_request_is_answered_by_the_peer_it_was_sent_to():
    async with an_end() as asker, an_end() as server:
        response = await asker.network.request(server.info, FindNode(b"key"), soon())
        assert response.peer == server.id
        assert response.message == FindNodeReply(())
        assert response.remote_address in server.info.addresses
        (request,) = server.requests
        assert request.peer == asker.id
        assert request.message == FindNode(b"key")


async def test_a_deadline_that_is_no_number_is_the_callers_error_and_nobody_elses():
    async with an_end() as asker, an_end() as server:
        with pytest.raises(ValueError, match="no number"):
            await asker.network.request(server.info, FindNode(b"key"), nan)
        await asker.network.request(server.info, FindNode(b"key"), soon())


async def test_what_has_no_reply_is_sent_and_the_stream_serves_the_next_request():
    async with an_end() as asker, an_end() as server:
        news = AddProvider(b"\x12\x20" + bytes(32), (asker.info,))
        await asker.network.send(server.info, news, soon())
        await asker.network.request(server.info, GetProviders(news.key), soon())
        assert [request.message for request in server.requests] == [news, FindNode(news.key), GetProviders(news.key)]


@pytest.mark.scenario("W1")
async def test_what_has_no_reply_and_a_question_after_it_take_one_stream_in_this_order():
    async with an_end() as asker, an_end() as server:
        news = AddProvider(b"\x12\x20" + bytes(32), (asker.info,))
        for _ in range(2):  # on a fresh stream and on a used one
            response = await asker.network.send_and_ask(server.info, news, GetProviders(news.key), soon())
            assert response.message.key == news.key
        assert [request.message for request in server.requests] == [news, GetProviders(news.key)] * 2
        assert "outbound=1" in repr(asker.network)


async def test_a_request_without_reply_cannot_be_asked():
    async with an_end() as asker:
        with pytest.raises(LocalProtocolError):
            await asker.network.request(asker.info, AddProvider(b"key", ()), soon())


@pytest.mark.scenario("M1")
async def test_a_client_refuses_the_protocol_and_still_asks():
    async with an_end(server=False) as client, an_end() as server:
        await client.ask(server)
        with pytest.raises(RequestFailed, match="does not speak /test/kad"):
            await server.ask(PeerInfo(client.id))


@pytest.mark.scenario("M2", "M3")
async def test_a_switch_of_mode_reaches_a_connected_peer():
    async with an_end(server=False) as one, an_end() as other:
        await one.ask(other)
        assert not (await other.hears(Identified)).server
        await one.network.set_server(True)
        news = await other.hears(Identified, count=2)
        assert news.server
        assert news.addresses == one.network.local_addresses()
        await one.network.set_server(False)
        assert not (await other.hears(Identified, count=3)).server
        await one.network.set_server(True)
        assert (await other.hears(Identified, count=4)).server
        assert not other.told(Gone)


@pytest.mark.scenario("M3")
async def test_who_turned_client_is_not_asked_on_a_stream_that_is_open(monkeypatch):
    monkeypatch.setattr(Server, "reset_all", lambda server: None)  # rust and js go on answering there
    async with an_end() as asker, an_end() as server:
        await asker.ask(server)
        await server.network.set_server(False)
        assert not (await asker.hears(Identified, count=2)).server
        with pytest.raises(RequestFailed, match="does not speak /test/kad"):
            await asker.ask(server)


async def test_connecting_and_leaving_are_told_to_both_ends():
    async with an_end() as one, an_end() as other:
        connection = await one.network.connect(other.info, soon())
        assert not connection.inbound
        assert [event.peer for event in one.told(Connected)] == [other.id]
        assert (await other.hears(Connected)).inbound
        await one.network.disconnect(other.id)
        assert (await other.hears(Gone)).peer == one.id
        await one.hears(Gone)
        assert not one.network.connections()
        await eventually(lambda: not other.network.connections())


async def test_an_unreachable_peer_is_reported_with_the_reason_for_each_address():
    async with an_end() as one, an_end() as other:
        nowhere = other.info
    async with an_end() as one:
        with pytest.raises(PeerUnreachable) as caught:
            await one.ask(nowhere)
        assert caught.value.causes == ((nowhere.addresses[0].text, "connection refused"),)


async def test_a_ping_measures_a_round_trip():
    async with an_end() as one, an_end(server=False) as other:
        assert await one.network.ping(other.info, soon()) > 0


async def test_where_a_request_comes_from_is_known_before_the_connection_is_told_of(monkeypatch):
    told = trio.Event()

    async def late(self: Backbone, network: INetwork, conn: INetConn, connected: Any = Backbone.connected) -> None:
        if isinstance(conn, SwarmConn) and conn.direction is Direction.INBOUND:
            await told.wait()
        await connected(self, network, conn)

    monkeypatch.setattr(Backbone, "connected", late)
    async with an_end() as server, an_end(server=False) as client:
        await client.ask(server)
        told.set()
    (request,) = server.requests
    assert request.remote_address is not None
    assert request.remote_address.scope is Scope.LOOPBACK
