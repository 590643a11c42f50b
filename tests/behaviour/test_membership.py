"""Who is in the routing table: servers that answer, and nobody else."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import Failure
from p2pkad.core.messages import AnyRequest, FindNode, FindNodeReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import NoPeers, P2pkadError
from p2pkad.events import BootstrapEnded, NodeEvent, PeerAdmitted, PeerEvicted
from p2pkad.net.base import Identified, Request
from p2pkad.net.simulated import World
from p2pkad.node.clock import SYSTEM
from p2pkad.node.membership import Membership
from p2pkad.node.service import KademliaService
from p2pkad.wire.addresses import parse_peer
from p2pkad.wire.content import content_key
from tests.behaviour.conftest import PATIENCE, BehaviourNetwork
from tests.support.worlds import address, peer_id


def table(node: KademliaService) -> set[PeerId]:
    return {info.id for info in node.routing_table()}


def ids(*nodes: KademliaService) -> set[PeerId]:
    return {node.id for node in nodes}


@pytest.mark.scenario("M1")
@pytest.mark.on_real_hosts_too
async def test_a_client_is_in_nobodys_table_and_uses_the_network_all_the_same(network: BehaviourNetwork) -> None:
    servers = await network.start(3)
    admitted: list[PeerId] = []
    for server in servers:
        server.subscribe(lambda event: admitted.append(event.peer) if isinstance(event, PeerAdmitted) else None)
    (client,) = await network.start(mode="client")
    await client.put_value(b"/v/key", b"value")
    assert await servers[1].get_value(b"/v/key") == b"value"
    for node in network.nodes:
        await node.refresh()
    for server in servers:
        await network.until(lambda server=server: table(server) == ids(*servers) - {server.id}, "servers know servers")  # type: ignore[misc]
    assert table(client) == ids(*servers)
    assert client.id not in admitted, "not for a moment"


@pytest.mark.scenario("M2", "M3")
@pytest.mark.on_real_hosts_too
@pytest.mark.usefixtures("no_afterthoughts")
async def test_a_server_that_turns_client_leaves_the_table_and_returns_when_it_turns_back(network: BehaviourNetwork) -> None:
    watcher, other = await network.start(2)
    events: list[NodeEvent] = []
    watcher.subscribe(events.append)
    await network.until(lambda: other.id in table(watcher), "the server is known")
    await other.set_mode("client")
    await network.until(lambda: other.id not in table(watcher), "the client is gone")
    await other.set_mode("server")
    await network.until(lambda: other.id in table(watcher), "the server is back")
    causes = [event.cause for event in events if isinstance(event, PeerEvicted)]
    assert causes == ["left_protocol"]
    assert any(isinstance(event, PeerAdmitted) for event in events)


@pytest.mark.scenario("L5")
@pytest.mark.on_real_hosts_too
async def test_a_peer_that_is_gone_leaves_the_table(network: BehaviourNetwork) -> None:
    one, two, gone = await network.start(3)
    await network.until(lambda: gone.id in table(one) and two.id in table(one), "all know each other")
    lost = gone.id
    await network.stop(gone)
    await one.closest_peers(bytes(lost))
    await network.until(lambda: table(one) == ids(two), "who is gone has left")


@pytest.mark.scenario("L5")
@pytest.mark.on_real_hosts_too
async def test_with_the_own_cable_pulled_nobody_is_evicted(network: BehaviourNetwork) -> None:
    nodes = await network.start(5)
    one = nodes[0]
    await network.until(lambda: len(table(one)) == 4, "all are known")
    network.cables[one.id].plugged = False
    for key in (b"one", b"two", b"three"):
        found = await one.closest_peers(key)
        assert not found.complete
        assert not found
    async with one.stream_providers(content_key(b"content")) as stream:
        assert [info async for info in stream] == []
    assert (stream.asked, stream.answered, stream.complete) == (4, 0, False)
    assert (one.stats().table, one.stats().silent) == (4, 4)
    network.cables[one.id].plugged = True
    assert len(await one.closest_peers(b"four")) == 4
    assert (one.stats().table, one.stats().silent) == (4, 0)


@pytest.mark.scenario("L5")
@pytest.mark.on_real_hosts_too
async def test_who_accepts_and_stays_silent_is_not_admitted(network: BehaviourNetwork) -> None:
    (one,) = await network.start(request_timeout=0.2)
    asked: list[Request] = []

    async def silent(request: Request) -> None:
        asked.append(request)
        await trio.sleep_forever()

    peer = await network.start_peer(silent)
    await one.connect(PeerInfo(peer.id, peer.local_addresses()), timeout=PATIENCE)
    await network.until(lambda: bool(asked), "it is checked")
    await trio.sleep(0.3)  # longer than the check may take
    assert not table(one)


@pytest.mark.scenario("L6")
@pytest.mark.on_real_hosts_too
async def test_a_newcomer_is_admitted_after_it_answered_for_its_own_id(network: BehaviourNetwork) -> None:
    (one,) = await network.start()
    asked: list[AnyRequest] = []

    async def answer(request: Request) -> FindNodeReply:
        asked.append(request.message)
        return FindNodeReply(())

    peer = await network.start_peer(answer)
    await one.connect(PeerInfo(peer.id, peer.local_addresses()))
    await network.until(lambda: table(one) == {peer.id}, "it is in the table")
    assert asked[0] == FindNode(bytes(peer.id))


@pytest.mark.scenario("L6")
@pytest.mark.on_real_hosts_too
async def test_once_the_table_holds_k_peers_an_empty_answer_is_not_enough(network: BehaviourNetwork) -> None:
    first, second, _ = await network.start(3, k=2)
    await network.until(lambda: len(table(first)) == 2, "the table holds k peers")
    known: list[PeerInfo] = []
    asked: list[Request] = []

    async def answer(request: Request) -> FindNodeReply:
        asked.append(request)
        return FindNodeReply(tuple(known))

    fresh = await network.start_peer(answer)
    await first.connect(PeerInfo(fresh.id, fresh.local_addresses()))
    await network.until(lambda: bool(asked), "it is checked")
    await first.refresh()
    assert fresh.id not in table(first)

    known.append(PeerInfo(second.id, parse_peer(second.addresses[0]).addresses))
    await fresh.set_server(False)
    await fresh.set_server(True)  # it identifies itself again
    await network.until(lambda: fresh.id in table(first), "it is asked again and admitted")


@pytest.mark.scenario("L4")
async def test_a_table_that_runs_empty_is_filled_from_the_bootstrap_peers_again(network: BehaviourNetwork) -> None:
    (first,) = await network.start()
    node = await network.start_one(bootstrap_interval=0.2)
    await network.until(lambda: first.id in table(node), "the bootstrap peer is known")
    await first.set_mode("client")
    await network.until(lambda: not table(node), "the table is empty")
    await first.set_mode("server")
    await network.until(lambda: first.id in table(node), "the bootstrap peer is known again")


async def test_a_closed_node_says_so(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    await network.stop(node)
    with pytest.raises(P2pkadError, match="closed"):
        node.stats()
    assert "closed" in repr(node)


@pytest.mark.scenario("L5")
@pytest.mark.on_real_hosts_too
async def test_a_peer_that_falls_silent_leaves_the_table_though_lookups_do_not_wait_for_it(network: BehaviourNetwork) -> None:
    node, other = await network.start(2, late_after=0.05, request_timeout=0.5)
    answering = True

    async def answer(request: Request) -> FindNodeReply:
        if not answering:
            await trio.sleep_forever()
        return FindNodeReply(())

    peer = await network.start_peer(answer)
    await node.connect(PeerInfo(peer.id, peer.local_addresses()), timeout=PATIENCE)
    await network.until(lambda: table(node) == {other.id, peer.id}, "both are known")
    answering = False
    assert [info.id for info in await node.closest_peers(b"key")] == [other.id]
    await network.until(lambda: table(node) == {other.id}, "the silent one is gone")


@pytest.mark.scenario("L4")
async def test_bootstrap_peers_are_left_alone_while_the_table_is_well_filled(network: BehaviourNetwork) -> None:
    await network.start(4)
    (node,) = await network.start(bootstrap_interval=0.01)
    await network.until(lambda: len(table(node)) == 4, "all are known")
    await trio.sleep(0.1)  # the last attempt may not be over
    events: list[NodeEvent] = []
    node.subscribe(events.append)
    await trio.sleep(0.1)
    assert not [event for event in events if isinstance(event, BootstrapEnded)]


@pytest.mark.scenario("L4")
async def test_bootstrap_peers_are_asked_again_while_the_table_is_low(network: BehaviourNetwork) -> None:
    await network.start(2)
    (node,) = await network.start(bootstrap_interval=1.0)
    await network.until(lambda: len(table(node)) == 2, "all are known")
    events: list[NodeEvent] = []
    node.subscribe(events.append)
    await trio.sleep(10)
    assert len([event for event in events if isinstance(event, BootstrapEnded)]) >= 5


@pytest.mark.scenario("L5")
async def test_a_suspect_is_checked_once_however_many_others_answer_meanwhile(network: BehaviourNetwork) -> None:
    node, *_ = await network.start(3, late_after=0.01, request_timeout=0.3)
    answering = True
    checks: list[Request] = []

    async def answer(request: Request) -> FindNodeReply:
        if not answering:
            if request.message == FindNode(bytes(peer.id)):
                checks.append(request)
            await trio.sleep_forever()
        return FindNodeReply(())

    peer = await network.start_peer(answer)
    await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await network.until(lambda: peer.id in table(node), "it is known")
    answering = False
    for number in range(30):
        await node.closest_peers(b"key %d" % number)
    await network.until(lambda: peer.id not in table(node), "the silent one is gone")
    assert len(checks) == 1


@pytest.mark.scenario("L3")
async def test_a_bootstrap_peer_that_is_silent_keeps_nobody_waiting(network: BehaviourNetwork) -> None:
    first, second = await network.start(2)

    async def silent(request: Request) -> None:
        await trio.sleep_forever()

    peer = await network.start_peer(silent)
    addresses = (f"{peer.local_addresses()[0]}/p2p/{peer.id}", *first.addresses)
    node = await network.start_one(bootstrap=addresses, request_timeout=300.0)
    assert {info.id for info in await node.closest_peers(b"key")} == ids(first, second)
    await network.until(lambda: node.id in table(second), "it looked for itself, and the others know it")


@pytest.mark.scenario("L3")
async def test_a_lookup_waits_for_bootstrap_peers_as_long_as_it_may_itself(network: BehaviourNetwork) -> None:
    async def silent(request: Request) -> None:
        await trio.sleep_forever()

    peer = await network.start_peer(silent)
    node = await network.start_one(bootstrap=(f"{peer.local_addresses()[0]}/p2p/{peer.id}",), request_timeout=300.0)
    with trio.fail_after(30), pytest.raises(NoPeers):
        await node.closest_peers(b"key", timeout=10)


@pytest.mark.scenario("L3")
async def test_a_node_that_got_its_first_peer_by_a_call_looks_for_itself(network: BehaviourNetwork) -> None:
    first, second = await network.start(2)
    node = await network.start_one(bootstrap=())
    await node.connect(first.addresses[0])
    await network.until(lambda: node.id in table(second), "those it was not told of know it")


@pytest.mark.scenario("L3")
async def test_two_addresses_of_one_bootstrap_peer_are_one_bootstrap_peer(network: BehaviourNetwork) -> None:
    (first,) = await network.start()
    node = await network.start_one(bootstrap=(f"/ip4/127.0.0.1/tcp/1/p2p/{first.id}", *first.addresses))
    events: list[NodeEvent] = []
    node.subscribe(events.append)
    await network.until(lambda: any(isinstance(event, BootstrapEnded) for event in events), "it was tried")
    (ended,) = [event for event in events if isinstance(event, BootstrapEnded)]
    assert (ended.tried, ended.answered, ended.failed) == (1, 1, ())


async def test_which_bootstrap_peers_failed_is_told_and_why(network: BehaviourNetwork) -> None:
    async def silent(request: Request) -> None:
        await trio.sleep_forever()

    (first,) = await network.start()
    peer, gone = await network.start_peer(silent), peer_id(99)
    addresses = (f"{peer.local_addresses()[0]}/p2p/{peer.id}", f"/ip4/127.0.0.1/tcp/1/p2p/{gone}", *first.addresses)
    node = await network.start_one(bootstrap=addresses, request_timeout=1.0)
    ended: list[BootstrapEnded] = []
    node.subscribe(ended.append, BootstrapEnded)
    await network.until(lambda: bool(ended), "they were tried")
    assert (ended[0].tried, ended[0].answered) == (3, 1)
    assert {each: reason.split(" (")[0] for each, reason in ended[0].failed} == {
        gone: "unreachable",
        peer.id: "no answer to FindNode within 1 s",
    }


@pytest.mark.scenario("H4")
async def test_a_crowd_of_newcomers_that_answer_nothing_is_checked_a_few_at_a_time(
    network: BehaviourNetwork, world: World
) -> None:
    (node,) = await network.start(request_timeout=300.0)
    tasks = trio.lowlevel.current_statistics().tasks_living
    for number in range(5000):
        world.hosts[node.id].tell(Identified(peer_id(10_000 + number), True, (address(number),), address(number)))
    for _ in range(10):
        await trio.lowlevel.checkpoint()
        assert trio.lowlevel.current_statistics().tasks_living < tasks + 40


@pytest.mark.scenario("H4")
async def test_of_a_crowd_of_newcomers_a_thousand_wait_for_their_check() -> None:
    membership = Membership(peer_id(0), KademliaConfig(), SYSTEM, lambda event: None)
    for number in range(1, 5001):
        membership.introduce(peer_id(number))
    checked = 0
    while due := membership.take_checks():
        assert len(due) <= 16
        assert membership.take_checks() == []
        for peer in due:
            membership.checked(peer)
        checked += len(due)
    assert checked == 1000


@pytest.mark.scenario("L18", "L5")
async def test_who_is_always_busy_is_not_a_peer_any_more(mock_clock: trio.testing.MockClock) -> None:
    """A proxy whose server has died goes on to accept connections, and closes them."""
    membership = Membership(peer_id(0), KademliaConfig(), SYSTEM, lambda event: None)
    proxy, witness = peer_id(1), peer_id(2)
    membership.answered(proxy, None, told_nobody=False)
    for _ in range(6):
        membership.answered(witness, None, told_nobody=False)
        membership.failed(proxy, Failure.BUSY)
        assert proxy in membership.table
        assert membership.usable == 2
        mock_clock.jump(600)
    membership.failed(proxy, Failure.BUSY)
    assert membership.usable == 1
    membership.answered(witness, None, told_nobody=False)
    membership.failed(proxy, Failure.BUSY)
    assert proxy not in membership.table
    assert proxy in membership.awaited


@pytest.mark.scenario("L8")
async def test_a_newcomer_for_whom_there_is_no_room_is_not_asked() -> None:
    """A bucket and its replacements are full: in a large network nearly every newcomer is one more of those."""
    config = KademliaConfig(bucket_size=1)
    membership = Membership(peer_id(0), config, SYSTEM, lambda event: None)
    crowd = [peer_id(number) for number in range(1, 200)]
    crowd = [peer for peer in crowd if membership.table.bucket_of(peer) == 0]
    for peer in crowd[:2]:
        membership.answered(peer, None, told_nobody=False)
    membership.introduce(crowd[2])
    assert membership.take_checks() == []
    membership.left(crowd[0])
    membership.introduce(crowd[2])
    assert crowd[2] in membership.take_checks()


@pytest.mark.scenario("L1")
async def test_a_newcomer_in_a_small_table_is_asked_whom_it_knows(network: BehaviourNetwork) -> None:
    """Who joined in the same moment as others was told of nobody; the next peer that it meets closes the gap."""

    async def knows_nobody(request: Request) -> FindNodeReply:
        return FindNodeReply(())

    peer = await network.start_peer(knows_nobody)
    first, second = await network.start(2)
    node = await network.start_one(bootstrap=[f"{peer.local_addresses()[0]}/p2p/{peer.id}"])
    await node.wait_ready(timeout=5)
    await node.refresh()
    assert table(node) == {peer.id}
    await second.connect(node.addresses[0])
    await network.until(lambda: table(node) == {peer.id, second.id, first.id}, "the others are known")
