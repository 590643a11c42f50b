"""A node that closes, is cancelled, or was never opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
import trio
import trio.testing

import p2pkad
from p2pkad.config import KademliaConfig
from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import ConfigError, LocalProtocolError, NodeClosed, NoPeers, NotReady
from p2pkad.identity import Identity
from p2pkad.net.base import Request
from p2pkad.net.simulated import World
from p2pkad.node.service import KademliaService
from tests.behaviour.conftest import BehaviourNetwork
from tests.support.neighbours import refused_address
from tests.support.worlds import hosted


@asynccontextmanager
async def alone(world: World) -> AsyncIterator[KademliaService]:
    with hosted(world, 1) as host:
        async with KademliaService(host) as node:
            yield node


CONTENT = b"\x12\x20" + sha256(b"content").digest()


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    with pytest.raises(NoPeers):
        async with p2pkad.open_node(listen=["/ip4/127.0.0.1/tcp/0"]) as node:
            await node.closest_peers(b"key")


@pytest.mark.scenario("H8")
async def test_closing_twice_is_closing_once(world: World) -> None:
    async with alone(world) as node:
        await node.aclose()
        await node.aclose()
        with pytest.raises(NodeClosed):
            await node.closest_peers(b"key")
    await node.aclose()


async def test_calls_under_way_end_when_the_node_closes(world: World, nursery: trio.Nursery) -> None:
    ended: list[BaseException] = []

    async def wait() -> None:
        try:
            await node.wait_ready()
        except NodeClosed as error:
            ended.append(error)

    async with alone(world) as node:
        nursery.start_soon(wait)
        await trio.sleep(0.1)
    await trio.sleep(0.1)
    assert len(ended) == 1


async def test_waiting_for_peers_that_do_not_come_says_how_many_came(world: World) -> None:
    async with alone(world) as node:
        with pytest.raises(NotReady) as never:
            await node.wait_ready(peers=2, timeout=0.01)
    assert str(never.value) == "0 of 2 peers in the routing table after 0.01 s: there are no bootstrap peers"


async def test_waiting_for_bootstrap_peers_that_do_not_answer_says_why() -> None:
    nobody = Identity.generate().id
    with refused_address() as address:
        async with p2pkad.open_node(listen=(), bootstrap=[f"{address}/p2p/{nobody}"]) as node:
            with pytest.raises(NotReady) as never:
                await node.wait_ready(timeout=1)
    why = f"no bootstrap peer answered ({nobody}: unreachable ({address}: connection refused))"
    assert str(never.value) == f"0 of 1 peers in the routing table after 1 s: {why}"


@pytest.mark.scenario("H8")
async def test_a_network_that_closes_in_the_middle_of_a_lookup_is_no_group(
    network: BehaviourNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(*_: object) -> None:
        raise NodeClosed

    one, other = await network.start(2)
    await network.until(lambda: bool(one.routing_table()), "they know each other")
    with monkeypatch.context() as ill:
        ill.setattr(one._network, "request", closed)
        with pytest.raises(NodeClosed):
            await one.closest_peers(bytes(other.id))


async def test_what_is_no_bytes_is_refused_with_what_to_write(world: World) -> None:
    async with alone(world) as node:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: node.put_value("/v/key", b"value"),  # type: ignore[arg-type]
            lambda: node.put_value(b"/v/key", "value"),  # type: ignore[arg-type]
            lambda: node.get_value("/v/key"),  # type: ignore[arg-type]
            lambda: node.closest_peers("/v/key"),  # type: ignore[arg-type]
            lambda: node.stop_publishing("/v/key"),  # type: ignore[arg-type]
            lambda: node.local_value("/v/key"),  # type: ignore[arg-type]
        ]
        for call in calls:
            with pytest.raises(LocalProtocolError, match="takes bytes, and not a str"):
                await call()


async def test_counts_are_looked_at_before_anything_is_done(world: World) -> None:
    async with alone(world) as node:
        for wrong in ("2", 1.5, -1, True):
            with pytest.raises(LocalProtocolError, match=r"min_stored=.*: must be a whole number, 0 or more"):
                await node.put_value(b"/v/key", b"value", min_stored=wrong)  # type: ignore[arg-type]
            with pytest.raises(LocalProtocolError, match=r"quorum=.*: must be a whole number, 0 or more"):
                await node.get_value(b"/v/key", quorum=wrong)  # type: ignore[arg-type]
            for call in (partial(node.closest_peers, b"key"), partial(node.find_providers, CONTENT)):
                with pytest.raises(LocalProtocolError, match=r"count=.*: must be a whole number, 0 or more"):
                    await call(count=wrong)
        assert node.stats().records == 0


async def test_a_key_that_no_message_holds_is_looked_up_nowhere(network: BehaviourNetwork) -> None:
    one, _ = await network.start(2)
    for call in (one.get_value, one.closest_peers):
        with pytest.raises(LocalProtocolError, match="no message holds it"):
            await call(b"/v/" + bytes(one.config.max_message))


@pytest.mark.parametrize("peer", [PeerId(b"alice"), b"alice", None, 5, PeerInfo(PeerId(b"alice"), ("/ip4/1.2.3.4/tcp/1",))])  # type: ignore[arg-type]
async def test_who_does_not_say_where_a_peer_is_hears_what_to_give(world: World, peer: Any) -> None:
    async with alone(world) as node:
        for call in (node.connect, node.identify):
            with pytest.raises(
                ConfigError,
                match=r"give an address that ends in /p2p/<peer id>, or a PeerInfo|its addresses are no Address values",
            ):
                await call(peer)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_who_has_no_time_to_wait_hears_how_many_peers_there_are(world: World, seconds: float) -> None:
    async with alone(world) as node:
        with pytest.raises(NotReady, match="0 of 1 peers in the routing table after 0 s"):
            await node.wait_ready(timeout=seconds)


async def test_the_first_node_that_names_itself_waits_for_nobody_and_says_so() -> None:
    own = Identity.generate()
    async with p2pkad.open_node(identity=own, listen=(), bootstrap=[f"/ip4/127.0.0.1/tcp/4001/p2p/{own.id}"]) as node:
        with pytest.raises(NotReady, match="there are no bootstrap peers but this node itself"):
            await node.wait_ready(timeout=0.01)


@pytest.mark.scenario("P7")
async def test_leaving_a_stream_of_providers_early_cancels_its_lookup(network: BehaviourNetwork) -> None:
    node, other = await network.start(2)
    await other.provide(CONTENT)
    async with node.stream_providers(CONTENT) as providers:
        async for _ in providers:
            break
    assert node.stats().lookups == 0
    with pytest.raises(KeyError):
        async with node.stream_providers(CONTENT):
            raise KeyError
    assert node.stats().lookups == 0


async def test_a_stream_with_nobody_to_ask_says_so(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    async with node.stream_providers(CONTENT) as providers:
        with pytest.raises(NoPeers):
            await anext(providers)


@pytest.mark.scenario("L15")
async def test_a_cancelled_lookup_is_gone(network: BehaviourNetwork) -> None:
    stuck = trio.Event()

    async def sticks(request: Request) -> FindNodeReply:
        if request.message == FindNode(b"key"):
            stuck.set()
            await trio.sleep_forever()
        return FindNodeReply(())

    (node,) = await network.start()
    peer = await network.start_peer(sticks)
    await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await network.until(lambda: node.stats().table == 1 and not node.stats().lookups, "it has settled")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.closest_peers, b"key")
        await stuck.wait()
        assert node.stats().lookups == 1
        nursery.cancel_scope.cancel()
    assert node.stats().lookups == 0


@pytest.mark.scenario("P8")
async def test_who_cannot_be_reached_cannot_provide(network: BehaviourNetwork, world: World) -> None:
    await network.start()
    (node,) = await network.start()
    world.hosts[node.id].addresses = ()
    with pytest.raises(LocalProtocolError, match="listen on one"):
        await node.provide(CONTENT)
    with pytest.raises(LocalProtocolError, match="neither a CID nor a multihash"):
        await node.provide(b"no multihash")


@pytest.mark.scenario("H7")
async def test_options_that_cannot_work_are_refused_before_anything_is_opened() -> None:
    for options in ({"bootstap": []}, {"k": 0}, {"listen": ["/ip4/127.0.0.1"]}, {"bootstrap": ["/ip4/127.0.0.1/tcp/1"]}):
        with pytest.raises(ConfigError):
            async with p2pkad.open_node(**options):
                raise AssertionError
    with pytest.raises(ConfigError, match="a Config or options"):
        async with p2pkad.open_node(p2pkad.Config(), k=3):
            raise AssertionError


async def test_a_stream_of_providers_ends_when_the_node_closes(world: World, nursery: trio.Nursery) -> None:
    ended: list[BaseException] = []
    hangs = trio.Event()

    async def hang(request: Request) -> FindNodeReply:
        if request.message == FindNode(bytes(peer.id)):
            return FindNodeReply(())
        hangs.set()
        await trio.sleep_forever()
        raise AssertionError

    async def read() -> None:
        try:
            async with node.stream_providers(CONTENT) as providers:
                async for _ in providers:
                    pass
        except NodeClosed as error:
            ended.append(error)

    with hosted(world, 2) as host:
        async with host.open_network(protocol=KademliaConfig().protocol, max_message=1024) as peer:
            peer.serve(hang)
            await peer.set_server(True)
            async with alone(world) as node:
                await node.connect(PeerInfo(peer.id, peer.local_addresses()))
                await node.wait_ready()
                nursery.start_soon(read)
                await hangs.wait()
            await trio.sleep(0.1)
    assert len(ended) == 1


@pytest.mark.scenario("H7")
async def test_a_service_that_cannot_serve_says_so_plainly_and_leaves_nothing_behind() -> None:
    host = p2pkad.new_host(p2pkad.HostConfig(listen=()))
    async with host.run():
        async with KademliaService(host):
            with pytest.raises(ConfigError, match="another service on this host"):
                async with KademliaService(host):
                    raise AssertionError
        async with KademliaService(host) as again:
            assert again.mode == "server"


async def test_a_listener_that_fails_harms_nobody(network: BehaviourNetwork, caplog: pytest.LogCaptureFixture) -> None:
    node = await network.start_one()
    node.subscribe(lambda event: 1 / 0)
    (other,) = await network.start()
    await network.until(lambda: node.stats().table == 1, "it is known")
    assert [info.id for info in await node.closest_peers(b"key")] == [other.id]
    assert "a listener failed" in caplog.text


async def test_a_mode_that_does_not_exist_is_refused(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    with pytest.raises(ConfigError, match="must be one of server, client"):
        await node.set_mode("Server")  # type: ignore[arg-type]
    assert node.mode == "server"
