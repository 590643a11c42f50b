"""What a node makes of the failures of its requests: whom it asks again, and against whom they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from random import Random
from typing import Any, cast

import pytest
import trio
import trio.testing

from p2pkad.config import KademliaConfig
from p2pkad.core.messages import AnyRequest, FindNode, FindNodeReply
from p2pkad.core.patience import ENOUGH, FLOOR
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import (
    LocalLimit,
    NetworkError,
    PeerBusy,
    PeerUnreachable,
    RemoteProtocolError,
    RequestFailed,
    RequestTimeout,
)
from p2pkad.events import NodeEvent, PeerEvicted, RequestEnded
from p2pkad.net.base import MAX_STREAMS, Connection, Network, Response
from p2pkad.node.asking import FIRST_PAUSE, LONGEST_PAUSE, Asking, Errand
from p2pkad.node.clock import SYSTEM
from p2pkad.node.limits import Limits
from p2pkad.node.membership import Membership
from p2pkad.node.telling import Telling
from p2pkad.validators.base import Validators

OWN, PEER, OTHER = (PeerId(b"\x12\x20" + bytes([number]) * 32) for number in range(3))
QUESTION = FindNode(b"key")
BUSY = PeerBusy(PEER, [("/ip4/127.0.0.1/tcp/1", "the connection was lost")])


class Moody:
    """A network on which requests fail with these errors, one after the other, and are then answered."""

    def __init__(self, *errors: NetworkError) -> None:
        self.errors = list(errors)
        self.asked: list[float] = []
        self.connected: dict[PeerId, Connection] = {}
        self.short_of_room: set[PeerId] = set()
        self.dials = self.takes = 0.0
        self.under_way = self.most = 0

    def connection(self, peer: PeerId) -> Connection | None:
        return self.connected.get(peer)

    def waits_for_room(self, peer: PeerId) -> bool:
        return peer in self.short_of_room

    def connects(self, peer: PeerId) -> None:
        """From now on there is a connection."""
        self.connected[peer] = Connection(peer, None, inbound=False, opened=trio.current_time())

    async def request(self, peer: PeerInfo, message: AnyRequest, deadline: float) -> Response:
        self.asked.append(trio.current_time())
        if self.errors and peer.id == PEER:
            raise self.errors.pop(0)
        if peer.id not in self.connected:
            await trio.sleep(self.dials)
            self.connects(peer.id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await trio.sleep(min(self.takes, deadline - trio.current_time()))
        finally:
            self.under_way -= 1
        if self.takes and trio.current_time() >= deadline:
            raise RequestTimeout(peer.id, "FindNode", deadline - self.asked[-1])
        return Response(peer.id, None, FindNodeReply((PeerInfo(OTHER),)))

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in pairwise(self.asked)]


class Stage:
    """A node that asks on a moody network, with PEER and OTHER in its table."""

    def __init__(self, *errors: NetworkError, seed: int = 1) -> None:
        self.events: list[NodeEvent] = []
        self.telling = Telling()
        self.network = Moody(*errors)
        config = KademliaConfig()
        self.membership = Membership(OWN, config, SYSTEM, self.events.append)
        for peer in (PEER, OTHER):
            self.membership.answered(peer, None, told_nobody=False)
        network, validators = cast("Network", self.network), cast("Validators", cast("Any", None))
        limits = Limits(config, SYSTEM, self.telling)
        self.asking = Asking(network, self.membership, validators, limits, config, SYSTEM, Random(seed), self.telling)

    async def ask(self, peer: PeerId = PEER, seconds: float = 10.0, errand: Errand | None = None) -> object:
        return await self.asking.ask(PeerInfo(peer), QUESTION, trio.current_time() + seconds, errand)

    @property
    def evicted(self) -> list[PeerId]:
        return [event.peer for event in self.events if isinstance(event, PeerEvicted)]


@pytest.mark.scenario("L18")
async def test_a_peer_without_room_is_asked_again_after_pauses_that_grow(autojump_clock):
    stage = Stage(*[BUSY] * 6)
    assert await stage.ask(seconds=60)
    usual = [min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) for number in range(6)]
    assert all(0.5 <= pause / about <= 1.5 for pause, about in zip(stage.network.pauses, usual, strict=True))


@pytest.mark.scenario("L18")
async def test_those_who_were_turned_away_together_do_not_come_back_together(autojump_clock):
    stages = [Stage(BUSY, seed=seed) for seed in range(50)]
    async with trio.open_nursery() as nursery:
        for stage in stages:
            nursery.start_soon(stage.ask)
    pauses = sorted(stage.network.pauses[0] for stage in stages)
    assert max(later - sooner for sooner, later in pairwise(pauses)) < FIRST_PAUSE / 4
    assert pauses[-1] - pauses[0] > FIRST_PAUSE / 2


@pytest.mark.scenario("L18")
async def test_a_peer_without_room_to_the_end_is_told_as_such_and_keeps_its_place(autojump_clock):
    stage = Stage(*[BUSY] * 1000)
    began = trio.current_time()
    for _ in range(3):
        with pytest.raises(PeerBusy):
            await stage.ask()
        assert await stage.ask(OTHER)
    assert trio.current_time() - began <= 30
    assert len(stage.network.asked) <= 3 * 12, "the pauses bound how often it is bothered"
    assert stage.evicted == []
    assert PEER in stage.membership.table
    assert stage.membership.take_checks() == []


@pytest.mark.scenario("L18")
async def test_who_hangs_up_is_alive_whatever_was_suspected_before(autojump_clock):
    stage = Stage(PeerUnreachable(PEER), *[BUSY] * 3, PeerUnreachable(PEER))
    with pytest.raises(PeerUnreachable):
        await stage.ask()
    with pytest.raises(PeerBusy):
        await stage.ask(seconds=0.1)
    assert await stage.ask(OTHER)
    assert stage.membership.take_checks() == []


@pytest.mark.scenario("L18")
async def test_a_peer_that_dies_while_it_is_waited_for_is_not_waited_for_any_longer(autojump_clock):
    stage = Stage(BUSY, PeerUnreachable(PEER))
    with pytest.raises(PeerUnreachable):
        await stage.ask()
    assert len(stage.network.asked) == 2


@pytest.mark.parametrize("error", [RequestFailed(PEER, "reset"), RequestTimeout(PEER, "FindNode", 10.0), PeerUnreachable(PEER)])
async def test_what_is_no_want_of_room_is_not_tried_again(autojump_clock, error):
    stage = Stage(error)
    with pytest.raises(type(error)):
        await stage.ask()
    assert len(stage.network.asked) == 1


@pytest.mark.scenario("L18")
async def test_a_limit_of_this_node_is_waited_out_and_held_against_nobody(autojump_clock):
    stage = Stage(*[LocalLimit("connections", 4)] * 5)
    assert await stage.ask()
    stage.network.errors = [LocalLimit("connections", 4)] * 1000
    with pytest.raises(LocalLimit):
        await stage.ask()
    assert stage.evicted == []


@pytest.mark.scenario("L13")
async def test_a_peer_is_waited_for_as_others_that_are_connected_or_are_dialled(autojump_clock):
    stage = Stage()
    stage.network.connects(PEER)
    await trio.sleep(1)
    asked_at = trio.current_time()
    since, connected = stage.asking.patience(PEER, asked_at)
    assert since == asked_at
    since, dialled = stage.asking.patience(OTHER, asked_at)
    assert since == asked_at
    assert dialled is not connected
    del stage.network.connected[PEER]
    assert stage.asking.patience(PEER, asked_at) == (asked_at, dialled), "it was just closed"
    await trio.sleep(1)
    stage.network.connects(PEER)
    assert stage.asking.patience(PEER, asked_at) == (asked_at + 1, connected), "its answer is due from now on"


@pytest.mark.scenario("L13")
async def test_who_was_dialled_in_time_has_what_is_left_of_the_time_for_dialling_and_answering(autojump_clock):
    stage = Stage()
    stage.network.connects(PEER)
    for _ in range(ENOUGH):
        await trio.sleep(1)
        await stage.ask()
    asked_at = trio.current_time()
    _, dialled = stage.asking.patience(OTHER, asked_at)
    await trio.sleep(0.5)
    stage.network.connects(OTHER)
    assert stage.asking.patience(OTHER, asked_at) == (asked_at, dialled)
    await trio.sleep(1.4)
    stage.network.connects(OTHER)
    since, patience = stage.asking.patience(OTHER, asked_at)
    assert (since, patience.wait) == (asked_at + 1.9, FLOOR)


@pytest.mark.scenario("L13")
async def test_what_dials_took_is_learned_apart(autojump_clock):
    stage = Stage()
    stage.network.dials, stage.network.takes = 0.5, 0.001
    for _ in range(ENOUGH):
        stage.network.connected.clear()
        await stage.ask()
    await trio.sleep(1)
    for _ in range(ENOUGH):
        await stage.ask()
    now = trio.current_time()
    assert stage.asking.patience(PEER, now)[1].wait == FLOOR
    assert stage.asking.patience(OTHER, now)[1].wait == pytest.approx(1.002)


@pytest.mark.scenario("L18")
async def test_who_has_no_room_is_waited_for_however_soon_others_answer(autojump_clock):
    stage = Stage()
    for _ in range(ENOUGH):
        stage.network.connected.clear()
        await stage.ask()
    wait = {"dialled": FLOOR, "full": KademliaConfig().late_after}

    def waits() -> float:
        return stage.asking.patience(PEER, trio.current_time())[1].wait

    stage.network.connected.clear()
    assert waits() == wait["dialled"]
    stage.network.short_of_room.add(PEER)
    assert waits() == wait["full"]
    stage.network.short_of_room.clear()
    stage.network.errors = [BUSY, RequestTimeout(PEER, "FindNode", 10.0)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails, stage)
        await trio.testing.wait_all_tasks_blocked()
        assert waits() == wait["full"], "it has turned this node away, and is tried again"
    assert waits() == wait["dialled"]


@pytest.mark.scenario("P10")
async def test_a_peer_is_sent_so_many_requests_at_a_time_and_others_wait_for_none_of_them(autojump_clock):
    stage = Stage()
    stage.network.takes = 1.0
    began, ended = trio.current_time(), Counter[tuple[PeerId, float]]()

    async def ask(peer: PeerId) -> None:
        await stage.ask(peer)
        ended[peer, trio.current_time() - began] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(2 * MAX_STREAMS + 1):
            nursery.start_soon(ask, PEER)
        nursery.start_soon(ask, OTHER)
    assert ended == {(PEER, 1.0): MAX_STREAMS, (PEER, 2.0): MAX_STREAMS, (PEER, 3.0): 1, (OTHER, 1.0): 1}
    assert stage.network.most == MAX_STREAMS + 1


@asynccontextmanager
async def last_in_the_queue(stage: Stage) -> AsyncIterator[tuple[float, Errand]]:
    """When one was asked who waits behind two rounds of others for PEER, and its errand; left when all have been answered."""
    asked_at, last = trio.current_time(), Errand()
    async with trio.open_nursery() as nursery:
        for _ in range(2 * MAX_STREAMS):
            nursery.start_soon(stage.ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(stage.ask, PEER, 10.0, last)
        yield asked_at, last


@pytest.mark.scenario("P10", "L13")
async def test_who_waits_on_this_side_is_not_late_while_others_have_their_turns(autojump_clock):
    stage = Stage()
    stage.network.connects(PEER)
    stage.network.takes = 1.5
    async with last_in_the_queue(stage) as (asked_at, last):
        since = []
        for moment in (1.0, 2.0, 3.1):
            await trio.sleep(asked_at + moment - trio.current_time())
            since.append(stage.asking.patience(PEER, asked_at, last)[0] - asked_at)
        assert since == [0.0, 1.5, 3.0]
    assert last.left == asked_at + 3.0


@pytest.mark.scenario("P10", "L13")
async def test_behind_a_peer_that_answers_everybody_late_nobody_is_patient(autojump_clock):
    stage = Stage()
    stage.network.connects(PEER)
    stage.network.connects(OTHER)
    await trio.sleep(1)
    stage.network.takes = 0.01
    for _ in range(64):
        await stage.ask(OTHER)
    stage.network.takes = 1.5
    async with last_in_the_queue(stage) as (asked_at, last):
        await trio.sleep(1)
        assert stage.asking.patience(PEER, asked_at, last) == (asked_at, stage.asking._if_full)
        await trio.sleep(1)
        assert stage.asking.patience(PEER, asked_at, last) == (asked_at, stage.asking._if_connected)


@pytest.mark.scenario("P10", "L13")
async def test_the_wait_on_this_side_is_no_time_that_a_peer_took(autojump_clock):
    stage = Stage()
    stage.network.connects(PEER)
    await trio.sleep(1)
    stage.network.takes = 0.5
    async with trio.open_nursery() as nursery:
        for _ in range(10 * MAX_STREAMS):
            nursery.start_soon(stage.ask)
    assert stage.asking.patience(PEER, trio.current_time())[1].wait == 1.0


@pytest.mark.scenario("P10")
async def test_who_has_no_turn_in_time_was_not_asked_and_the_peer_is_not_blamed(autojump_clock):
    stage, refused = Stage(), 0
    stage.network.takes = 60.0

    async def ask(seconds: float) -> None:
        nonlocal refused
        try:
            await stage.ask(seconds=seconds)
        except LocalLimit:
            refused += 1
        except RequestTimeout:
            pass

    async with trio.open_nursery() as nursery:
        for _ in range(MAX_STREAMS):
            nursery.start_soon(ask, 8.0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, 5.0)
        await trio.sleep(6)
        assert (refused, len(stage.network.asked)) == (1, MAX_STREAMS)
        assert stage.membership.take_checks() == []


@pytest.mark.scenario("P10")
async def test_a_request_has_its_whole_time_from_its_turn_on(autojump_clock):
    stage, timed_out = Stage(), list[float]()
    stage.network.takes = 9.0
    began = trio.current_time()

    async def ask() -> None:
        try:
            await stage.ask(seconds=60.0)
        except RequestTimeout:
            timed_out.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(3 * MAX_STREAMS):
            nursery.start_soon(ask)
    assert trio.current_time() - began == 27.0
    assert timed_out == []
    stage.network.takes = 60.0
    await ask()
    assert timed_out == [37.0]


async def fails(stage: Stage) -> None:
    with pytest.raises(RequestTimeout):
        await stage.ask()


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, "answered"),
        (PeerUnreachable(PEER), "unreachable"),
        (RequestTimeout(PEER, "FindNode", 10.0), "silent"),
        (RequestFailed(PEER, "reset"), "refused"),
        (LocalLimit("connections", 4), "limited"),
        (BUSY, "busy"),
        (RemoteProtocolError("nonsense"), "malformed"),
    ],
)
async def test_each_request_is_told_once_when_it_is_over(autojump_clock, error, result):
    stage, told = Stage(*[error] * 99 if error else []), list[RequestEnded]()
    stage.network.takes = 0.5
    stage.telling.subscribe(told.append, RequestEnded)
    began = trio.current_time()
    with suppress(NetworkError, RemoteProtocolError):
        await stage.ask(seconds=3.0)
    (event,) = told
    assert (event.peer, event.message, event.result) == (PEER, "FIND_NODE", result)
    assert event.at - began == event.seconds == trio.current_time() - began


async def test_a_request_that_is_wanted_no_more_is_told_as_such(autojump_clock):
    stage, told = Stage(), list[RequestEnded]()
    stage.network.takes = 60.0
    stage.telling.subscribe(told.append, RequestEnded)
    with trio.move_on_after(1.0):
        await stage.ask(seconds=120.0)
    assert [(event.result, event.seconds) for event in told] == [("cancelled", 1.0)]


async def test_requests_that_nobody_wants_to_hear_of_are_not_told(autojump_clock, monkeypatch):
    stage = Stage()
    stage.telling.subscribe(print, PeerEvicted)
    monkeypatch.setattr("p2pkad.node.asking.RequestEnded", type("Recorded", (), {"__init__": None}))
    assert await stage.ask()
