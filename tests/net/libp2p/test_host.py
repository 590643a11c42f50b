"""The host: what it needs to run, what it leaves behind, how long it lasts."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing
from multiaddr import Multiaddr

from p2pkad.config import HostConfig
from p2pkad.core.peers import PeerId
from p2pkad.errors import ConfigError, P2pkadError
from p2pkad.identity import KEY_FILE
from p2pkad.net.base import Connected, Gone, Identified
from p2pkad.net.libp2p import new_host
from p2pkad.net.libp2p.yamux import Connection
from p2pkad.node.service import KademliaService
from tests.net.libp2p.ends import LOOPBACK, PATIENCE, an_end, eventually, soon
from tests.support.worlds import peer_id


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def run_into(config: HostConfig) -> ConfigError:
    """The error that running such a host ends with."""
    before = open_files(), tasks()
    with pytest.raises(ConfigError) as caught:
        async with new_host(config).run():
            pass
    await trio.testing.wait_all_tasks_blocked()
    assert (open_files(), tasks()) == before
    return caught.value


@pytest.mark.scenario("H7")
async def test_a_port_that_a_stranger_holds_is_an_error_that_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        address = f"/ip4/127.0.0.1/tcp/{stranger.getsockname()[1]}"
        error = await run_into(HostConfig(listen=(address,)))
    assert str(error) == (
        f"cannot listen on {address}: address in use. Stop the other program or pass --listen /ip4/0.0.0.0/tcp/0"
    )


@pytest.mark.scenario("H7")
async def test_a_port_that_another_host_of_ours_holds_is_an_error():
    async with an_end() as other:
        (address,) = other.info.addresses
        error = await run_into(HostConfig(listen=(address.text,)))
    assert "address in use" in str(error)


@pytest.mark.scenario("H7")
async def test_a_port_is_an_error_also_when_it_is_the_second_of_two():
    async with an_end() as other:
        (address,) = other.info.addresses
        await run_into(HostConfig(listen=("/ip4/127.0.0.1/tcp/0", address.text)))


@pytest.mark.scenario("H7")
@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense", "'nonsense' is no multiaddr"),
        ("/ip4/127.0.0.1/tcp/70000", "'/ip4/127.0.0.1/tcp/70000' is no multiaddr"),
        ("/ip4/127.0.0.1/udp/0", "TCP, QUIC and WebSocket are supported"),
        ("/ip4/192.0.2.77/udp/0/quic-v1", "Pass --listen /ip4/0.0.0.0/udp/0/quic-v1"),
        ("/ip4/192.0.2.77/tcp/0", "this machine has no such address"),
        ("/dns4/localhost/tcp/0", "TCP, QUIC and WebSocket are supported"),
    ],
)
async def test_an_address_that_cannot_be_listened_on_is_an_error(address, says):
    assert says in str(await run_into(HostConfig(listen=(address,))))


@pytest.mark.scenario("H7")
async def test_a_bad_key_file_is_an_error_of_the_configuration(tmp_path):
    (tmp_path / KEY_FILE).write_bytes(b"not a key")
    with pytest.raises(ConfigError, match=KEY_FILE):
        new_host(HostConfig(listen=LOOPBACK, data_dir=str(tmp_path)))


async def test_a_host_with_a_data_directory_keeps_its_id(tmp_path):
    config = HostConfig(listen=LOOPBACK, data_dir=str(tmp_path))
    assert new_host(config).id == new_host(config).id


# The last two are how programs end on purpose: in a group they would end with a traceback.
@pytest.mark.parametrize("raised", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
async def test_what_the_block_raises_comes_out_as_it_is(raised):
    with pytest.raises(raised):
        async with new_host(HostConfig(listen=LOOPBACK)).run():
            raise raised


async def test_a_service_takes_a_host_that_runs():
    host = new_host(HostConfig(listen=()))
    with pytest.raises(ConfigError, match="it does not run"):
        await KademliaService(host).__aenter__()
    async with host.run(), KademliaService(host) as service:
        assert service.addresses == ()


async def test_what_a_block_asks_of_the_host_first_is_done():
    for _ in range(10):  # which of two tasks begins is a matter of chance
        host = new_host(HostConfig(listen=()))
        async with host.run():
            assert host.backbone.running


async def test_a_host_runs_once():
    host = new_host(HostConfig(listen=LOOPBACK))
    async with host.run():
        pass
    with pytest.raises(ConfigError, match="once"):
        async with host.run():
            pass


async def test_the_addresses_to_listen_on_may_come_with_the_call():
    host = new_host(HostConfig(listen=("/ip4/127.0.0.1/tcp/1",)))
    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        assert len(host.get_transport_addrs()) == 1


async def test_a_wildcard_is_told_as_the_addresses_of_the_machine():
    async with an_end(listen=("/ip4/0.0.0.0/tcp/0",)) as end:
        texts = [address.text for address in end.info.addresses]
        assert any(text.startswith("/ip4/127.0.0.1/tcp/") for text in texts)
        assert not any("/0.0.0.0/" in text for text in texts)
        async with an_end() as other:
            await other.ask(end)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/ip4/0.0.0.0/tcp/4001", "leads nobody to this node"),
        ("/ip6/::/udp/4001/quic-v1", "leads nobody to this node"),
        ("/ip4/203.0.113.7/tcp/0", "leads nobody to this node"),
        ("/ip4/203.0.113.7/udp/0/quic-v1", "leads nobody to this node"),
        (f"/ip4/203.0.113.7/tcp/1/p2p/{peer_id(1)}", "names a peer"),
        (f"/ip4/203.0.113.7/tcp/1/p2p/{peer_id(1)}/p2p-circuit", "leads nobody to this node"),  # which speaks with no relay
        ("/ip4/224.0.0.1/tcp/4001", "cannot be used"),
        ("/ip4/203.0.113.7", "has no port. .* as /ip4/203.0.113.7/tcp/4001"),
        ("/dns4/node.example", "has no port"),
    ],
)
async def test_what_leads_nobody_here_is_not_announced(address, why):
    with pytest.raises(ConfigError, match=f"^announce: .*{why}"):
        new_host(HostConfig(announce=(address,)))


@pytest.mark.parametrize(
    "address",
    [
        "/dns4/node.example/tcp/4001",
        "/dnsaddr/node.example",
        "/ip4/203.0.113.7/udp/4001/quic-v1",
        "/dns4/node.example/tcp/443/wss",
    ],
)
async def test_what_others_understand_is_announced(address):
    async with an_end(announce=(address,)) as end:
        assert [each.text for each in end.network.local_addresses()] == [address]


async def test_what_is_announced_is_told_instead_of_what_is_listened_on():
    async with an_end(announce=("/ip4/203.0.113.7/tcp/4001",)) as end:
        assert [address.text for address in end.info.addresses] == ["/ip4/203.0.113.7/tcp/4001"]
        assert end.host.get_addrs() == [Multiaddr(f"/ip4/203.0.113.7/tcp/4001/p2p/{end.id}")]


async def test_a_host_without_an_address_dials_and_is_found_over_its_connection():
    async with an_end(listen=()) as hidden, an_end() as other:
        await hidden.ask(other)
        assert hidden.info.addresses == ()
        assert hidden.id in other.network.connections()


@pytest.mark.parametrize("security", [("noise",), ("tls",), ("tls", "noise")])
async def test_both_security_transports_connect(security):
    async with an_end(security=security) as one, an_end() as other:
        await one.ask(other)
        held = one.host.backbone.find(other.id)
        assert held is not None
        assert security[0] in (held.handle.get_negotiated_security_protocol() or "")
        assert held.remote_address in other.info.addresses
        (request,) = other.requests
        assert request.remote_address is not None
        assert request.remote_address.text.startswith("/ip4/127.0.0.1/tcp/")
        (there,) = other.host.get_network().get_connections()
        assert [str(each) for each in there.get_transport_addresses()] == [request.remote_address.text]


async def test_peers_reach_each_other_over_ipv6():
    async with an_end(listen=("/ip6/::1/tcp/0",)) as one, an_end(listen=("/ip6/::1/tcp/0",)) as other:
        await one.ask(other)
        (connection,) = other.network.connections().values()
        assert connection.remote_address is not None
        assert connection.remote_address.text.startswith("/ip6/::1/tcp/")


@pytest.mark.scenario("H2")
async def test_of_a_connection_that_is_over_neither_end_keeps_anything():
    async with an_end() as caller, an_end() as called:
        before = tasks(), open_files()
        await caller.ask(called)
        assert (tasks(), open_files()) > before
        await caller.network.disconnect(called.id)
        await eventually(lambda: len(called.told(Gone)) == 1)
        await eventually(lambda: (tasks(), open_files()) == before)


@pytest.mark.scenario("H2")
async def test_of_peers_that_have_left_nothing_is_remembered():
    async with an_end() as called:
        swarm = called.host.get_network()
        tables = {
            id(table): (name, table)
            for part in (swarm, swarm.auto_connector, swarm.backbone, swarm.backbone.identifier)
            for name, table in vars(part).items()
            if isinstance(table, dict | list | set)
        }
        before = {name: len(table) for name, table in tables.values()}
        for number in range(1, 6):
            async with an_end() as caller:
                await caller.ask(called)
            await called.hears(Gone, count=number)
        assert {name: len(table) for name, table in tables.values()} == before


@pytest.mark.scenario("H2")
async def test_a_connection_that_is_over_as_it_begins_is_not_kept(monkeypatch):
    async def ends_at_once(self: Connection) -> None:
        self.event_started.set()
        await trio.lowlevel.checkpoint()  # as where the other end hangs up right behind its handshake
        self._end()
        await self._hang_up()

    async with an_end() as caller, an_end() as called:
        before = tasks()
        monkeypatch.setattr(Connection, "start", ends_at_once)
        for _ in range(5):
            with suppress(P2pkadError):
                await caller.network.connect(called.info, soon())
        await eventually(lambda: tasks() == before)
        assert [end.host.get_network().connections for end in (caller, called)] == [{}, {}]


@pytest.mark.long
@pytest.mark.scenario("H2")
async def test_after_2000_inbound_connections_there_is_room_and_nothing_left_of_them():
    # Handshakes have the time that a dial has. So few at once, and so much of it, that no machine is too busy for them.
    async with an_end() as caller, an_end(dial_timeout=PATIENCE) as called:
        swarm = caller.host.get_network()
        address = Multiaddr(f"{called.info.addresses[0].text}/p2p/{called.id}")
        before = tasks(), open_files()

        def nothing_left() -> bool:
            over = len(called.told(Connected)) == len(called.told(Gone))
            return over and tasks() <= before[0] and open_files() <= before[1]

        async def call(count: int) -> None:
            for _ in range(count):
                raw = await swarm.transport_manager.transport_for_dialing(address).dial(address)
                secure = await swarm.upgrader.upgrade_security(raw, True, called.host.get_id())
                await swarm.upgrader.upgrade_connection(secure, called.host.get_id())
                await secure.close()

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(call, 250)
        await eventually(nothing_left)  # not "no connection": between the last ones there is none either
        assert len(called.told(Connected)) > 1
        await caller.ask(called)
        await caller.network.disconnect(called.id)
        await eventually(nothing_left)


@pytest.mark.scenario("H2")
async def test_after_2000_known_peers_the_own_key_is_there_and_the_tables_are_bounded():
    async with an_end() as one, an_end() as other:
        store = one.host.get_peerstore()
        for number in range(2000):
            peer = PeerId(b"\x12\x20" + number.to_bytes(32, "big"))
            store.add_addrs(foreign(peer), [Multiaddr("/ip4/192.0.2.1/tcp/1")], 100)
            store.add_protocols(foreign(peer), ["/x"])
        assert len(store.peer_ids()) <= 1001
        assert one.host.get_private_key()
        await one.ask(other)
        await other.network.disconnect(one.id)
        await other.ask(one)


@pytest.mark.scenario("H8")
async def test_a_cancelled_host_leaves_nothing_behind():
    before = tasks(), open_files()
    with trio.move_on_after(0.3):
        async with an_end() as one, an_end() as other:
            await one.ask(other)
            await trio.sleep_forever()
    await trio.testing.wait_all_tasks_blocked()
    assert (tasks(), open_files()) == before


def foreign(peer: PeerId):
    from libp2p.peer.id import ID

    return ID(bytes(peer))


@pytest.mark.scenario("H8")
async def test_when_closing_is_cut_short_the_sockets_of_strangers_are_closed_all_the_same():
    host = new_host(HostConfig(listen=LOOPBACK, close_timeout=1e-9))
    transport = host._swarm._transports[0]
    async with host.run():
        port = int(host.get_transport_addrs()[0].value_for_protocol("tcp"))
        stranger = await trio.open_tcp_stream("127.0.0.1", port)
        await eventually(lambda: transport._open)
        (accepted,) = transport._open
    assert accepted.stream.socket.fileno() == -1
    await stranger.aclose()


class Hearing:
    """A notifee that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Callable[[object, object], Awaitable[None]]:
        async def note(network: object, what: object) -> None:
            self.told.append(name)

        return note


async def spawned(action: Callable[[], Awaitable[None]]) -> int:
    """How many tasks were started, by anybody, while this was done."""
    started: list[trio.lowlevel.Task] = []

    class Count(trio.abc.Instrument):
        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            started.append(task)

    count = Count()
    trio.lowlevel.add_instrument(count)
    try:
        await action()
    finally:
        trio.lowlevel.remove_instrument(count)
    return len(started)


async def test_an_applications_notifee_hears_of_streams_and_without_one_they_cost_no_tasks():
    hearing = Hearing()
    async with an_end() as server, an_end() as client:
        await client.network.connect(server.info, trio.current_time() + PATIENCE)
        held = client.host.backbone.find(server.id)
        assert held is not None
        await server.hears(Identified)
        await client.hears(Identified)
        await trio.testing.wait_all_tasks_blocked()

        async def open_and_close() -> None:
            stream = await held.handle.new_stream()
            await stream.close()

        assert await spawned(open_and_close) == 0
        client.host.get_network().register_notifee(hearing)  # type: ignore[arg-type]  # answers whatever it is asked
        assert await spawned(open_and_close) > 0
        assert hearing.told == ["opened_stream", "closed_stream"]
