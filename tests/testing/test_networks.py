"""Networks for embedders' tests: what they promise is what happens."""

from __future__ import annotations

import pytest
import trio

from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.core.peers import PeerInfo
from p2pkad.errors import NetworkError, NotFound, PeerUnreachable, RequestFailed, RequestTimeout
from p2pkad.net.base import Network, Request
from p2pkad.node.service import KademliaService
from p2pkad.testing import SimulatedNodes, open_simulated_network, run_simulated
from p2pkad.validators.opaque import OpaqueValidator

OPTIONS = {"validators": {"v": OpaqueValidator()}}


async def nobody(request: Request) -> FindNodeReply:
    return FindNodeReply(())


def info(member: KademliaService | Network, net: SimulatedNodes) -> PeerInfo:
    return PeerInfo(member.id, net._machines[member.id].addresses)


async def seconds(peer: Network, to: PeerInfo, within: float = 100.0) -> float:
    began = trio.current_time()
    await peer.request(to, FindNode(b"key"), began + within)
    return trio.current_time() - began


def test_a_network_opens_joined() -> None:
    async def main() -> None:
        async with open_simulated_network(60) as net:
            await trio.sleep(5)  # who has been up for long has nothing to look for
            assert net.messages == net.dials == 0
            assert all(node.stats().table >= 20 for node in net.nodes)
            everybody = sorted((node.id for node in net.nodes), key=lambda each: SHA256.key(each) ^ SHA256.key(b"key"))
            for node in net.nodes[::10]:
                found = await node.closest_peers(b"key")
                assert [each.id for each in found] == [each for each in everybody if each != node.id][:20]

    run_simulated(main)


def test_what_is_put_is_found_though_holders_crash() -> None:
    async def main() -> None:
        async with open_simulated_network(40, **OPTIONS) as net:
            receipt = await net.nodes[3].put_value(b"/v/key", b"value")
            assert len(receipt.stored) == 21
            for node in [node for node in net.nodes if node.id in receipt.stored][:15]:
                await net.crash(node)
            assert await net.nodes[-1].get_value(b"/v/key") == b"value"

    run_simulated(main)


def test_a_newcomer_joins_by_asking() -> None:
    async def main() -> None:
        async with open_simulated_network(30) as net:
            node = await net.start()
            assert node.stats().table >= 20
            assert node in net.nodes
            assert (await net.nodes[7].find_peer(node.id)).addresses == info(node, net).addresses

    run_simulated(main)


def test_a_restart_keeps_who_and_where_and_what() -> None:
    async def main() -> None:
        async with open_simulated_network(5, **OPTIONS) as net:
            node = net.nodes[2]
            await node.put_value(b"/v/key", b"value")
            await net.crash(node)
            again = await net.restart(node)
            assert again is not node
            assert again is net.nodes[2]
            assert (again.id, again.addresses) == (node.id, (f"/ip4/10.0.0.2/tcp/4001/p2p/{node.id}",))
            assert await again.local_value(b"/v/key") == b"value"
            await again.wait_ready(timeout=10)

    run_simulated(main)


def test_a_request_costs_a_round_trip_and_a_dial_three_more() -> None:
    async def main() -> None:
        async with open_simulated_network(1, latency=0.1) as net:
            peer = await net.start_peer(nobody)
            assert await seconds(peer, info(net.nodes[0], net)) == pytest.approx(0.8)
            assert await seconds(peer, info(net.nodes[0], net)) == pytest.approx(0.2)
            net.link(peer, net.nodes[0], latency=1.0)
            assert await seconds(peer, info(net.nodes[0], net)) == pytest.approx(2.0)
            net.delay(net.nodes[0], 5.0)
            assert await seconds(peer, info(net.nodes[0], net)) == pytest.approx(7.0)

    run_simulated(main)


@pytest.mark.parametrize("what", ["crash", "hang", "partition", "move"])
def test_who_is_silent_costs_the_deadline(what: str) -> None:
    async def main() -> None:
        async with open_simulated_network(1, latency=0.1) as net:
            peer, node = await net.start_peer(nobody), net.nodes[0]
            there = info(node, net)
            await seconds(peer, there)
            match what:
                case "crash":
                    await net.crash(node)
                case "hang":
                    net.hang(node)
                case "partition":
                    net.partition([peer], [node])
                case _:
                    net.move(node)
            began = trio.current_time()
            with pytest.raises(RequestTimeout):
                await peer.request(there, FindNode(b"key"), began + 7)
            assert trio.current_time() == pytest.approx(began + 7)

    run_simulated(main)


def test_a_crashed_machine_is_dialled_in_vain_for_the_dial_timeout_a_stopped_one_refuses() -> None:
    async def main() -> None:
        async with open_simulated_network(2, latency=0.1, dial_timeout=4.0) as net:
            peer, (crashed, stopped) = await net.start_peer(nobody), net.nodes
            places = info(crashed, net), info(stopped, net)
            await net.crash(crashed)
            await net.stop(stopped)
            for there, takes in zip(places, (4.0, 0.2), strict=True):
                began = trio.current_time()
                with pytest.raises(PeerUnreachable):
                    await peer.request(there, FindNode(b"key"), began + 60)
                assert trio.current_time() - began == pytest.approx(takes)

    run_simulated(main)


def test_a_partition_heals() -> None:
    async def main() -> None:
        async with open_simulated_network(20, **OPTIONS) as net:
            net.partition(net.nodes[:10], net.nodes[10:])
            await net.nodes[0].put_value(b"/v/key", b"value")
            with pytest.raises(NotFound):
                await net.nodes[-1].get_value(b"/v/key")
            net.heal()
            assert await net.nodes[-1].get_value(b"/v/key") == b"value"

    run_simulated(main)


def test_a_natted_peer_is_asked_over_the_connection_that_it_opened() -> None:
    async def main() -> None:
        async with open_simulated_network(1) as net:
            node, peer, other = net.nodes[0], await net.start_peer(nobody), await net.start_peer(nobody)
            net.nat(peer)
            with pytest.raises(PeerUnreachable):
                await seconds(other, info(peer, net))
            await seconds(peer, info(other, net))
            await seconds(other, info(peer, net))
            with pytest.raises(PeerUnreachable):
                await node.connect(info(peer, net))

    run_simulated(main)


def test_messages_get_lost_as_often_as_said() -> None:
    async def main() -> None:
        async with open_simulated_network(1, latency=0.01) as net:
            peer, there = await net.start_peer(nobody), info(net.nodes[0], net)
            await seconds(peer, there)
            net.link(loss=0.1)
            lost = 0
            for _ in range(1000):
                try:
                    await seconds(peer, there, within=1.0)
                except NetworkError:
                    lost += 1
            assert 150 < lost < 230  # 190: there and back

    run_simulated(main)


def test_who_lies_says_what_the_test_makes_up() -> None:
    async def main() -> None:
        async with open_simulated_network(2) as net:
            net.lie(net.nodes[1], lambda request, reply: FindNodeReply((PeerInfo(net.nodes[0].id),)))
            peer = await net.start_peer(nobody)
            response = await peer.request(info(net.nodes[1], net), FindNode(b"key"), trio.current_time() + 5)
            assert response.message == FindNodeReply((PeerInfo(net.nodes[0].id),))

    run_simulated(main)


def test_a_client_is_no_server() -> None:
    async def main() -> None:
        async with open_simulated_network(1, mode="client") as net:
            peer = await net.start_peer(nobody)
            with pytest.raises(RequestFailed):
                await seconds(peer, info(net.nodes[0], net))

    run_simulated(main)
