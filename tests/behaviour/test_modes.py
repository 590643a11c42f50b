"""Servers and clients, and networks that share hosts and connections."""

from __future__ import annotations

from hashlib import sha256

import pytest
import trio

from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import ConfigError, NetworkError, NoPeers, NotFound, RequestFailed
from p2pkad.events import ModeChanged
from p2pkad.net.base import Network, Request
from p2pkad.net.simulated import World
from p2pkad.node.service import KademliaService
from p2pkad.wire.addresses import parse_address, parse_peer
from tests.behaviour.conftest import BehaviourNetwork

CONTENT = b"\x12\x20" + sha256(b"content").digest()


def table(node: KademliaService) -> set[PeerId]:
    return {info.id for info in node.routing_table()}


async def knows_nobody(request: Request) -> FindNodeReply:
    return FindNodeReply(())


async def ask(peer: Network, node: KademliaService) -> object:
    asked = parse_peer(node.addresses[0])
    return (await peer.request(asked, FindNode(b"key"), trio.current_time() + 2)).message


@pytest.mark.scenario("M1")
@pytest.mark.on_real_hosts_too
async def test_a_client_uses_everything_and_serves_nothing(network: BehaviourNetwork) -> None:
    servers = await network.start(3)
    (client,) = await network.start(mode="client")
    peer = await network.start_peer(knows_nobody)
    with pytest.raises(RequestFailed):
        await ask(peer, client)
    await client.put_value(b"/v/key", b"value")
    assert await client.get_value(b"/v/key") == b"value"
    await client.provide(CONTENT)
    assert [info.id for info in await servers[2].find_providers(CONTENT)] == [client.id]
    assert (await client.find_peer(servers[1].id)).id == servers[1].id
    for server in servers:
        await server.refresh()
        assert client.id not in table(server)


@pytest.mark.scenario("M1")
@pytest.mark.on_real_hosts_too
async def test_a_server_that_turns_client_refuses_whom_it_answered_before(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    peer = await network.start_peer(knows_nobody)
    assert await ask(peer, node)
    await node.set_mode("client")
    with pytest.raises(NetworkError):
        await ask(peer, node)
    await node.set_mode("server")
    assert await ask(peer, node)


async def test_a_change_of_mode_that_the_host_refuses_changes_nothing_and_one_that_is_cancelled_is_told(
    network: BehaviourNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node,) = await network.start()
    told: list[ModeChanged] = []
    node.subscribe(told.append, ModeChanged)

    async def refuse(on: bool) -> None:
        raise ConfigError("something else on this host serves this protocol")

    async def push_for_ever(on: bool) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(node._network, "set_server", refuse)
    with pytest.raises(ConfigError, match="something else"):
        await node.set_mode("client")
    assert (node.mode, told) == ("server", [])
    monkeypatch.setattr(node._network, "set_server", push_for_ever)
    with trio.move_on_after(1):
        await node.set_mode("client")
    assert (node.mode, [event.mode for event in told]) == ("client", ["client"])


@pytest.mark.scenario("M2", "M3")
@pytest.mark.on_real_hosts_too
async def test_who_turns_server_is_known_over_the_connection_that_is_there(network: BehaviourNetwork) -> None:
    (server,) = await network.start()
    (other,) = await network.start(mode="client")
    await network.until(lambda: server.stats().peers == 1, "they are connected")
    assert not table(server)
    connected = server._network.connection(other.id)
    await other.set_mode("server")
    await network.until(lambda: table(server) == {other.id}, "the new server is known")
    await other.set_mode("client")
    await network.until(lambda: not table(server), "the client is gone")
    assert server._network.connection(other.id) == connected


@pytest.mark.scenario("M3")
@pytest.mark.on_real_hosts_too
async def test_who_dropped_the_protocol_is_not_asked_again_until_it_speaks_it(network: BehaviourNetwork) -> None:
    one, _two = await network.start(2)
    asked: list[Request] = []

    async def answer(request: Request) -> FindNodeReply:
        asked.append(request)
        return FindNodeReply(())

    peer = await network.start_peer(answer)
    await one.connect(PeerInfo(peer.id, peer.local_addresses()))
    await network.until(lambda: peer.id in table(one), "it is known")
    await peer.set_server(False)
    await network.until(lambda: peer.id not in table(one), "it has left")
    before = len(asked)
    await one.closest_peers(bytes(peer.id))
    assert len(asked) == before
    await peer.set_server(True)
    await network.until(lambda: peer.id in table(one), "it is back")


@pytest.mark.scenario("M4")
@pytest.mark.on_real_hosts_too
async def test_networks_with_other_names_are_nothing_to_each_other(network: BehaviourNetwork) -> None:
    names = ("/violence/kad/1.0.0", "/violence/kad/1.0.1", "/violence/kad/1.0.0/", "/Violence/kad/1.0.0")
    first, *others = [await network.start_one(protocol=name, bootstrap=()) for name in names]
    twin = await network.start_one(protocol=names[0], bootstrap=())
    for other in (*others, twin):
        await other.connect(first.addresses[0])
    await network.until(lambda: table(first) == {twin.id} and table(twin) == {first.id}, "those of one name know each other")
    assert first.stats().peers == 4
    for other in others:
        assert not table(other)
        with pytest.raises(NoPeers):
            await other.closest_peers(b"key")


@pytest.mark.scenario("M5", "M6")
@pytest.mark.on_real_hosts_too
async def test_services_on_one_host_are_nodes_of_different_networks(network: BehaviourNetwork) -> None:
    (one, two), (left, right) = [
        await network.start_on_one_host({"protocol": "/one/kad"}, {"protocol": "/two/kad", "mode": mode})
        for mode in ("server", "client")
    ]
    assert (one.id, one.protocol, two.protocol) == (two.id, "/one/kad", "/two/kad")
    for service in (left, right):
        await service.connect(one.addresses[0])
    await network.until(lambda: table(one) == {left.id}, "its twin is known")
    await network.until(lambda: table(right) == {two.id}, "one way only: the other one is a client")
    assert not table(two)
    await left.put_value(b"/v/key", b"of one")
    await right.put_value(b"/v/key", b"of two")
    assert [await service.local_value(b"/v/key") for service in (one, two)] == [b"of one", b"of two"]
    await two.set_mode("client")
    await network.until(lambda: not table(right), "it turned client in one network")
    assert (one.mode, table(one), table(left)) == ("server", {left.id}, {one.id})


@pytest.mark.scenario("M5")
async def test_a_wan_and_a_lan_network_share_a_node(network: BehaviourNetwork, world: World) -> None:
    networks = [{"protocol": "/x/kad/1.0.0", "scope": "wan"}, {"protocol": "/x/lan/kad/1.0.0", "scope": "lan"}]
    nodes = [await network.start_on_one_host(*networks) for _ in range(3)]
    middle, *others = nodes
    public = {wan.id: parse_address(f"/ip4/8.{8 + number}.0.1/tcp/4001") for number, (wan, _) in enumerate(nodes)}
    private = {lan.id: world.hosts[lan.id].addresses[0] for _, lan in nodes}
    for id_, place in public.items():
        world.hosts[id_].move((private[id_], place))
    for wan, lan in others:
        await wan.connect(PeerInfo(middle[0].id, (public[middle[0].id],)))
        await lan.connect(PeerInfo(middle[1].id, (private[middle[1].id],)))
    everybody = {service.id for service, _ in nodes}
    for service in (service for node in nodes for service in node):
        await network.until(lambda service=service: table(service) == everybody - {service.id}, "all are known")  # type: ignore[misc]
    for wan, lan in nodes:
        assert {place for info in wan.routing_table() for place in info.addresses} <= set(public.values())
        assert {place for info in lan.routing_table() for place in info.addresses} & set(private.values())
    await others[0][1].put_value(b"/v/key", b"at home")
    assert await others[1][1].get_value(b"/v/key") == b"at home"
    with pytest.raises(NotFound):
        await others[1][0].get_value(b"/v/key")


@pytest.mark.scenario("L10")
@pytest.mark.on_real_hosts_too
async def test_two_that_dial_each_other_at_the_same_instant_know_each_other_once(network: BehaviourNetwork) -> None:
    for _ in range(5):
        one, two = [await network.start_one(bootstrap=()) for _ in range(2)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.connect, two.addresses[0])
            nursery.start_soon(two.connect, one.addresses[0])
        await network.until(lambda one=one, two=two: (table(one), table(two)) == ({two.id}, {one.id}), "they know each other")  # type: ignore[misc]
        assert one.stats().peers == two.stats().peers == one.stats().table == two.stats().table == 1
        assert [info.id for info in await one.closest_peers(b"key")] == [two.id]
