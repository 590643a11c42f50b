"""TCP, WebSocket and QUIC keep the same promises: what a connection costs, what it leaves, what strangers can do to it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from libp2p.io.exceptions import ConnectionClosedError
from multiaddr import Multiaddr

from p2pkad.config import HostConfig
from p2pkad.core.messages import AnyReply, PutValue
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import ConfigError, P2pkadError, PeerBusy, PeerUnreachable
from p2pkad.identity import Identity
from p2pkad.net.base import Connected, Gone, Request
from p2pkad.net.libp2p import new_host
from p2pkad.net.libp2p.arrivals import Arrivals
from p2pkad.net.libp2p.host import ArmouredSwarm
from p2pkad.net.libp2p.quic import UNPROVEN, Listener
from p2pkad.net.libp2p.quic_connection import BAD_CERTIFICATE, Connection
from p2pkad.net.libp2p.quic_core import WINDOW, Core
from p2pkad.net.libp2p.transport import Place, Stream
from p2pkad.wire.addresses import parse_address
from tests.net.libp2p.ends import PATIENCE, End, an_end, ends, eventually, soon
from tests.net.libp2p.test_dialer import PEER
from tests.support.census import Census, census

LISTEN = {"tcp": "/ip4/127.0.0.1/tcp/0", "ws": "/ip4/127.0.0.1/tcp/0/ws", "quic": "/ip4/127.0.0.1/udp/0/quic-v1"}
IPV6 = {"tcp": "/ip6/::1/tcp/0", "ws": "/ip6/::1/tcp/0/ws", "quic": "/ip6/::1/udp/0/quic-v1"}
NEW = ("ws", "quic")

each = pytest.mark.parametrize("transport", LISTEN)
each_new = pytest.mark.parametrize("transport", NEW)


def at(transport: str, **options: Any) -> dict[str, Any]:
    """Options of a host on one transport."""
    return {"listen": (LISTEN[transport],), **options}


async def settled() -> Census:
    await trio.testing.wait_all_tasks_blocked(0.02)
    return census()


# what works


@each
async def test_a_connection_knows_where_it_leads_and_serves_both_ways(transport):
    async with ends(2, **at(transport)) as (one, other):
        await one.ask(other)
        await other.ask(one)
        assert await one.network.ping(other.info, soon()) > 0
        (held,) = one.network.connections().values()
        assert held.remote_address in other.info.addresses
        (request,) = other.requests
        assert request.remote_address is not None
        ours, _, rest = request.remote_address.text.rpartition(request.remote_address.text.split("/")[4])
        assert LISTEN[transport] == f"{ours}0{rest}"
        assert len(one.host.get_network().get_connections()) == 1


@each
async def test_peers_reach_each_other_over_ipv6(transport):
    async with ends(2, listen=(IPV6[transport],)) as (one, other):
        await one.ask(other)
        await other.network.disconnect(one.id)
        await other.ask(one)


@pytest.mark.long
@each
async def test_large_messages_arrive_whole_both_ways(transport):
    value = os.urandom(3 * WINDOW)
    async with ends(2, **at(transport)) as (one, other):
        for _ in range(3):  # a stream is granted more than its first window
            reply = await one.network.request(other.info, PutValue(b"key", Record(b"key", value)), soon())
            assert reply.message.record.value == value


@each_new
async def test_a_host_on_several_transports_is_told_of_each(transport):
    async with an_end(listen=tuple(LISTEN.values())) as one, an_end(listen=()) as other:
        assert len(one.info.addresses) == 3
        (only,) = [address for address in one.info.addresses if LISTEN[transport].rpartition("/")[2] in address.text]
        await other.ask(PeerInfo(one.id, (only,)))


async def test_transports_are_dialled_in_the_order_of_the_option_and_no_other_is():
    async with an_end(listen=tuple(LISTEN.values())) as called:
        for order in (("quic", "tcp"), ("ws", "quic"), ("tcp",)):
            async with an_end(listen=(), dial_transports=order) as caller:
                await caller.ask(called)
                (held,) = caller.network.connections().values()
                assert held.remote_address is not None
                ending = {"quic": "quic-v1", "ws": "ws", "tcp": held.remote_address.text.rpartition("/")[2]}[order[0]]
                assert held.remote_address.text.endswith(ending)
        quic_only = tuple(address for address in called.info.addresses if "quic" in address.text)
        async with an_end(listen=(), dial_transports=("tcp",)) as caller:
            with pytest.raises(PeerUnreachable, match="no transport for it"):
                await caller.ask(PeerInfo(called.id, quic_only))


def test_a_port_has_one_transport():
    with socket.create_server(("127.0.0.1", 0)) as probing:
        port = probing.getsockname()[1]
    listen = (f"/ip4/127.0.0.1/tcp/{port}", f"/ip4/127.0.0.1/tcp/{port}/ws")
    with pytest.raises(ConfigError, match="Give each a port of its own"):
        trio.run(_run, HostConfig(listen=listen))


async def _run(config: HostConfig) -> None:
    async with new_host(config).run():
        pass


@each_new
@pytest.mark.scenario("H7")
async def test_a_port_that_another_host_holds_is_an_error(transport):
    async with an_end(**at(transport)) as other:
        (address,) = other.info.addresses
        with pytest.raises(ConfigError, match=r"address in use.*--listen /ip4/0\.0\.0\.0/"):
            await _run(HostConfig(listen=(address.text,)))


@each_new
async def test_a_wildcard_is_told_as_the_addresses_of_the_machine(transport):
    async with an_end(listen=(LISTEN[transport].replace("127.0.0.1", "0.0.0.0"),)) as end, an_end() as other:
        texts = [address.text for address in end.info.addresses]
        assert any(text.startswith("/ip4/127.0.0.1/") for text in texts)
        assert not any("0.0.0.0" in text for text in texts)
        await other.ask(end)


# what it costs, and leaves


@pytest.mark.long
@pytest.mark.scenario("H2")
@each_new
async def test_after_200_inbound_connections_there_is_room_and_nothing_left_of_them(transport):
    async with an_end(**at(transport)) as called, an_end() as caller:
        before = await settled()
        for _ in range(200):
            await caller.network.connect(called.info, soon())
            await caller.network.disconnect(called.id)
        await eventually(lambda: len(called.told(Gone)) == 200)
        await eventually(lambda: (census() - before).tasks <= 0 and (census() - before).descriptors <= 0)
        assert len(called.told(Connected)) == 200
        await caller.ask(called)


@pytest.mark.long
@pytest.mark.scenario("H2")
@each_new
async def test_sixty_peers_get_their_answers_from_a_host_with_room_for_twenty(transport):
    limits: dict[str, Any] = {"max_connections": 20, "connection_reserve": 2}
    most = 0
    async with an_end(**at(transport), **limits) as called, trio.open_nursery() as nursery:

        async def call() -> None:
            nonlocal most
            async with an_end(listen=()) as caller:
                while True:
                    with suppress(PeerBusy, PeerUnreachable):
                        await caller.ask(called)
                        break
                most = max(most, len(called.host.backbone.connections))

        for _ in range(60):
            nursery.start_soon(call)
    assert 0 < most <= 20


@pytest.mark.scenario("H8")
@each
async def test_a_cancelled_host_leaves_nothing_behind(transport):
    before = await settled()
    with trio.CancelScope() as scope:
        async with ends(3, **at(transport)) as (one, other, third):
            await one.ask(other)
            await other.ask(third)
            scope.cancel()
    assert await settled() == before


@pytest.mark.scenario("H8")
@each
async def test_a_host_that_closes_tells_its_peers(transport):
    before = await settled()
    async with an_end(**at(transport)) as stays:
        async with an_end(**at(transport)) as goes:
            await goes.ask(stays)
            await stays.ask(goes)
        await stays.hears(Gone)
    assert await settled() == before


@pytest.mark.long
@pytest.mark.scenario("H8")
@each
async def test_a_dial_that_is_cancelled_anywhere_leaves_nothing(transport):
    async with an_end(**at(transport)) as called, an_end(listen=()) as caller:
        before = await settled()
        for steps in range(0, 60, 3):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(caller.network.connect, called.info, soon())
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            await caller.network.disconnect(called.id)
        await eventually(lambda: census() == before)
        await caller.ask(called)


# what strangers do


@asynccontextmanager
async def nobody(transport: str, *, silent: bool) -> AsyncIterator[PeerInfo]:
    """A peer that does not answer: a socket that nobody reads, or a port where nobody listens."""
    kind = socket.SOCK_DGRAM if transport == "quic" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as bound:
        bound.bind(("127.0.0.1", 0))
        if silent and kind == socket.SOCK_STREAM:
            bound.listen()
        port = bound.getsockname()[1]
        if not silent:
            bound.close()
        suffix = {"tcp": "", "ws": "/ws", "quic": "/quic-v1"}[transport]
        text = f"/ip4/127.0.0.1/{'udp' if transport == 'quic' else 'tcp'}/{port}{suffix}"
        yield PeerInfo(PEER, (parse_address(text),))


@pytest.mark.scenario("H3")
@each
async def test_a_silent_listener_costs_the_dial_deadline_and_leaves_nothing(transport):
    async with nobody(transport, silent=True) as mute, an_end(dial_timeout=0.3) as one:
        before = await settled()
        with pytest.raises(PeerUnreachable, match=r"no answer within 0\.3 s"):
            await one.network.connect(mute, soon())
        await eventually(lambda: census() == before)


@pytest.mark.scenario("H3")
@each
async def test_a_port_where_nobody_listens_says_so(transport):
    async with nobody(transport, silent=False) as absent, an_end(dial_timeout=PATIENCE) as one:
        with pytest.raises(PeerUnreachable, match="connection refused"):
            await one.network.connect(absent, soon())


@each
async def test_another_peer_at_the_address_is_found_out(transport):
    async with ends(2, **at(transport)) as (one, other):
        with pytest.raises(PeerUnreachable, match="another peer answers there"):
            await one.network.connect(PeerInfo(PEER, other.info.addresses), soon())
        await one.ask(other)


@pytest.mark.scenario("H4")
@each_new
async def test_who_is_not_let_in_is_told_that_there_is_no_room(transport, monkeypatch):
    async def hold(request: Request) -> AnyReply | None:
        await trio.sleep_forever()

    monkeypatch.setattr("p2pkad.net.libp2p.backbone.PATIENCE", 0.05)
    async with (
        an_end(**at(transport), max_connections=4, connection_reserve=0) as full,
        ends(5, handler=hold) as others,
        trio.open_nursery() as nursery,
    ):
        for other in others[:4]:
            nursery.start_soon(full.ask, other)
        await eventually(lambda: all(other.requests for other in others[:4]))
        with pytest.raises(PeerBusy):
            await others[4].network.connect(full.info, soon())
        nursery.cancel_scope.cancel()


def port_of(end: End) -> int:
    (address,) = end.info.addresses
    return int(address.text.split("/")[4])


SPEECHES = {
    "nothing": b"",
    "noise": b"\x13/multistream/1.0.0\n",
    "a page": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "post": b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    "endless": b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000,
    "no text": bytes(range(256)),
    "upgrade, then no frames": (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + b"\xff" * 100
    ),
}


@pytest.mark.scenario("H1", "H2")
@pytest.mark.parametrize("speech", SPEECHES)
async def test_who_speaks_no_websocket_harms_nobody(speech):
    async with an_end(**at("ws", dial_timeout=0.5)) as called, an_end(listen=()) as caller:
        before = await settled()
        for _ in range(10):
            stranger = await trio.open_tcp_stream("127.0.0.1", port_of(called))
            with suppress(trio.BrokenResourceError):
                await stranger.send_all(SPEECHES[speech])
            await stranger.aclose()
        await eventually(lambda: census() == before)
        await caller.ask(called)


DATAGRAMS = {
    "nothing": b"",
    "short": b"\x40",
    "zeros": bytes(1200),
    "ones": b"\xff" * 1200,
    "large": os.urandom(60_000),
    "an unknown version": b"\xc0\x0a\x0a\x0a\x0a\x08" + b"d" * 8 + b"\x08" + b"s" * 8 + bytes(1200),
    "a version negotiation": b"\xc0\0\0\0\0\x08" + b"d" * 8 + b"\x08" + b"s" * 8 + bytes(1200),
    "an initial of noise": b"\xc0\0\0\0\x01\x08" + b"d" * 8 + b"\x08" + b"s" * 8 + b"\0\x44\xd0" + bytes(1200),
}


@pytest.mark.scenario("H1", "H2")
@pytest.mark.parametrize("datagram", DATAGRAMS)
async def test_who_speaks_no_quic_harms_nobody(datagram):
    async with an_end(**at("quic", dial_timeout=0.3)) as called, an_end(listen=(), dial_timeout=PATIENCE) as caller:
        before = await settled()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(20):
                stranger.sendto(DATAGRAMS[datagram], ("127.0.0.1", port_of(called)))
            await caller.ask(called)
        await caller.network.disconnect(called.id)
        await eventually(lambda: census() == before)


@pytest.mark.scenario("H2")
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root can send a datagram that comes from no port")
async def test_a_datagram_that_nobody_can_answer_costs_nobody_the_listener():
    async with an_end(**at("quic")) as called, an_end(listen=()) as caller:
        port, datagram = port_of(called), DATAGRAMS["an unknown version"]
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as stranger:
            stranger.sendto(struct.pack("!HHHH", 0, port, 8 + len(datagram), 0) + datagram, ("127.0.0.1", 0))
        await settled()
        await caller.ask(called)


async def test_a_peer_whose_router_gives_it_another_port_is_answered_there():
    def door() -> trio.socket.SocketType:
        return trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async with an_end(**at("quic")) as called, an_end(listen=()) as caller:
        with door() as inside, door() as first, door() as second:
            for each_door in (inside, first, second):
                await each_door.bind(("127.0.0.1", 0))
            used, homes = [first], []

            async def carry_out() -> None:
                while True:
                    data, home = await inside.recvfrom(65536)
                    homes.append(home)
                    await used[-1].sendto(data, ("127.0.0.1", port_of(called)))

            async def carry_in(through: trio.socket.SocketType) -> None:
                while True:
                    data, _ = await through.recvfrom(65536)
                    if through is used[-1]:
                        await inside.sendto(data, homes[-1])

            async with trio.open_nursery() as nursery:  # ended before the doors are closed
                nursery.start_soon(carry_out)
                nursery.start_soon(carry_in, first)
                nursery.start_soon(carry_in, second)
                router = parse_address(f"/ip4/127.0.0.1/udp/{inside.getsockname()[1]}/quic-v1")
                await caller.network.connect(PeerInfo(called.id, (router,)), soon())
                await caller.ask(called)
                used.append(second)
                await caller.ask(called)
                assert len(called.told(Connected)) == 1
                nursery.cancel_scope.cancel()


async def test_who_waits_to_write_on_a_socket_comes_before_what_is_written_later():
    # What TLS has sealed must leave in that order: its records are numbered.
    much, rest = 2_000_000, b"first waited later"
    here, there = trio.socket.socketpair()
    stream, received = Stream(trio.SocketStream(here), lambda stream: None, Arrivals()), bytearray()

    async def one_after_the_other() -> None:
        await stream.write(bytes(much) + b"first ")
        await stream.write(b"later")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_after_the_other)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(stream.write, b"waited ")
        await trio.testing.wait_all_tasks_blocked()
        while len(received) < much + len(rest):
            received += await there.recv(65536)
    assert bytes(received[much:]) == rest
    there.close()
    await stream.close()


async def test_a_listener_that_is_closed_ends_the_connections_that_it_has_accepted():
    async with an_end() as one, an_end() as other:
        await one.ask(other)
        swarm = other.host.get_network()
        assert isinstance(swarm, ArmouredSwarm)
        (connection,) = swarm.get_connections()
        for listener in swarm.listeners.values():
            await listener.close()
        await eventually(lambda: connection.muxed_conn.is_closed)


async def test_what_two_write_to_one_stream_at_once_is_not_mixed():
    here, there = trio.socket.socketpair()
    stream = Stream(trio.SocketStream(here), lambda stream: None, Arrivals())
    size = 2_000_000  # more than a socket takes at once
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, b"a" * size)
        nursery.start_soon(stream.write, b"b" * size)
        while len(received) < 2 * size:
            received += await there.recv(65536)
    there.close()
    assert bytes(received) in (b"a" * size + b"b" * size, b"b" * size + b"a" * size)
    assert await stream.read() == b""
    with pytest.raises(ConnectionClosedError):
        await stream.write(b"late")
    await stream.close()


def first_datagram(stranger: socket.socket, port: int) -> bytes:
    """What opens a QUIC connection that goes no further."""
    core = QuicConnection(configuration=QuicConfiguration(is_client=True, alpn_protocols=["libp2p"]))
    core.connect(("127.0.0.1", port), now=0.0)
    return core.datagrams_to_send(now=0.0)[0][0]


@pytest.mark.long
@pytest.mark.scenario("H2")
async def test_handshakes_that_go_no_further_give_their_places_back_and_many_at_once_take_none():
    async with an_end(**at("quic", dial_timeout=0.5)) as called, an_end(listen=(), dial_timeout=PATIENCE) as caller:
        before = await settled()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(100):
                stranger.sendto(first_datagram(stranger, port_of(called)), ("127.0.0.1", port_of(called)))
            (listener,) = called.host.get_network().listeners.values()
            most = 0
            for _ in range(1000):
                await trio.lowlevel.checkpoint()
                most = max(most, listener._handshakes)
            assert 0 < most <= UNPROVEN
            await caller.ask(called)  # it shows that its address is its own
        await caller.network.disconnect(called.id)
        await eventually(lambda: census() == before)
        assert listener._handshakes == 0
        assert not called.host.backbone._handshakes, "their places on the host"


@pytest.mark.scenario("H2")
@pytest.mark.parametrize("most", [4, 16])
async def test_forged_addresses_keep_nobody_out(most):
    options = at("quic", dial_timeout=PATIENCE, max_connections=most, connection_reserve=1)
    async with an_end(**options) as called, an_end(listen=()) as caller:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            for _ in range(100):
                forger.sendto(first_datagram(forger, port_of(called)), ("127.0.0.1", port_of(called)))
            (listener,) = called.host.get_network().listeners.values()
            await eventually(lambda: listener._handshakes > 0)
            await caller.ask(called)
            assert len(called.host.backbone._handshakes) <= most // 4, "those that nothing is known of"


async def raw_quic(caller: End, called: End) -> Connection:
    """A QUIC connection without a swarm around it."""
    address = Multiaddr(f"{called.info.addresses[0].text}/p2p/{called.id}")
    transport = caller.host.get_network().transport_manager.transport_for_dialing(address)
    connection = await transport.dial(address)
    assert isinstance(connection, Connection)
    return connection


@pytest.mark.scenario("H1")
async def test_hostile_streams_of_a_quic_connection_harm_nobody():
    async with an_end(**at("quic")) as called, an_end() as caller, an_end() as bystander:
        await bystander.ask(called)
        connection = await raw_quic(caller, called)
        for said in (b"\x03\xff\xfe\n", b"\x13/multistream/1.0.0\n\x03\xff\xfe\n", b"\xff" * 1000, b""):
            for ending in ("close", "reset"):
                stream = await connection.open_stream()
                await stream.write(said)
                await getattr(stream, ending)()
        await bystander.ask(called)
        await connection.close()
        await eventually(lambda: len(called.network.connections()) == 1)


@pytest.mark.scenario("H2")
async def test_what_nobody_reads_of_a_quic_stream_is_bounded():
    async with an_end(**at("quic")) as called, an_end() as caller:
        unread: list[Any] = []

        async def keep(stream: Any) -> None:
            unread.append(stream)
            await trio.sleep_forever()

        called.host.set_stream_handler("/unread", keep)
        connection = await raw_quic(caller, called)
        stream = await connection.open_stream()
        await stream.write(b"\x13/multistream/1.0.0\n\x08/unread\n")
        sent = 0
        with trio.move_on_after(2):
            while True:
                await stream.write(bytes(WINDOW // 4))
                sent += WINDOW // 4
        (kept,) = unread
        muxed = getattr(kept.muxed_stream, "_muxed", kept.muxed_stream)
        assert WINDOW // 2 <= muxed.unread <= 2 * WINDOW
        assert sent < 4 * WINDOW
        await connection.close()


@pytest.mark.scenario("H4")
async def test_what_a_peer_takes_none_of_is_kept_for_so_many_streams_and_no_more(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.pipe.LINGER", 0.01)
    monkeypatch.setattr("p2pkad.net.libp2p.quic.WINDOW", 100)
    monkeypatch.setattr("p2pkad.net.libp2p.quic_core.WINDOW", 100)
    told = 0

    async def tell(stream: Any) -> None:
        nonlocal told
        told += 1
        await stream.write(bytes(1000))
        await stream.close()

    async with an_end(**at("quic")) as called, an_end() as caller:
        called.host.set_stream_handler("/tell", tell)
        connection = await raw_quic(caller, called)
        for _ in range(300):
            stream = await connection.open_stream()
            await stream.write(b"\x13/multistream/1.0.0\n\x06/tell\n")
        (held,) = called.host.get_network().get_connections()
        await eventually(lambda: told >= 100)
        await eventually(lambda: not held.muxed_conn._streams)
        await trio.sleep(0.1)  # whatever more of them could come would come
        assert told <= len(held.muxed_conn._core._streams) <= 130
        await connection.close()


@pytest.mark.long
@pytest.mark.scenario("H2")
async def test_a_quic_connection_forgets_its_streams():
    async with an_end(**at("quic")) as called, an_end() as caller:
        called.network.serve(lambda request: (_ for _ in ()).throw(ValueError))  # each stream is reset
        for _ in range(300):  # more than a peer may have open at once
            with suppress(P2pkadError):
                await caller.ask(called)
        for end in (caller, called):
            (connection,) = end.host.get_network().get_connections()
            await eventually(lambda held=connection: len(held.muxed_conn._streams) < 10)
            await eventually(lambda held=connection: len(held.muxed_conn._core._streams) < 20)
            assert len(connection.muxed_conn._seen) < 20


async def test_a_quic_connection_outlives_silence_and_ends_with_its_peer(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.quic_connection.KEEP_ALIVE", 0.2)
    monkeypatch.setattr("p2pkad.net.libp2p.quic.IDLE_TIMEOUT", 1.0)
    async with an_end(**at("quic")) as called, an_end() as caller:
        await caller.ask(called)
        await trio.sleep(2)
        assert not caller.told(Gone)
        (connection,) = called.host.get_network().get_connections()
        connection.muxed_conn._end()  # as if its process had been killed
        await caller.hears(Gone)


async def test_a_peer_may_change_its_connection_ids():
    async with an_end(**at("quic")) as called, an_end() as caller:
        for _ in range(20):  # go does after its handshake, and from time to time
            await caller.ask(called)
            (connection,) = caller.host.get_network().get_connections()
            connection.muxed_conn._core.change_connection_id()
        assert len(called.told(Connected)) == 1


@pytest.mark.scenario("H4")
@pytest.mark.parametrize("busy", [0.0, 0.1], ids=["at rest", "on a busy machine"])
async def test_a_peer_without_a_certificate_is_not_let_in_and_is_told(busy, monkeypatch):
    async def send(listener: Listener, data: bytes, to: tuple[str, int], send: Any = Listener._send) -> None:
        await send(listener, data, to)
        await trio.sleep(busy)  # the peer answers the first datagram while the second is under way

    monkeypatch.setattr(Listener, "_send", send)
    async with an_end(**at("quic", dial_timeout=PATIENCE)) as called:
        assert await how_it_ends(called, certificate=False) >= QuicErrorCode.CRYPTO_ERROR
        assert not called.told(Connected)


async def how_it_ends(called: End, *, certificate: bool = True) -> int:
    """The code with which a listener ends the connection of a stranger that speaks QUIC, and nothing above it."""
    configuration = called.host.get_network()._transports[2].configuration(is_client=True)
    if not certificate:
        configuration.certificate = configuration.private_key = None
    core = QuicConnection(configuration=configuration)
    there = ("127.0.0.1", port_of(called))
    core.connect(there, now=trio.current_time())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        with trio.move_on_after(PATIENCE):
            while core._close_event is None:
                timer = core.get_timer()
                if timer is not None and trio.current_time() >= timer:
                    core.handle_timer(now=trio.current_time())
                for data, to in core.datagrams_to_send(now=trio.current_time()):
                    stranger.sendto(data, to)
                await trio.sleep(0.01)
                with suppress(BlockingIOError):
                    core.receive_datagram(stranger.recv(65536), there, now=trio.current_time())
    assert core._close_event is not None
    return core._close_event.error_code


async def test_a_stranger_that_is_not_let_in_over_quic_is_told_so_in_the_terms_of_quic(monkeypatch):
    async def nobody(place: Place) -> bool:
        return False

    async with an_end(**at("quic")) as called:
        monkeypatch.setattr(called.host.get_network()._transports[2], "admit", nobody)
        assert await how_it_ends(called) == QuicErrorCode.CONNECTION_REFUSED


async def test_a_listener_over_quic_is_told_that_it_is_taken_for_somebody_else(monkeypatch):
    said: list[int] = []

    def ending(core: Core, ending: Any = Core.ending) -> Exception | None:
        if not core._is_client and core._close_event is not None:
            said.append(core._close_event.error_code)
        return ending(core)

    monkeypatch.setattr(Core, "ending", ending)
    async with an_end(**at("quic")) as called, an_end() as caller:
        with pytest.raises(PeerUnreachable, match="another peer answers there"):
            await caller.network.connect(PeerInfo(PEER, called.info.addresses), soon())
        await eventually(lambda: said)
    assert said[0] == BAD_CERTIFICATE


def test_identities_of_every_kind_have_a_certificate():
    from libp2p.crypto import rsa, secp256k1

    for pair in (secp256k1.create_new_key_pair(), rsa.create_new_key_pair(2048)):
        trio.run(_reach, Identity(pair))


async def _reach(identity: Identity) -> None:
    async with an_end(**at("quic"), identity=identity) as one, an_end() as other:
        await other.ask(one)
        assert one.id in other.network.connections()
