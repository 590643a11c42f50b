"""One dial for a peer: every address tried, each with its own deadline, shared by all who want it.

Swarm is replaced by a script here, so that time is virtual; real sockets are at the end.
"""

from __future__ import annotations

import gc
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import trio
import trio.testing
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from p2pkad.config import HostConfig
from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.errors import NodeClosed, PeerBusy, PeerUnreachable
from p2pkad.net.libp2p.dialer import HEAD_START, MAX_ADDRESSES, Dial, Dialer
from p2pkad.net.libp2p.names import SystemResolver
from p2pkad.net.libp2p.transport import ATTEMPT
from p2pkad.wire.addresses import parse_address
from tests.net.libp2p.ends import an_end, eventually, soon

TIMEOUT = 5.0
PEER = PeerId(b"\x12\x20" + bytes(32))
NEVER = float("inf")


def at(number: int) -> Address:
    return parse_address(f"/ip4/192.0.2.{number}/tcp/4001")


def peer(*numbers: int) -> PeerInfo:
    return PeerInfo(PEER, tuple(at(number) for number in numbers))


class Script:
    """A swarm whose addresses answer after so many seconds: with a connection, or with an error."""

    def __init__(self, **answers: tuple[float, object]) -> None:
        self.answers = {f"/ip4/192.0.2.{name[1:]}/tcp/4001": answer for name, answer in answers.items()}
        self.dialled: list[tuple[float, int]] = []
        self.cancelled = 0
        self.closed: list[object] = []
        self.transport_manager = self

    def transport_for_dialing(self, address: Multiaddr) -> object | None:
        return self if "tcp" in str(address) else None

    async def dial_addr(self, address: Multiaddr, peer: object) -> object:
        self.dialled.append((trio.current_time(), int(str(address).split("/")[2].split(".")[3])))
        seconds, answer = self.answers[str(address)]
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self, connection: object) -> None:
        await trio.sleep(0.1)  # a real one has farewells to send
        self.closed.append(connection)


class Stage:
    """A dialer on a script."""

    def __init__(self, nursery: trio.Nursery, **answers: tuple[float, object]) -> None:
        self._nursery = nursery
        self._host_runs = True
        self.start = trio.current_time()
        self.freed: list[int] = []
        self.play(Script(**answers))

    def play(self, script: Script) -> None:
        """Another script, with a dialer of its own."""
        self.script = script
        self.dialer = Dialer(
            cast("Swarm", script),
            HostConfig(dial_timeout=TIMEOUT),
            SystemResolver(),
            SystemResolver(),
            self._spawn,
            cast("Any", script.close),
            lambda: self.freed.append(self.dialer.pending),
        )

    def host_closes(self) -> None:
        """From now on nothing new is begun."""
        self._host_runs = False

    def _spawn(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        if not self._host_runs:
            raise NodeClosed
        self._nursery.start_soon(task, *args)

    @property
    def starts(self) -> list[tuple[float, int]]:
        """When which address was dialled."""
        return [(round(when - self.start, 3), number) for when, number in self.script.dialled]


@pytest.fixture
def refused() -> SwarmException:
    error = SwarmException("fail to open connection")
    error.__cause__ = OpenConnectionError("x")
    error.__cause__.__cause__ = ConnectionRefusedError(111, "refused")
    return error


async def test_the_first_address_that_answers_is_taken_and_no_other_dialled(autojump_clock, nursery):
    stage = Stage(nursery, a1=(0.1, "one"), a2=(0.0, "two"))
    assert await stage.dialer.dial(peer(1, 2)) == "one"
    assert stage.starts == [(0.0, 1)]


async def test_a_slow_address_gets_a_head_start_and_no_more(autojump_clock, nursery):
    stage = Stage(nursery, a1=(3.0, "one"), a2=(0.1, "two"), a3=(0.0, "three"))
    assert await stage.dialer.dial(peer(1, 2, 3)) == "two"
    assert stage.starts == [(0.0, 1), (HEAD_START, 2)]
    await trio.testing.wait_all_tasks_blocked()
    assert stage.script.cancelled == 1
    assert stage.dialer.pending == 0


@pytest.mark.scenario("H3")
async def test_a_failed_address_gives_way_at_once_and_all_are_tried(autojump_clock, nursery, refused):
    stage = Stage(nursery, **{f"a{n}": (0.01, refused) for n in range(1, 10)}, a10=(0.01, "ten"))
    assert await stage.dialer.dial(peer(*range(1, 11))) == "ten"
    assert stage.starts == [(round(0.01 * n, 3), n + 1) for n in range(10)]


@pytest.mark.scenario("H3")
async def test_a_silent_address_costs_no_more_than_the_deadline(autojump_clock, nursery):
    stage = Stage(nursery, a1=(NEVER, None))
    with pytest.raises(PeerUnreachable) as caught:
        await stage.dialer.dial(peer(1))
    assert trio.current_time() - stage.start == pytest.approx(TIMEOUT)
    assert caught.value.causes == ((at(1).text, "no answer within 5 s"),)


@pytest.mark.scenario("H3")
async def test_a_failed_peer_can_be_tried_again_at_once(autojump_clock, nursery, refused):
    stage = Stage(nursery, a1=(0.0, refused))
    for _ in range(3):
        with pytest.raises(PeerUnreachable):
            await stage.dialer.dial(peer(1))
    assert len(stage.starts) == 3
    stage.script.answers[at(1).text] = (0.0, "up again")
    assert await stage.dialer.dial(peer(1)) == "up again"


async def test_each_address_has_its_reason(autojump_clock, nursery, refused):
    stage = Stage(nursery, a1=(0.0, refused), a2=(NEVER, None))
    other = parse_address("/ip4/192.0.2.3/udp/4001/quic-v1/webtransport")
    with pytest.raises(PeerUnreachable) as caught:
        await stage.dialer.dial(PeerInfo(PEER, (at(1), at(2), other)))
    assert dict(caught.value.causes) == {
        at(1).text: "connection refused",
        at(2).text: "no answer within 5 s",
        other.text: "no transport for it",
    }


@pytest.mark.scenario("L18")
async def test_a_peer_is_busy_when_somebody_hangs_up_at_one_of_its_addresses(autojump_clock, nursery, refused):
    full = SwarmException("the handshake failed")
    full.__cause__ = ConnectionResetError(104, "reset")
    stage = Stage(nursery, a1=(0.0, refused), a2=(0.0, full), a3=(NEVER, None))
    with pytest.raises(PeerBusy) as caught:
        await stage.dialer.dial(peer(1, 2, 3))
    assert dict(caught.value.causes) == {
        at(1).text: "connection refused",
        at(2).text: "the connection was lost",
        at(3).text: "no answer within 5 s",
    }


async def test_without_an_address_there_is_nothing_to_dial(autojump_clock, nursery):
    with pytest.raises(PeerUnreachable, match="no usable address"):
        await Stage(nursery).dialer.dial(peer())


async def test_a_peer_that_claims_a_thousand_addresses_gets_a_bounded_number_tried(autojump_clock, nursery, refused):
    stage = Stage(nursery, **{f"a{n}": (0.0, refused) for n in range(200)})
    with pytest.raises(PeerUnreachable):
        await stage.dialer.dial(peer(*range(200)))
    assert len(stage.starts) == MAX_ADDRESSES


async def test_those_who_want_the_same_peer_share_one_dial(autojump_clock, nursery):
    stage = Stage(nursery, a1=(1.0, "one"))
    results = []

    async def wait() -> None:
        results.append(await stage.dialer.dial(peer(1)))

    async with trio.open_nursery() as waiting:
        for _ in range(5):
            waiting.start_soon(wait)
    assert results == ["one"] * 5
    assert stage.starts == [(0.0, 1)]


async def test_who_joins_brings_the_addresses_that_only_they_know(autojump_clock, nursery):
    stage = Stage(nursery, a1=(NEVER, None), a2=(0.0, "two"))
    async with trio.open_nursery() as waiting:
        waiting.start_soon(stage.dialer.dial, peer(1))
        await trio.sleep(1.0)
        assert await stage.dialer.dial(peer(1, 2)) == "two"
    assert stage.starts == [(0.0, 1), (1.0, 2)]


async def test_the_dial_goes_on_when_one_of_those_who_wait_is_cancelled(autojump_clock, nursery):
    stage = Stage(nursery, a1=(1.0, "one"))
    async with trio.open_nursery() as waiting:
        waiting.start_soon(stage.dialer.dial, peer(1))
        with trio.move_on_after(0.5):
            await stage.dialer.dial(peer(1))
    assert stage.script.cancelled == 0


async def test_the_dial_ends_with_the_last_of_those_who_wait(autojump_clock, nursery):
    stage = Stage(nursery, a1=(NEVER, None))
    with trio.move_on_after(0.5):
        await stage.dialer.dial(peer(1))
    await trio.testing.wait_all_tasks_blocked()
    assert stage.script.cancelled == 1
    assert stage.dialer.pending == 0


class Stubborn(Script):
    """It goes on to the end, as closing a connection that has just been made does."""

    async def dial_addr(self, address: Multiaddr, peer: object) -> object:
        with trio.CancelScope(shield=True):
            return await super().dial_addr(address, peer)


@pytest.mark.scenario("L18")
async def test_a_dial_that_all_have_left_has_its_place_until_it_is_really_over(autojump_clock, nursery):
    stage = Stage(nursery)
    stage.play(Stubborn(a1=(1.0, "one")))
    with trio.move_on_after(0.5):
        await stage.dialer.dial(peer(1))
    await trio.testing.wait_all_tasks_blocked()
    assert not stage.dialer.dials(PEER), "nobody can join it"
    assert (stage.dialer.pending, stage.freed) == (1, [])
    await trio.sleep(1)
    assert (stage.dialer.pending, stage.freed) == (0, [0])


class Answered(Script):
    """Somebody is there at once; then it goes on as scripted. A connection has a task of its own."""

    def __init__(self, nursery: trio.Nursery, **answers: tuple[float, object]) -> None:
        super().__init__(**answers)
        self._nursery = nursery

    async def dial_addr(self, address: Multiaddr, peer: object) -> object:
        seconds, _ = self.answers[str(address)]
        if seconds < NEVER:
            ATTEMPT.get().answered = True
            self._nursery.start_soon(trio.sleep_forever)
        return await super().dial_addr(address, peer)


@pytest.mark.scenario("L18")
async def test_who_answers_at_an_address_is_waited_for_until_that_address_has_failed(autojump_clock, nursery, refused):
    stage = Stage(nursery)
    async with trio.open_nursery() as own:
        stage.play(Answered(own, a1=(1.0, refused), a2=(NEVER, None)))
        async with trio.open_nursery() as waiting:

            async def wait() -> None:
                with pytest.raises(PeerUnreachable):
                    await stage.dialer.dial(peer(1, 2))

            waiting.start_soon(wait)
            await trio.sleep(0.5)
            assert stage.starts == [(0.0, 1), (HEAD_START, 2)]
            assert stage.dialer.is_answered(PEER)
            await trio.sleep(1)
            assert stage.dialer.dials(PEER)
            assert not stage.dialer.is_answered(PEER), "nobody is there at the other address"
        own.cancel_scope.cancel()


async def test_a_connection_does_not_keep_its_dial_alive(autojump_clock):
    def dials() -> int:
        gc.collect()
        return sum(isinstance(one, Dial) for one in gc.get_objects())

    async with trio.open_nursery() as nursery:
        before = dials()
        stage = Stage(nursery)
        stage.play(Answered(nursery, a1=(0.1, "one")))
        assert await stage.dialer.dial(peer(1)) == "one"
        await trio.sleep(1)
        assert dials() == before
        nursery.cancel_scope.cancel()


@pytest.mark.scenario("L18")
async def test_a_loser_that_connected_all_the_same_is_closed(autojump_clock, nursery):
    stage = Stage(nursery)
    stage.play(Stubborn(a1=(1.0, "one"), a2=(0.1, "two")))
    assert await stage.dialer.dial(peer(1, 2)) == "two"
    await trio.sleep(2)
    assert stage.script.closed == ["one"]


async def test_a_loser_that_connected_while_the_host_closes_is_left_to_the_host(autojump_clock, nursery):
    stage = Stage(nursery)
    stage.play(Stubborn(a1=(1.0, "one"), a2=(0.1, "two")))
    assert await stage.dialer.dial(peer(1, 2)) == "two"
    stage.host_closes()
    await trio.sleep(2)
    assert stage.script.closed == []
    assert stage.dialer.pending == 0


@pytest.mark.scenario("L10")
async def test_who_waits_may_use_a_connection_that_the_peer_made_and_the_own_dial_is_not_cut(autojump_clock, nursery):
    stage = Stage(nursery, a1=(1.0, "ours"), a2=(0.0, "not needed"))
    async with trio.open_nursery() as waiting:

        async def wait() -> None:
            assert await stage.dialer.dial(peer(1, 2)) == "theirs"

        waiting.start_soon(wait)
        await trio.sleep(0.1)
        stage.dialer.arrived(PEER, cast("Any", "theirs"))
    assert stage.dialer.pending == 1, "it may still become a connection, and has its place"
    await trio.sleep(2)
    assert stage.dialer.pending == 0
    assert stage.starts == [(0.0, 1)]
    assert stage.script.cancelled == 0
    assert stage.script.closed == []


async def test_a_cancelled_dial_is_unreachable_to_those_who_wait(autojump_clock, nursery):
    stage = Stage(nursery, a1=(NEVER, None))
    async with trio.open_nursery() as waiting:

        async def wait() -> None:
            with pytest.raises(PeerUnreachable, match="disconnected"):
                await stage.dialer.dial(peer(1))

        waiting.start_soon(wait)
        await trio.sleep(1)
        stage.dialer.cancel(PEER)


@pytest.mark.scenario("H3")
async def test_over_real_sockets_dead_and_silent_addresses_do_not_hide_the_good_one():
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        dead = parse_address(f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}")
        mute = parse_address(f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}")
        closed.close()
        async with an_end() as one, an_end() as other, an_end() as stranger:
            wrong = stranger.info.addresses
            await one.ask(PeerInfo(other.id, (dead, mute, *wrong, *other.info.addresses)))
            await eventually(lambda: one.host.backbone.dialer.pending == 0)
            assert list(one.network.connections()) == [other.id]


@pytest.mark.parametrize("security", ["noise", "tls"])
async def test_an_address_where_another_peer_answers_is_no_way_to_the_peer(security):
    async with an_end(security=(security,)) as one, an_end() as stranger:
        with pytest.raises(PeerUnreachable) as caught:
            await one.network.connect(PeerInfo(PEER, stranger.info.addresses), soon())
        assert [reason for _, reason in caught.value.causes] == ["another peer answers there"]
        await eventually(lambda: not stranger.network.connections())
