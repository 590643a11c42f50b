"""What `p2pkad.net.base` promises a node, kept by real hosts and by simulated ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count
from typing import Any, TypeVar

import pytest
import trio

from p2pkad.config import HostConfig
from p2pkad.core.messages import (
    AddProvider,
    AnyReply,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
    PutValue,
)
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import (
    LocalProtocolError,
    NodeClosed,
    PeerUnreachable,
    RemoteProtocolError,
    RequestFailed,
    RequestTimeout,
)
from p2pkad.net.base import Connected, Gone, Host, Identified, Network, NetworkEvent, Request
from p2pkad.net.libp2p import new_host
from p2pkad.net.simulated import World
from p2pkad.testing.runs import VirtualClock, repeatable
from p2pkad.wire.addresses import parse_address
from tests.support.worlds import hosted, peer_id

PROTOCOL = "/test/kad/1.0.0"
LIMIT = 1 << 16
KEY = b"\x12\x20" + bytes(32)
SHORT = 0.3
"""Seconds for what is not going to be answered."""
PATIENCE = 30.0
"""Seconds for what is."""

Event = TypeVar("Event", bound=NetworkEvent)


class End:
    """One network on a host, and what it was asked and told."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.requests: list[Request] = []
        self.events: list[NetworkEvent] = []
        network.subscribe(self.events.append)
        network.serve(self._note)

    @property
    def id(self) -> PeerId:
        return self.network.id

    @property
    def info(self) -> PeerInfo:
        return PeerInfo(self.id, self.network.local_addresses())

    async def answer(self, request: Request) -> AnyReply | None:
        match request.message:
            case AddProvider():
                return None
            case GetProviders(key):
                return GetProvidersReply(key, (), ())
            case FindNode(b"refused"):
                raise RemoteProtocolError("refused")
            case FindNode(b"silence"):
                await trio.sleep_forever()
            case GetValue(key):
                return GetValueReply(key, Record(b"of another key", b"value"), ())
        return FindNodeReply(())

    async def ask(self, other: End, key: bytes = b"key", within: float = PATIENCE) -> AnyReply:
        response = await self.network.request(other.info, FindNode(key), trio.current_time() + within)
        assert response.peer == other.id
        return response.message

    async def hears(self, event: NetworkEvent | type[Event]) -> Any:
        """Wait until an event has come, or one of a kind."""
        with trio.fail_after(PATIENCE):
            while True:
                for each in self.events:
                    if each == event or (isinstance(event, type) and isinstance(each, event)):
                        return each
                await trio.sleep(0.005)

    async def _note(self, request: Request) -> AnyReply | None:
        self.requests.append(request)
        return await self.answer(request)


class Ends:
    """Opens hosts of one kind, and networks on them."""

    def __init__(self, stack: AsyncExitStack, nursery: trio.Nursery, world: World | None) -> None:
        self._stack = stack
        self._nursery = nursery
        self._world = world
        self._numbers = count(1)

    @property
    def in_virtual_time(self) -> bool:
        return self._world is not None

    async def host(self) -> Host:
        if self._world is not None:
            return self._stack.enter_context(hosted(self._world, next(self._numbers)))
        host: Host = await self._nursery.start(_run)
        return host

    async def on(self, host: Host, protocol: str = PROTOCOL, *, server: bool = True) -> End:
        network = await self._stack.enter_async_context(host.open_network(protocol=protocol, max_message=LIMIT))
        end = End(network)
        await network.set_server(server)
        return end

    async def pair(self, *, server: bool = True) -> tuple[End, End]:
        """One that asks, and one that is asked."""
        return await self.on(await self.host()), await self.on(await self.host(), server=server)


async def _run(*, task_status: Any) -> None:
    host = new_host(HostConfig(listen=("/ip4/127.0.0.1/tcp/0",)))
    async with host.run():
        task_status.started(host)
        await trio.sleep_forever()


def in_virtual_time(test: Callable[[], Awaitable[None]], clock: None, instruments: Sequence[trio.abc.Instrument]) -> None:
    with repeatable(seed=1):
        trio.run(test, clock=VirtualClock(), instruments=instruments)


@pytest.fixture(params=[pytest.param("simulated", marks=pytest.mark.trio(run=in_virtual_time)), "sockets"])
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    async with World.open(latency=0.01) as world, trio.open_nursery() as nursery, AsyncExitStack() as stack:
        yield Ends(stack, nursery, world if request.param == "simulated" else None)
        nursery.cancel_scope.cancel()


def soon(seconds: float = PATIENCE) -> float:
    return trio.current_time() + seconds


async def test_a_request_is_answered_and_both_ends_know_by_whom(ends: Ends) -> None:
    asker, server = await ends.pair()
    response = await asker.network.request(server.info, FindNode(b"key"), soon())
    assert (response.peer, response.message) == (server.id, FindNodeReply(()))
    assert response.remote_address in server.info.addresses
    (request,) = server.requests
    assert (request.peer, request.message) == (asker.id, FindNode(b"key"))
    assert request.remote_address is not None
    assert request.remote_address.scope == asker.info.addresses[0].scope


async def test_what_has_no_reply_is_sent_and_cannot_be_asked(ends: Ends) -> None:
    asker, server = await ends.pair()
    news = AddProvider(KEY, (asker.info,))
    await asker.network.send(server.info, news, soon())
    await asker.ask(server)
    assert [request.message for request in server.requests] == [news, FindNode(KEY), FindNode(b"key")]
    with pytest.raises(LocalProtocolError):
        await asker.network.request(server.info, news, soon())


@pytest.mark.scenario("P10")
async def test_what_has_no_reply_is_sent_when_it_was_dealt_with(ends: Ends) -> None:
    asker, server = await ends.pair()
    reached, release, told = trio.Event(), trio.Event(), False

    async def slow(request: Request) -> AnyReply | None:
        if not isinstance(request.message, AddProvider):
            return FindNodeReply(())
        reached.set()
        await release.wait()
        return None

    async def send() -> None:
        nonlocal told
        await asker.network.send(server.info, AddProvider(KEY, (asker.info,)), soon())
        told = True

    server.answer = slow  # type: ignore[assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await reached.wait()
        await trio.sleep(SHORT)
        assert not told
        release.set()


@pytest.mark.scenario("P10")
async def test_what_has_no_reply_and_is_refused_was_not_sent(ends: Ends) -> None:
    asker, server = await ends.pair()

    async def refuse(request: Request) -> AnyReply:
        if not isinstance(request.message, AddProvider):
            return FindNodeReply(())
        raise RemoteProtocolError("refused")

    server.answer = refuse  # type: ignore[assignment]
    with pytest.raises(RequestFailed):
        await asker.network.send(server.info, AddProvider(KEY, (asker.info,)), soon())


async def test_a_question_behind_it_is_answered_after_it_was_dealt_with(ends: Ends) -> None:
    asker, server = await ends.pair()
    news = AddProvider(KEY, (asker.info,))
    response = await asker.network.send_and_ask(server.info, news, GetProviders(KEY), soon())
    assert response.message == GetProvidersReply(KEY, (), ())
    assert [request.message for request in server.requests] == [news, GetProviders(KEY)]


async def test_a_client_refuses_and_asks(ends: Ends) -> None:
    server, client = await ends.pair(server=False)
    with pytest.raises(RequestFailed):
        await server.ask(client)
    await client.ask(server)


async def test_what_a_handler_refuses_is_reset_and_the_next_request_is_answered(ends: Ends) -> None:
    asker, server = await ends.pair()
    with pytest.raises(RequestFailed):
        await asker.ask(server, b"refused")
    assert await asker.ask(server) == FindNodeReply(())
    assert len(asker.network.connections()) == 1


async def test_silence_lasts_until_the_deadline(ends: Ends) -> None:
    asker, server = await ends.pair()
    began = trio.current_time()
    with pytest.raises(RequestTimeout) as caught:
        await asker.ask(server, b"silence", within=SHORT)
    waited = trio.current_time() - began
    assert (caught.value.peer, caught.value.doing) == (server.id, "FindNode")
    assert waited > 0.99 * SHORT
    assert SHORT / 2 < caught.value.seconds < 1.01 * SHORT
    if ends.in_virtual_time:  # else a busy machine takes what it likes of it
        assert waited < 1.01 * SHORT
        assert caught.value.seconds > 0.99 * SHORT
    assert await asker.ask(server) == FindNodeReply(())


async def test_nonsense_is_the_peers_and_names_it(ends: Ends) -> None:
    asker, server = await ends.pair()
    with pytest.raises(RemoteProtocolError) as caught:
        await asker.network.request(server.info, GetValue(b"/v/key"), soon())
    assert caught.value.peer == server.id


async def test_what_does_not_fit_a_frame_is_not_sent(ends: Ends) -> None:
    asker, server = await ends.pair()
    with pytest.raises(LocalProtocolError):
        await asker.network.request(server.info, PutValue(b"/v/key", Record(b"/v/key", bytes(LIMIT))), soon())
    assert server.requests == []


async def test_who_is_not_there_is_unreachable_for_a_reason_at_each_address(ends: Ends) -> None:
    asker, server = await ends.pair()
    nowhere = parse_address("/ip4/127.0.0.1/tcp/1")
    for peer, tried in (
        (PeerInfo(peer_id(99)), []),
        (PeerInfo(peer_id(99), (nowhere,)), [nowhere.text]),
        (PeerInfo(peer_id(99), (nowhere, *server.info.addresses)), [nowhere.text, server.info.addresses[0].text]),
    ):
        with pytest.raises(PeerUnreachable) as caught:
            await asker.network.request(peer, FindNode(b"key"), soon())
        assert sorted(address for address, _ in caught.value.causes) == sorted(tried)
    assert server.requests == []


async def test_of_several_addresses_one_that_works_is_enough(ends: Ends) -> None:
    asker, server = await ends.pair()
    addresses = (parse_address("/ip4/127.0.0.1/tcp/1"), *server.info.addresses)
    assert (await asker.network.connect(PeerInfo(server.id, addresses), soon())).remote_address in server.info.addresses


async def test_connecting_and_leaving_is_told_to_both_ends(ends: Ends) -> None:
    asker, server = await ends.pair()
    connection = await asker.network.connect(server.info, soon())
    assert (connection.peer, connection.inbound) == (server.id, False)
    assert asker.network.connection(server.id) == connection
    arrived = await server.hears(Connected)
    assert (arrived.peer, arrived.inbound) == (asker.id, True)
    assert (await asker.hears(Connected)).inbound is False
    assert (await server.hears(Identified)).addresses == asker.info.addresses
    assert (await asker.hears(Identified)).server
    await asker.network.disconnect(server.id)
    assert asker.network.connection(server.id) is None
    await asker.hears(Gone(server.id))
    await server.hears(Gone(asker.id))
    assert server.network.connections() == {}


async def test_a_connected_peer_is_described_until_it_has_left(ends: Ends) -> None:
    one, other = await ends.pair()
    assert one.network.description(other.id) is None
    await one.network.connect(other.info, trio.current_time() + PATIENCE)
    await one.hears(Identified)
    said = one.network.description(other.id)
    assert said is not None
    assert (PROTOCOL in said.protocols, said.addresses) == (True, other.info.addresses)
    assert said.observed is not None
    await one.network.disconnect(other.id)
    await one.hears(Gone)
    assert one.network.description(other.id) is None


async def test_a_connected_peer_hears_at_once_who_turns_server_or_client(ends: Ends) -> None:
    asker, other = await ends.pair(server=False)
    await asker.network.connect(other.info, soon())
    assert not (await asker.hears(Identified)).server
    for server in (True, False):
        asker.events.clear()
        await other.network.set_server(server)
        news = await asker.hears(Identified)
        assert (news.peer, news.server, news.addresses) == (other.id, server, other.info.addresses)


async def test_who_turns_client_resets_what_it_was_asked(ends: Ends) -> None:
    asker, server = await ends.pair()

    async def turn() -> None:
        await trio.sleep(SHORT)
        await server.network.set_server(False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn)
        with pytest.raises(RequestFailed):
            await asker.ask(server, b"silence")


async def test_several_protocols_share_a_connection_and_each_sees_its_own(ends: Ends) -> None:
    here, there = await ends.host(), await ends.host()
    one, one_there = await ends.on(here), await ends.on(there)
    two, two_there = await ends.on(here, "/test/other/1.0.0"), await ends.on(there, "/test/other/1.0.0")
    await one.ask(one_there, b"one")
    await two.ask(two_there, b"two")
    assert [request.message.key for request in one_there.requests] == [b"one"]
    assert [request.message.key for request in two_there.requests] == [b"two"]
    for end in (one_there, two_there):
        assert len([event for event in end.events if isinstance(event, Connected)]) == 1


async def test_a_network_opened_later_hears_who_is_connected(ends: Ends) -> None:
    here, there = await ends.host(), await ends.host()
    one, one_there = await ends.on(here), await ends.on(there)
    await ends.on(there, "/test/other/1.0.0")
    await one.ask(one_there)
    await one.hears(Identified)
    two = await ends.on(here, "/test/other/1.0.0")
    assert (await two.hears(Connected)).peer == one_there.id
    assert (await two.hears(Identified)).server


async def test_a_ping_is_a_round_trip_and_needs_no_server(ends: Ends) -> None:
    asker, client = await ends.pair(server=False)
    assert 0 < await asker.network.ping(client.info, soon()) < PATIENCE


async def test_a_closed_network_asks_nobody(ends: Ends) -> None:
    asker, server = await ends.pair()
    async with (await ends.host()).open_network(protocol=PROTOCOL, max_message=LIMIT) as network:
        await network.request(server.info, FindNode(b"key"), soon())
    with pytest.raises(NodeClosed):
        await network.request(server.info, FindNode(b"key"), soon())
    await asker.ask(server)
