"""The connections of real hosts: shared, bounded, lost and replaced."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
import trio

from p2pkad.core.messages import AnyReply, FindNode, FindNodeReply
from p2pkad.core.peers import PeerInfo
from p2pkad.errors import LocalLimit, NodeClosed, P2pkadError
from p2pkad.net.base import Connected, Gone, Request, Usefulness
from tests.net.libp2p.ends import End, an_end, ends, eventually, soon


async def hold(request: Request) -> AnyReply | None:
    await trio.sleep_forever()


@pytest.mark.scenario("L18")
async def test_a_small_host_reaches_everybody_one_after_the_other_and_all_at_once():
    async with an_end(max_connections=4, connection_reserve=1) as small, ends(12) as others:
        for other in others:
            await small.ask(other)
        async with trio.open_nursery() as nursery:
            for other in others:
                nursery.start_soon(small.ask, other)
        assert len(small.network.connections()) <= 4
        assert {request.peer for other in others for request in other.requests} == {small.id}


@pytest.mark.scenario("L18")
async def test_a_host_whose_peers_are_all_in_use_says_that_it_is_its_own_limit():
    async with an_end(max_connections=4, connection_reserve=0) as small, ends(5, handler=hold) as others:
        async with trio.open_nursery() as nursery:
            for other in others[:4]:
                nursery.start_soon(small.ask, other)
            await eventually(lambda: all(other.requests for other in others[:4]))
            with pytest.raises(LocalLimit):
                await small.network.request(others[4].info, FindNode(b"key"), trio.current_time() + 0.2)
            nursery.cancel_scope.cancel()
        assert not small.told(Gone)


@pytest.mark.scenario("L18")
async def test_who_had_to_wait_for_room_is_waited_for_while_it_is_dialled(monkeypatch):
    dialled = trio.Event()

    async def nobody_answers(peer: PeerInfo) -> None:
        dialled.set()
        await trio.sleep_forever()

    async with (
        an_end(max_connections=4, connection_reserve=0) as small,
        ends(5, handler=hold) as others,
        trio.open_nursery() as nursery,
    ):
        async with trio.open_nursery() as asking:
            for other in others[:4]:
                asking.start_soon(small.ask, other)
            await eventually(lambda: all(other.requests for other in others[:4]))
            monkeypatch.setattr(small.host.backbone.dialer, "dial", nobody_answers)
            nursery.start_soon(small.ask, others[4])
            await eventually(lambda: small.network.waits_for_room(others[4].id))
            assert not dialled.is_set()
            asking.cancel_scope.cancel()
        await dialled.wait()
        assert small.network.waits_for_room(others[4].id)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await eventually(lambda: not small.network.waits_for_room(others[4].id))


@pytest.mark.scenario("L18")
async def test_the_connection_that_is_closed_is_the_one_of_least_use_and_it_says_so_and_why(monkeypatch, caplog):
    caplog.set_level("DEBUG", logger="p2pkad.net.libp2p.backbone")
    monkeypatch.setattr("p2pkad.net.connections.GRACE", 0.0)
    async with an_end(max_connections=4, connection_reserve=0) as small, ends(5) as others:
        for other in others[:4]:
            await small.ask(other)
        rank = dict(zip([other.id for other in others], [2, 1, 0, 1, 0], strict=True))
        small.network.rank_connections(lambda peer: Usefulness(rank[peer]))
        await small.ask(others[4])
        assert [event.peer for event in small.told(Gone)] == [others[2].id]
        assert set(small.network.connections()) == {others[n].id for n in (0, 1, 3, 4)}
        (said,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("closing")]
        assert re.fullmatch(f"closing the connection to {others[2].id}: none, idle for .* s, 4 connections at most", said)
        await others[2].hears(Gone)
        assert not any(other.told(Gone) for other in others[:2] + others[3:])


@pytest.mark.scenario("L18")
async def test_a_newcomer_gets_a_place_at_a_host_that_is_full_of_its_table(monkeypatch):
    monkeypatch.setattr("p2pkad.net.connections.GRACE", 0.0)
    async with an_end(max_connections=4, connection_reserve=1) as small, ends(8) as others:
        small.network.rank_connections(lambda peer: Usefulness.PROTECTED)
        for other in others:
            await other.ask(small)
            await other.ask(small)
        await eventually(lambda: len(small.network.connections()) == 3)
        assert others[-1].id in small.network.connections()


async def test_inbound_connections_leave_the_reserve_free(monkeypatch):
    monkeypatch.setattr("p2pkad.net.connections.GRACE", 0.0)
    monkeypatch.setattr("p2pkad.net.connections.SETTLE", 0.0)
    async with an_end(max_connections=6, connection_reserve=2) as small, ends(8) as others:
        for other in others:
            await other.network.connect(small.info, soon())
            await other.hears(Connected)
        await eventually(lambda: len(small.network.connections()) <= 4)
        await small.ask(others[0])


@pytest.mark.scenario("L18")
async def test_inbound_connections_leave_the_reserve_free_also_when_all_of_them_are_in_use() -> None:
    async with (
        an_end(max_connections=8, connection_reserve=2, handler=hold) as small,
        ends(8) as others,
        an_end() as wanted,
        trio.open_nursery() as nursery,
    ):

        async def ask(other: End) -> None:
            with suppress(P2pkadError):
                await other.ask(small)

        for other in others:
            nursery.start_soon(ask, other)
        await eventually(lambda: len(small.requests) == 6)
        await small.ask(wanted)
        assert len(small.requests) == 6
        nursery.cancel_scope.cancel()


@pytest.mark.scenario("L10")
async def test_two_that_dial_each_other_at_once_are_both_connected():
    for _ in range(10):
        async with an_end() as one, an_end() as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.ask, other)
                nursery.start_soon(other.ask, one)
            assert [event.peer for event in one.told(Connected)] == [other.id]
            assert [event.peer for event in other.told(Connected)] == [one.id]
            assert await one.ask(PeerInfo(other.id)) == await other.ask(PeerInfo(one.id))


@pytest.mark.scenario("H12")
@pytest.mark.parametrize("lost", [0, 1])
async def test_requests_go_on_when_either_of_two_connections_is_lost(lost):
    async with an_end() as one, an_end() as other:
        await one.ask(other)
        await one.host.backbone.dialer.dial(other.info)
        here, there = (end.host.backbone.connections for end in (one, other))
        await eventually(lambda: len(here.of(other.id)) == len(there.of(one.id)) == 2)
        for _ in range(3):
            await one.ask(PeerInfo(other.id))
            await other.ask(PeerInfo(one.id))
        await here.of(other.id)[lost].handle.close()
        for _ in range(3):
            await one.ask(PeerInfo(other.id))
            await other.ask(PeerInfo(one.id))
        await eventually(lambda: len(here.of(other.id)) == len(there.of(one.id)) == 1)
        assert not one.told(Gone)
        assert not other.told(Gone)


@pytest.mark.scenario("H12")
async def test_a_request_under_way_on_a_lost_connection_is_asked_again_on_the_other():
    asked = 0

    async def answer_the_second(request: Request) -> AnyReply:
        nonlocal asked
        asked += 1
        if asked == 1:
            await trio.sleep_forever()
        return FindNodeReply(())

    async with an_end() as one, an_end(handler=answer_the_second) as other:
        await one.network.connect(other.info, soon())
        await one.host.backbone.dialer.dial(other.info)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.ask, other)
            await eventually(lambda: asked == 1)
            await one.host.backbone.connections.of(other.id)[0].handle.close()
        assert asked == 2


async def test_a_peer_with_two_connections_is_gone_with_the_last():
    async with an_end() as one, an_end() as other:
        await one.network.connect(other.info, soon())
        await one.host.backbone.dialer.dial(other.info)
        await one.network.disconnect(other.id)
        assert [event.peer for event in one.told(Gone)] == [other.id]
        await other.hears(Gone)
        assert len(other.told(Gone)) == 1


async def test_a_connection_that_the_other_end_closed_is_dialled_anew():
    async with an_end() as one, an_end() as other:
        await one.ask(other)
        await other.network.disconnect(one.id)
        await one.ask(other)
        assert [type(event) for event in one.events if not isinstance(event, Connected)].count(Gone) == 1
        assert len(one.told(Connected)) == 2


async def test_a_stopped_host_dials_nobody():
    async with an_end() as other:
        async with an_end() as one:
            pass
        with pytest.raises(NodeClosed):
            await one.network.connect(other.info, soon())


@pytest.mark.scenario("H4")
async def test_a_peer_that_says_nothing_any_more_is_asked_and_given_up(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.backbone.SWEEP_INTERVAL", 0.02)
    monkeypatch.setattr("p2pkad.net.libp2p.yamux.KEEP_ALIVE", 0.1)
    monkeypatch.setattr("p2pkad.net.libp2p.yamux.ANSWER_WITHIN", 0.1)
    async with ends(3) as (one, talking, mute):
        for other in (talking, mute):
            await one.ask(other)
        (connection,) = mute.host.get_network().get_connections()
        monkeypatch.setattr(connection.muxed_conn, "send", lambda frame, data=b"": None)
        assert (await one.hears(Gone)).peer == mute.id
        assert [*one.network.connections()] == [talking.id]


@pytest.mark.scenario("H4")
@pytest.mark.parametrize("transport", ["tcp/0", "udp/0/quic-v1"])
async def test_idle_streams_are_closed_beside_connections_of_whatever_kind(transport, monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.backbone.SWEEP_INTERVAL", 0.02)
    monkeypatch.setattr("p2pkad.net.libp2p.streams.LAST_IDLE_AFTER", 0.1)
    async with ends(2, listen=(f"/ip4/127.0.0.1/{transport}",)) as (one, other):
        await one.ask(other)
        (connection,) = one.host.get_network().get_connections()
        assert connection.get_streams()
        await eventually(lambda: not connection.get_streams())
