"""What a node tells of its lookups, step by step."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
import trio
import trio.testing

from p2pkad.core.goals import Failure
from p2pkad.core.lookup import Ending
from p2pkad.core.messages import (
    AnyReply,
    AnyRequest,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
    PutValue,
)
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import NetworkError, QuorumNotMet, RequestFailed, StoreFull
from p2pkad.events import (
    LookupCancelled,
    LookupEnded,
    LookupEvent,
    LookupStarted,
    PeerAnswered,
    PeerAsked,
    PeerFailed,
    PeerLate,
    ProvidersHeard,
    Published,
    PublishFailed,
    RequestServed,
    ValueHeard,
)
from p2pkad.net.base import Network, Request
from p2pkad.node.service import KademliaService
from p2pkad.validators.opaque import OpaqueValidator
from tests.behaviour.conftest import BehaviourNetwork

KEY = b"/v/key"
CONTENT = b"\x12\x20" + sha256(b"content").digest()


def story(node: KademliaService, key: bytes = KEY) -> list[Any]:
    """The events of lookups of one key, from now on."""
    events: list[Any] = []

    def listen(event: Any) -> None:
        if event.key == key:
            events.append(event)

    node.subscribe(listen, LookupEvent)
    return events


async def meet(node: KademliaService, *peers: Network) -> None:
    for peer in peers:
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await node.wait_ready(peers=len(peers), timeout=10)


async def knows_nobody(request: Request) -> AnyReply:
    match request.message:
        case GetValue(key):
            return GetValueReply(key, None, ())
        case GetProviders(key):
            return GetProvidersReply(key, (), ())
    return FindNodeReply(())


async def holder(request: Request) -> AnyReply:
    match request.message:
        case GetValue():
            return GetValueReply(KEY, Record(KEY, b"value"), ())
    return await knows_nobody(request)


async def test_the_steps_of_a_lookup_are_told_in_order_with_its_number(network: BehaviourNetwork) -> None:
    (node,) = await network.start(validators={"v": OpaqueValidator()}, allow_zero_peers=True)
    far = await network.start_peer(knows_nobody)
    told = PeerInfo(far.id, far.local_addresses())

    async def knows_far(request: Request) -> AnyReply:
        reply = await holder(request)
        return replace(reply, closer=(told,)) if isinstance(reply, GetValueReply) else reply

    near = await network.start_peer(knows_far)
    await meet(node, near)
    events = story(node)
    await node.get_value(KEY)
    assert [type(event) for event in events] == [
        LookupStarted,
        PeerAsked,
        PeerAnswered,
        ValueHeard,
        PeerAsked,
        PeerAnswered,
        LookupEnded,
    ]
    assert len({event.lookup for event in events}) == 1
    started, asked, answered, heard, *_, ended = events
    assert (started.kind, started.seeds) == ("Value", 1)
    assert asked.peer == answered.peer == heard.peer == near.id
    assert (answered.closer, heard.record) == (1, Record(KEY, b"value"))
    assert [event.peer for event in events[4:6]] == [far.id, far.id]
    assert (ended.outcome.ending, ended.outcome.asked, ended.kind) == (Ending.CONVERGED, 2, "Value")
    assert [event.at for event in events] == sorted(event.at for event in events)


async def test_two_lookups_of_one_key_have_two_numbers(network: BehaviourNetwork) -> None:
    nodes = await network.start(2)
    await network.until(lambda: nodes[0].stats().table == 1, "it is known")
    events = story(nodes[0], b"key")
    await nodes[0].closest_peers(b"key")
    await nodes[0].closest_peers(b"key")
    first, second = (event.lookup for event in events if isinstance(event, LookupEnded))
    assert first != second


async def test_providers_are_told_by_whom_they_were_heard_from(network: BehaviourNetwork) -> None:
    provider = PeerInfo((await network.start_peer(knows_nobody)).id)

    async def provides(request: Request) -> AnyReply:
        if isinstance(request.message, GetProviders):
            return GetProvidersReply(CONTENT, (provider,), ())
        return FindNodeReply(())

    (node,) = await network.start()
    peer, other = await network.start_peer(provides), await network.start_peer(knows_nobody)
    await meet(node, peer, other)
    events = story(node, CONTENT)
    await node.find_providers(CONTENT)
    (heard,) = [event for event in events if isinstance(event, ProvidersHeard)]
    assert (heard.peer, heard.providers) == (peer.id, (provider,))


async def test_who_fails_and_who_is_late_is_told_with_the_reason(network: BehaviourNetwork) -> None:
    (node,) = await network.start(late_after=0.05, request_timeout=5.0)

    async def silent(request: Request) -> AnyReply:
        if not isinstance(request.message, GetValue):
            return FindNodeReply(())
        await trio.sleep_forever()
        raise AssertionError

    async def refuses(request: Request) -> AnyReply:
        if not isinstance(request.message, GetValue):
            return FindNodeReply(())
        raise RequestFailed(request.peer, "not today")

    silent_peer, refusing_peer = await network.start_peer(silent), await network.start_peer(refuses)
    good = await network.start_peer(holder)
    await meet(node, silent_peer, refusing_peer, good)
    events = story(node)
    await node.get_value(KEY)
    (late,) = [event for event in events if isinstance(event, PeerLate)]
    (failed,) = [event for event in events if isinstance(event, PeerFailed)]
    assert late.peer == silent_peer.id
    assert (failed.peer, failed.reason) == (refusing_peer.id, Failure.REFUSED)
    assert isinstance(events[-1], LookupEnded)
    assert (events[-1].outcome.late, events[-1].outcome.failed) == (1, 1)


async def test_a_lookup_that_is_cancelled_says_so(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    asked = trio.Event()

    async def silent(request: Request) -> AnyReply:
        if not isinstance(request.message, GetValue):
            return FindNodeReply(())
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    peer = await network.start_peer(silent)
    await meet(node, peer)
    events = story(node)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.get_value, KEY)
            await asked.wait()
            scope.cancel()
    assert [type(event) for event in events] == [LookupStarted, PeerAsked, LookupCancelled]


async def test_steps_that_nobody_wants_to_hear_of_are_not_made(
    network: BehaviourNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    for name in ("LookupStarted", "PeerAsked", "PeerAnswered", "LookupEnded"):
        recorded = type(name, (), {"__init__": lambda self, **facts: made.append(self)})
        monkeypatch.setattr(f"p2pkad.node.chronicle.{name}", recorded)
    nodes = await network.start(2)
    nodes[0].subscribe(made.append, PeerLate)
    await nodes[0].closest_peers(b"key")
    assert not made


async def test_what_a_server_made_of_each_request_is_told(network: BehaviourNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    server, asker = (await network.start_one(bootstrap=()), await network.start_peer(knows_nobody))
    there = PeerInfo(server.id, server._network.local_addresses())
    served: list[RequestServed] = []
    server.subscribe(served.append, RequestServed)

    async def ask(message: AnyRequest) -> None:
        with suppress(NetworkError):
            await asker.request(there, message, trio.current_time() + 2)

    await ask(FindNode(b"anything"))
    await ask(PutValue(KEY, Record(KEY, b"value")))
    await ask(PutValue(b"/w/key", Record(b"/w/key", b"value")))

    async def full(*_: object) -> None:
        raise StoreFull("no room")

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server._store, "update", full)
    await ask(PutValue(KEY, Record(KEY, b"value")))
    monkeypatch.setattr(server._store, "update", broken)
    await ask(PutValue(KEY, Record(KEY, b"value")))
    assert [(event.message, event.result) for event in served if event.peer == asker.id] == [
        ("FIND_NODE", "answered"),
        ("PUT_VALUE", "answered"),
        ("PUT_VALUE", "refused"),
        ("PUT_VALUE", "full"),
        ("PUT_VALUE", "failed"),
    ]


async def test_publishing_is_told_with_its_receipt_or_with_what_went_wrong(network: BehaviourNetwork) -> None:
    told: list[Any] = []
    node, _ = await network.start(2)
    node.subscribe(told.append, Published | PublishFailed)
    receipts = [await node.put_value(KEY, b"value"), await node.provide(CONTENT)]
    with pytest.raises(QuorumNotMet) as caught:
        await node.put_value(KEY, b"value", min_stored=9)
    assert [(event.kind, event.key, event.receipt) for event in told[:2]] == [
        ("record", KEY, receipts[0]),
        ("provider", CONTENT, receipts[1]),
    ]
    assert (told[2].kind, told[2].error) == ("record", caught.value)
