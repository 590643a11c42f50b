"""A host at its limit, seen from both ends: who comes is let in as soon as can be, or turned away early and honestly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from libp2p.network.connection.swarm_connection import SwarmConn

from p2pkad.core.messages import AnyReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import PeerBusy, PeerUnreachable
from p2pkad.net.base import Gone, Request
from p2pkad.net.libp2p.backbone import MAX_QUEUED
from p2pkad.net.libp2p.transport import Place
from p2pkad.wire.addresses import parse_address
from tests.net.libp2p.ends import End, an_end, answer, ends, eventually, soon
from tests.net.libp2p.test_dialer import PEER

pytestmark = pytest.mark.scenario("L18")

HELLO = b"\x13/multistream/1.0.0\n"


async def hold(request: Request) -> AnyReply | None:
    await trio.sleep_forever()


@asynccontextmanager
async def listening(answer: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[PeerInfo]:
    """Somebody who accepts connections and does no more than `answer`."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        port = listeners[0].socket.getsockname()[1]
        yield PeerInfo(PEER, (parse_address(f"/ip4/127.0.0.1/tcp/{port}"),))
        nursery.cancel_scope.cancel()


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def greet_and_hang_up(stream: trio.SocketStream) -> None:
    await stream.receive_some(1)
    await stream.send_all(HELLO)
    await stream.aclose()


async def speak_another_language(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\x05SSH-\n")
    await trio.sleep_forever()


@pytest.mark.parametrize("security", ["noise", "tls"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [(hang_up, PeerBusy), (greet_and_hang_up, PeerBusy), (speak_another_language, PeerUnreachable)],
)
async def test_who_hangs_up_before_the_handshake_is_over_is_busy(answer, kind, security):
    async with an_end(security=(security,)) as one, listening(answer) as somebody:
        with pytest.raises(kind):
            await one.network.connect(somebody, soon())


async def test_who_accepts_the_dial_and_says_nothing_may_have_no_room():
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with an_end() as one, listening(silent) as mute, trio.open_nursery() as nursery:
        assert not one.network.waits_for_room(mute.id)
        nursery.start_soon(one.network.connect, mute, soon())
        await eventually(lambda: one.network.waits_for_room(mute.id))
        nursery.cancel_scope.cancel()


async def test_who_waits_for_an_answer_does_not_go_for_a_newcomer(monkeypatch):
    for patience in ("IDLE", "SETTLE"):
        monkeypatch.setattr(f"p2pkad.net.connections.{patience}", 0.0)
    decided = trio.Event()

    async def decide(request: Request) -> AnyReply | None:
        await decided.wait()
        return await answer(request)

    async with an_end(handler=decide, max_connections=4, connection_reserve=0) as small, ends(5) as others:
        async with trio.open_nursery() as nursery:
            for other in others[:4]:
                nursery.start_soon(other.ask, small)
            await eventually(lambda: len(small.requests) == 4)
            monkeypatch.setattr("p2pkad.net.libp2p.backbone.PATIENCE", 0.05)
            with pytest.raises(PeerBusy):
                await others[4].network.connect(small.info, soon())
            assert not small.told(Gone)
            decided.set()
        await others[4].ask(small)


def connected(one: End, other: End) -> bool:
    return other.id in one.network.connections()


async def test_the_place_of_a_connection_that_has_ended_is_free_before_it_is_told_and_once(monkeypatch):
    async def says_nothing(connection: SwarmConn) -> None:
        """The news of an end may come late."""

    monkeypatch.setattr(SwarmConn, "_notify_disconnected", says_nothing)
    monkeypatch.setattr("p2pkad.net.connections.SETTLE", 0.0)
    async with an_end(max_connections=4, connection_reserve=0) as full, ends(6) as others:

        async def come(*newcomers: End) -> None:
            for newcomer in newcomers:
                await newcomer.network.connect(full.info, soon())
                await eventually(partial(connected, full, newcomer))

        *staying, leaving, newcomer, another = others
        await come(*staying, leaving)
        await leaving.network.disconnect(full.id)
        await eventually(lambda: len(full.network.connections()) == 3)
        await come(newcomer)
        assert full.network.connections().keys() == {each.id for each in (*staying, newcomer)}, "nobody had to go"
        await come(another)
        assert len(full.network.connections()) <= 4


@pytest.mark.parametrize("ended_by", ["us", "them"])
async def test_the_place_of_a_connection_is_free_once_whoever_ended_it(monkeypatch, ended_by):
    monkeypatch.setattr("p2pkad.net.connections.SETTLE", 0.0)
    async with an_end(max_connections=4, connection_reserve=0) as full, ends(6) as others:
        for number, newcomer in enumerate(others):
            if number == 4:
                await (full.network.disconnect(others[0].id) if ended_by == "us" else others[0].network.disconnect(full.id))
                await full.hears(Gone)
            await newcomer.network.connect(full.info, soon())
            await eventually(partial(connected, full, newcomer))
        assert len(full.told(Gone)) == 2, "one that ended, and one for the last"


@pytest.mark.parametrize("inbound", [True, False])
async def test_for_each_new_connection_one_is_closed_while_those_that_go_are_still_closing(monkeypatch, inbound):
    async def takes_its_time(connection: SwarmConn) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("p2pkad.net.connections.SETTLE", 0.0)
    async with an_end(max_connections=8, connection_reserve=0, close_timeout=300.0) as full, ends(12) as others:
        for other in others[:8]:
            await other.network.connect(full.info, soon())
            await eventually(partial(connected, full, other))
        with monkeypatch.context() as meanwhile, trio.fail_after(20):
            meanwhile.setattr(SwarmConn, "close", takes_its_time)
            async with trio.open_nursery() as nursery:
                for other in others[8:]:
                    here, there = (other, full) if inbound else (full, other)
                    nursery.start_soon(here.network.connect, there.info, soon())
            await eventually(lambda: all(connected(full, other) for other in others[8:]))
        assert len(full.told(Gone)) == 4
        assert len(full.network.connections()) == 8


async def test_who_cannot_be_let_in_is_turned_away_before_anything_is_spent_on_it(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.backbone.PATIENCE", 0.05)
    async with (
        an_end(max_connections=4, connection_reserve=0) as full,
        ends(5, handler=hold) as others,
        trio.open_nursery() as nursery,
    ):
        for other in others[:4]:
            nursery.start_soon(full.ask, other)
        await eventually(lambda: all(other.requests for other in others[:4]))
        stranger = await a_call(full)
        assert await stranger.receive_some() == b"", "not even a greeting"
        with pytest.raises(PeerBusy):
            await others[4].network.connect(full.info, soon())
        nursery.cancel_scope.cancel()


async def test_strangers_who_never_finish_a_handshake_leave_room_for_others():
    long = {"dial_timeout": 300.0}  # they are not rid of by waiting
    async with an_end(max_connections=4, connection_reserve=0, **long) as victim, ends(2) as others:
        calls = [await a_call(victim) for _ in range(MAX_QUEUED + 10)]
        await victim.ask(others[0])
        for call in calls:
            await call.aclose()
        await others[1].ask(victim)


async def test_who_waits_at_the_door_comes_in_first_come_first_served():
    async with an_end(max_connections=4, connection_reserve=0) as full, ends(4, handler=hold) as others:
        came: list[int] = []
        door = full.host.backbone

        async def come(number: int) -> None:
            place = Place(None)
            assert await door.admit(place)
            came.append(number)
            door.left(place)

        async with trio.open_nursery() as waiting, trio.open_nursery() as asking:
            for other in others:
                asking.start_soon(full.ask, other)
            await eventually(lambda: all(other.requests for other in others))
            for number in range(8):
                waiting.start_soon(come, number)
                await trio.testing.wait_all_tasks_blocked()
            asking.cancel_scope.cancel()
        assert came == list(range(8))


async def test_dials_that_wait_for_somebody_leave_room_for_who_comes():
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with (
        an_end(max_connections=4, connection_reserve=0) as eager,
        an_end() as newcomer,
        listening(silent) as mute,
        trio.open_nursery() as nursery,
    ):
        for number in range(4):
            somebody = PeerInfo(PeerId(PEER[:-1] + bytes([number])), mute.addresses)
            nursery.start_soon(eager.network.connect, somebody, soon())
        await eventually(lambda: eager.host.backbone.dialer.pending == 3)
        await newcomer.ask(eager)
        nursery.cancel_scope.cancel()


async def a_call(end: End) -> trio.SocketStream:
    """TCP, and not a word."""
    port = int(end.info.addresses[0].text.split("/")[4])
    return await trio.open_tcp_stream("127.0.0.1", port)
