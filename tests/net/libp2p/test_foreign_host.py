"""Services on a host that the application made with py-libp2p, beside its own protocols: before, meanwhile, afterwards."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import libp2p
import pytest
import trio
import trio.testing
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH as PUSH
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from multiaddr import Multiaddr

import p2pkad
from p2pkad.config import HostConfig, KademliaConfig
from p2pkad.core.messages import FindNode
from p2pkad.errors import ConfigError, NodeClosed, RequestFailed, RequestTimeout
from p2pkad.events import HostFault, HostNotArmoured
from p2pkad.net.base import Request
from p2pkad.net.libp2p.foreign import ForeignHost, faults_of
from p2pkad.node.service import KademliaService
from p2pkad.validators.opaque import OpaqueValidator
from tests.faults.stock import plain_host
from tests.faults.subjects import Limits
from tests.net.libp2p.ends import LOOPBACK, PATIENCE, PROTOCOL, an_end, eventually, soon
from tests.support.census import count_tasks

CHAT = TProtocol("/chat/1.0.0")
HANDLER = "serve_listeners._run_handler"
"""py-libp2p keeps the task of an inbound connection as long as the host: there is one more where a peer happened to dial."""
WARNING = "p2pkad did not make this host"


@asynccontextmanager
async def running(host: BasicHost) -> AsyncIterator[BasicHost]:
    """An application's host, with a protocol of its own: it sends back what it hears."""

    async def chat(stream: INetStream) -> None:
        await stream.write(await stream.read(100))
        await stream.close()

    host.set_stream_handler(CHAT, chat)
    async with host.run([Multiaddr(text) for text in LOOPBACK]):
        try:
            yield host
        finally:
            with trio.CancelScope(shield=True):
                await host.close()


def a_stock_host() -> Any:
    return running(plain_host(Limits()))


async def application(over: trio.Event, *, task_status: trio.TaskStatus[BasicHost]) -> None:
    """An application with a host, which ends when it is `over`, whoever else is on that host."""
    async with a_stock_host() as host:
        task_status.started(host)
        await over.wait()


async def ended(host: BasicHost, over: trio.Event) -> None:
    """End that application, and wait until its host has ended."""
    over.set()
    await eventually(lambda: not host.get_network().get_manager().is_running)


def config(protocol: str = PROTOCOL, **options: Any) -> KademliaConfig:
    return KademliaConfig(**{"protocol": protocol, "validators": {"v": OpaqueValidator()}, **options})


def a_node(**options: Any) -> Any:
    """A node on a host of ours."""
    return p2pkad.open_node(**{"listen": LOOPBACK, "protocol": PROTOCOL, "validators": {"v": OpaqueValidator()}, **options})


async def chats(host: BasicHost, peer: ID) -> bool:
    """Whether the application's protocol works between a host and a connected peer."""
    with trio.fail_after(PATIENCE):
        stream = await host.new_stream(peer, [CHAT])
        await stream.write(b"hello")
        return await stream.read(100) == b"hello"


def state(host: BasicHost) -> tuple[object, ...]:
    """All that an application could notice of us."""
    swarm = host.get_network()
    assert isinstance(swarm, Swarm)
    streams = sum(len(connection.get_streams()) for connection in swarm.get_connections())
    return (
        dict(host.get_mux().handlers),
        list(swarm.notifees),
        swarm.common_stream_handler,
        swarm.get_connections(),
        streams,
        count_tasks(apart_from=HANDLER),
    )


async def at_rest(host: BasicHost) -> tuple[object, ...]:
    """Its state, once nothing of it has changed for a moment: peers that have just met still talk."""
    seen = state(host)
    with trio.fail_after(PATIENCE):
        while True:
            await trio.sleep(0.3)
            before, seen = seen, state(host)
            if before == seen:
                return seen


@asynccontextmanager
async def befriended(host: BasicHost, other: BasicHost) -> AsyncIterator[None]:
    """Two hosts of an application's that know each other already, and have had their say."""
    await host.connect(info_from_p2p_addr(other.get_addrs()[0]))
    assert await chats(host, other.get_id())
    await trio.sleep(0.5)  # identify, both ways
    yield


async def test_a_service_joins_a_network_beside_the_protocols_of_the_application():
    async with (
        a_stock_host() as host,
        a_stock_host() as friend,
        a_node() as node,
        befriended(host, friend),
        KademliaService(host, config(bootstrap=node.addresses)) as service,
    ):
        await service.wait_ready(timeout=PATIENCE)
        await eventually(lambda: service.id in {info.id for info in node.routing_table()})
        await node.put_value(b"/v/one", b"from node to host")
        assert await service.local_value(b"/v/one") == b"from node to host"
        await service.put_value(b"/v/two", b"from host to node")
        assert await node.get_value(b"/v/two") == b"from host to node"
        assert await service.ping(node.id) > 0
        assert await chats(host, friend.get_id())
        assert await chats(friend, host.get_id())


async def test_connections_that_are_there_are_used():
    async with a_stock_host() as host, a_node() as node:
        await host.connect(info_from_p2p_addr(Multiaddr(node.addresses[0])))
        async with KademliaService(host, config()) as service:
            await service.wait_ready(timeout=PATIENCE)
            await service.put_value(b"/v/key", b"value")
            assert len(host.get_network().get_connections()) == 1


async def test_afterwards_the_host_is_as_it_was():
    async with a_stock_host() as host, a_stock_host() as friend, a_node() as node, befriended(host, friend):
        before = await at_rest(host)
        async with KademliaService(host, config(bootstrap=node.addresses)) as service:
            await service.wait_ready(timeout=PATIENCE)
            await service.put_value(b"/v/key", b"value")
            await eventually(lambda: service.id in {info.id for info in node.routing_table()})
            assert state(host)[:3] != before[:3]
        assert state(host)[:3] == before[:3]
        await eventually(
            lambda: service.id not in {info.id for info in node.routing_table()}
        )  # told before the service was closed
        with trio.move_on_after(PATIENCE):
            while state(host) != before:
                await host.disconnect(ID(bytes(node.id)))  # again: it forgets a connection that came about meanwhile
                await trio.sleep(0.05)
        assert state(host) == before
        assert await chats(host, friend.get_id())
        assert await chats(friend, host.get_id())


async def test_a_service_that_is_cancelled_while_it_opens_leaves_the_host_as_it_was():
    async with a_stock_host() as host:
        await trio.sleep(0.1)  # what a host does when it has begun
        before = state(host)
        for checkpoints in range(12):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_after, checkpoints, scope)
                    async with KademliaService(host, config()):
                        scope.cancel()
            await eventually(lambda: state(host) == before)


async def _cancel_after(checkpoints: int, scope: trio.CancelScope) -> None:
    for _ in range(checkpoints):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@asynccontextmanager
async def _started(nursery: trio.Nursery, task: Any) -> AsyncIterator[None]:
    await nursery.start(task)
    yield


@pytest.mark.scenario("M6")
async def test_the_first_of_two_services_closes_and_the_other_one_lives_on():
    async with a_stock_host() as host, a_node() as of_one, a_node(protocol="/other/kad") as of_other:
        before = state(host)[:3]
        one = KademliaService(host, config(bootstrap=of_one.addresses))
        closing = trio.CancelScope()

        async def open_one(task_status: trio.TaskStatus[None]) -> None:
            with closing:
                async with one:
                    task_status.started()
                    await trio.sleep_forever()

        async with (
            trio.open_nursery() as nursery,
            _started(nursery, open_one),
            KademliaService(host, config("/other/kad", bootstrap=of_other.addresses)) as other,
        ):
            for service, node in ((one, of_one), (other, of_other)):
                await service.wait_ready(timeout=PATIENCE)
                await eventually(lambda service=service, node=node: service.id in {info.id for info in node.routing_table()})
                assert {info.id for info in service.routing_table()} == {node.id}
            closing.cancel()
            await eventually(lambda: repr(one).endswith("closed>"))
            await of_other.put_value(b"/v/key", b"value")
            assert await other.local_value(b"/v/key") == b"value"
            await other.put_value(b"/v/key", b"value2")
            assert await of_other.local_value(b"/v/key") == b"value2"
            await eventually(lambda: not of_one.routing_table())
            async with KademliaService(host, config(bootstrap=of_one.addresses)) as again:
                await again.wait_ready(timeout=PATIENCE)
        assert state(host)[:3] == before


@pytest.mark.scenario("M5", "M6")
@pytest.mark.parametrize("armoured", [True, False], ids=["host of ours", "host of the application"])
async def test_a_lan_and_a_wan_service_share_a_host_and_a_connection(armoured):
    lan, wan = config("/x/lan/kad/1.0.0", scope="lan"), config("/x/kad/1.0.0", scope="all")
    async with (
        a_host(armoured) as host,
        a_host(armoured) as peer,
        KademliaService(host, lan) as near,
        KademliaService(host, wan) as far,
        KademliaService(peer, wan) as its_far,
    ):
        async with KademliaService(peer, lan) as its_near:
            await near.connect(its_near.addresses[0])
            await far.connect(its_far.addresses[0])
            for service in (near, far):
                await service.wait_ready(timeout=PATIENCE)
            await far.put_value(b"/v/key", b"far")
            await near.put_value(b"/v/key", b"near")
            assert [await each.local_value(b"/v/key") for each in (its_near, its_far)] == [b"near", b"far"]
            assert len(host.get_network().get_connections()) == 1
        await eventually(lambda: not near.routing_table())
        assert {info.id for info in far.routing_table()} == {its_far.id}
        await far.put_value(b"/v/other", b"still there")
        assert await its_far.local_value(b"/v/other") == b"still there"
        assert len(host.get_network().get_connections()) == 1


@asynccontextmanager
async def a_host(armoured: bool) -> AsyncIterator[BasicHost]:
    if not armoured:
        async with a_stock_host() as stock:
            yield stock
        return
    ours = p2pkad.new_host(HostConfig(listen=LOOPBACK))
    async with ours.run():
        yield ours


@pytest.mark.scenario("M6")
@pytest.mark.parametrize("armoured", [True, False], ids=["host of ours", "host of the application"])
@pytest.mark.parametrize("mode", ["server", "client"])
async def test_a_protocol_belongs_to_one_service_on_a_host(armoured, mode):
    async with a_host(armoured) as host, KademliaService(host, config(mode=mode)) as service:
        with pytest.raises(ConfigError, match="another service on this host has it"):
            async with KademliaService(host, config(mode=mode)):
                pass
        assert service.stats().mode == mode
        async with KademliaService(host, config("/other/kad", mode=mode)):
            pass


async def test_a_host_that_does_not_run_and_what_is_no_host_are_errors_that_say_so():
    host = plain_host(Limits())
    before = state(host)
    with pytest.raises(ConfigError, match="it does not run"):
        async with KademliaService(host, config()):
            pass
    assert state(host) == before
    async with running(host):
        pass
    with pytest.raises(ConfigError, match="it does not run"):
        async with KademliaService(host, config()):
            pass
    with pytest.raises(ConfigError, match="host: a dict is none"):
        KademliaService({}, config())  # type: ignore[arg-type]  # whoever has no mypy


async def test_a_request_is_waited_for_until_its_deadline_and_detaching_for_nothing():
    async def silent(request: Request) -> None:
        await trio.sleep_forever()

    async with an_end(handler=silent) as server, a_stock_host() as host:
        async with ForeignHost(host).open_network(protocol=PROTOCOL, max_message=1000) as network:
            with pytest.raises(RequestTimeout, match=r"no answer to FindNode within 0\.\d+ s"):
                await network.request(server.info, FindNode(b"key"), trio.current_time() + 0.2)
            attached = count_tasks()
        with trio.fail_after(HostConfig().close_timeout / 2):
            await eventually(lambda: count_tasks() < attached)


async def test_a_request_that_outlives_the_host_has_its_deadline_all_the_same():
    asked = trio.Event()

    async def silent(request: Request) -> None:
        asked.set()
        await trio.sleep_forever()

    async with an_end(handler=silent) as server, trio.open_nursery() as nursery:
        over = trio.Event()
        host = await nursery.start(application, over)

        async def ask() -> None:
            with pytest.raises((RequestTimeout, RequestFailed, NodeClosed)), trio.fail_after(PATIENCE):
                await network.request(server.info, FindNode(b"key"), trio.current_time() + 1)

        async with ForeignHost(host).open_network(protocol=PROTOCOL, max_message=1000) as network:
            nursery.start_soon(ask)
            await asked.wait()
            await ended(host, over)
            await trio.sleep(1)


@pytest.mark.scenario("H8")
@pytest.mark.parametrize("often", [{}, {"bootstrap_pause": 0.05, "bootstrap_interval": 0.1, "refresh_interval": 0.1}])
async def test_a_service_outlives_its_host_as_a_closed_one(caplog, often):
    """Whoever notices first: who hears of it, or one of the chores, which seldom do something by themselves."""
    async with a_node() as node, trio.open_nursery() as nursery:
        over, reached = trio.Event(), []
        host = await nursery.start(application, over)
        async with KademliaService(host, config(bootstrap=node.addresses, **often)) as service:
            await service.wait_ready(timeout=PATIENCE)
            await ended(host, over)
            await trio.testing.wait_all_tasks_blocked()
            calls: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda: service.connect(node.addresses[0]),
                lambda: service.get_value(b"/v/key"),
                lambda: service.put_value(b"/v/key", b"value"),
                lambda: service.closest_peers(b"key"),
                service.refresh,
            )
            for call in calls:
                with pytest.raises(NodeClosed):
                    await call()
            with pytest.raises(NodeClosed):
                service.stats()
            assert caplog.text.count("the host or the store of a service has ended before it") == 1
            assert "failed" not in caplog.text
            reached.append(True)
    assert reached, "the block went on"


@pytest.mark.scenario("H8")
async def test_a_call_that_waits_when_the_host_ends_is_told_and_so_is_nobody_else(caplog):
    async with a_node() as node, trio.open_nursery() as nursery:
        over, told, slept = trio.Event(), [], False
        host = await nursery.start(application, over)
        async with KademliaService(host, config(bootstrap=node.addresses)) as service:
            await service.wait_ready(timeout=PATIENCE)

            async def wait() -> None:
                with pytest.raises(NodeClosed):
                    await service.wait_ready(peers=99)
                told.append(True)

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await ended(host, over)
            await trio.sleep(0.2)
            slept = True
        assert (slept, told) == (True, [True])
        nursery.cancel_scope.cancel()
    assert slept


async def test_one_warning_says_what_is_open_and_what_helps(caplog):
    told: list[HostNotArmoured] = []
    async with a_stock_host() as host:
        services = [KademliaService(host, config(protocol)) for protocol in ("/a/kad", "/b/kad")]
        for service in services:
            service.subscribe(told.append, HostNotArmoured)
        async with services[0], services[1]:
            pass
        (warning,) = [record for record in caplog.records if record.getMessage().startswith(WARNING)]
        assert warning.levelno == logging.WARNING
        assert "p2pkad.new_host" in warning.getMessage()
        assert [event.faults for event in told] == [tuple(faults_of(host))] * 2
        assert all(fault.value in warning.getMessage() for fault in told[0].faults)


async def test_a_host_of_ours_is_not_warned_of(caplog):
    told: list[HostNotArmoured] = []
    async with a_host(True) as host:
        service = KademliaService(host, config())
        service.subscribe(told.append, HostNotArmoured)
        async with service:
            assert not told
    assert not [record for record in caplog.records if record.getMessage().startswith(WARNING)]


async def test_what_the_application_has_seen_to_is_not_in_the_warning():
    host = libp2p.new_host()
    assert isinstance(host, BasicHost)
    async with host.run([Multiaddr("/ip4/0.0.0.0/tcp/0")]):
        chosen = {HostFault.PLAINTEXT, HostFault.WILDCARDS, HostFault.UNINVITED_DIALS, HostFault.REPEATED_DIALS}
        assert set(faults_of(host)) == set(HostFault)
        async with KademliaService(host, config()) as service:
            assert service.addresses  # concrete ones: told to those who ask this service
            assert not any("/0.0.0.0/" in address for address in service.addresses)
        await host.close()
    swarm = host.get_network()
    assert isinstance(swarm, Swarm)
    swarm.retry_config.max_retries = 0
    assert chosen - set(faults_of(host)) == {HostFault.WILDCARDS, HostFault.UNINVITED_DIALS, HostFault.REPEATED_DIALS}
    careful = plain_host(Limits())
    assert HostFault.PLAINTEXT not in set(faults_of(careful))


async def test_a_push_reaches_the_service_and_the_handler_that_the_host_had():
    async with a_stock_host() as host, an_end(server=False) as other:
        heard = []
        original = host.get_mux().handlers[PUSH]

        async def listens_in(stream: INetStream) -> None:
            heard.append(stream.muxed_conn.peer_id)
            await original(stream)

        host.set_stream_handler(PUSH, listens_in)
        async with KademliaService(host, config()) as service:
            await other.network.connect(p2pkad.PeerInfo(service.id, service._network.local_addresses()), soon())
            await eventually(lambda: service.stats().peers)
            await other.network.set_server(True)
            await eventually(lambda: heard)
            await eventually(lambda: PROTOCOL in host.get_peerstore().get_protocols(ID(bytes(other.id))))
            await service.wait_ready(timeout=PATIENCE)
        assert host.get_mux().handlers[PUSH] is listens_in


async def test_what_the_host_says_of_itself_it_says_in_pushes_too():
    async with a_stock_host() as host, a_stock_host() as peer:
        await host.connect(info_from_p2p_addr(peer.get_addrs()[0]))
        own, store = host.get_id(), peer.get_peerstore()
        async with KademliaService(host, config(mode="client")) as service:
            await eventually(lambda: own in store.peer_ids() and CHAT in store.get_protocols(own))
            assert PROTOCOL not in store.get_protocols(own)
            await service.set_mode("server")
            await eventually(lambda: PROTOCOL in store.get_protocols(own))
            assert CHAT in store.get_protocols(own)


async def test_handlers_that_the_application_puts_around_ours_stay():
    async with a_stock_host() as host, a_node() as node:
        swarm = host.get_network()
        assert isinstance(swarm, Swarm)
        service = KademliaService(host, config())
        await service.__aenter__()
        inner = swarm.common_stream_handler

        async def outer(stream: INetStream) -> None:
            await inner(stream)

        async def own_push(stream: INetStream) -> None:
            await stream.reset()

        swarm.set_stream_handler(outer)
        host.set_stream_handler(PUSH, own_push)
        await service.aclose()
        assert swarm.common_stream_handler is outer
        assert host.get_mux().handlers[PUSH] is own_push
        await host.connect(info_from_p2p_addr(Multiaddr(node.addresses[0])))
        await eventually(lambda: host.get_id().to_bytes() in {bytes(peer) for peer in node._network.connections()})
        assert await node.ping(service.id) > 0


async def test_a_protocol_that_is_taken_away_during_its_negotiation_is_no_failure(monkeypatch, caplog):
    async with a_stock_host() as host, an_end() as other, KademliaService(host, config()) as service:

        async def taken_away(*arguments: object) -> None:
            raise KeyError(PROTOCOL)

        await other.network.connect(p2pkad.PeerInfo(service.id, service._network.local_addresses()), soon())
        monkeypatch.setattr(host.get_mux(), "negotiate", taken_away)
        with pytest.raises(RequestFailed):
            await other.ask(p2pkad.PeerInfo(service.id))
    assert not [record for record in caplog.records if record.name == "p2pkad.net.libp2p.guard"]


async def test_only_connections_that_a_service_dialled_are_closed_to_make_room(monkeypatch):
    monkeypatch.setattr("p2pkad.net.connections.GRACE", 0.0)
    async with (
        running(plain_host(Limits(max_connections=4))) as host,
        a_stock_host() as first,
        a_stock_host() as second,
        an_end() as third,
        an_end() as fourth,
        an_end() as fifth,
    ):
        for friend in (first, second):
            await host.connect(info_from_p2p_addr(friend.get_addrs()[0]))
        async with ForeignHost(host).open_network(protocol=PROTOCOL, max_message=1000) as network:
            for other in (third, fourth, fifth):
                await network.connect(other.info, soon())
            connected = {ID(bytes(peer)) for peer in network.connections()}
            assert {first.get_id(), second.get_id(), ID(bytes(fifth.id))} <= connected
            assert len(connected) < 5


@pytest.mark.parametrize("muxer", ["YAMUX", "MPLEX"])
async def test_it_works_over_whatever_multiplexer_the_host_has(muxer):
    host = libp2p.new_host(muxer_preference=muxer)
    assert isinstance(host, BasicHost)
    async with running(host), a_node() as node, KademliaService(host, config(bootstrap=node.addresses)) as service:
        await service.wait_ready(timeout=PATIENCE)
        await service.put_value(b"/v/key", b"value")
        assert await node.get_value(b"/v/key") == b"value"


@pytest.mark.scenario("W2")
@pytest.mark.parametrize("armoured", [True, False])
async def test_the_end_is_one_for_py_libp2p_too_however_slowly_it_reads(armoured, monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.pipe.LINGER", 0.05)
    said = os.urandom(100_000)

    async def tell(stream: INetStream) -> None:
        await stream.write(said)
        await stream.close()

    async with an_end() as ours, a_stock_host() as theirs, a_stock_host() as reader:
        host = ours.host if armoured else theirs
        async with nullcontext() if armoured else ForeignHost(theirs).open_network(protocol=PROTOCOL, max_message=1000):
            host.set_stream_handler(TProtocol("/tell/1"), tell)
            await reader.connect(info_from_p2p_addr(host.get_addrs()[0]))
            stream = await reader.new_stream(host.get_id(), [TProtocol("/tell/1")])
            guard = host.get_network().common_stream_handler
            await eventually(lambda: not guard._open)
            await trio.sleep(0.1)  # what it has to say about that would be here
            heard = b""
            with trio.fail_after(PATIENCE):
                while len(heard) < len(said):
                    heard += await stream.read(len(said))
            assert heard == said
            with pytest.raises(MuxedStreamEOF):
                await stream.muxed_stream.read(1)
