"""Values, providers and peers between nodes that did not meet before."""

from __future__ import annotations

from hashlib import sha256

import pytest

from p2pkad.core.peers import PeerId
from p2pkad.errors import LocalProtocolError, NoPeers, NotFound, QuorumNotMet
from tests.behaviour.conftest import BehaviourNetwork
from tests.behaviour.test_membership import table

CONTENT = b"\x12\x20" + sha256(b"content").digest()

pytestmark = pytest.mark.on_real_hosts_too


@pytest.mark.scenario("V1", "M1")
async def test_a_value_is_got_by_a_node_that_does_not_hold_it(network: BehaviourNetwork) -> None:
    await network.start(6, k=2, bucket_size=2)
    (writer, reader) = await network.start(2, k=2, bucket_size=2, mode="client")
    receipt = await writer.put_value(b"/v/key", b"value")
    assert writer.id in receipt.stored
    assert len(receipt.stored) == 3
    assert await reader.local_value(b"/v/key") is None
    found = await reader.get_record(b"/v/key")
    assert found.value == b"value"
    assert set(found.holders) <= set(receipt.stored)
    assert found.complete


@pytest.mark.scenario("P1", "P6", "M1")
async def test_a_provider_is_found_by_a_node_that_was_not_told(network: BehaviourNetwork) -> None:
    await network.start(6, k=2, bucket_size=2)
    (provider,) = await network.start(k=2, bucket_size=2)
    receipt = await provider.provide(CONTENT)
    assert len(receipt.sent) == 2
    (reader,) = await network.start(k=2, bucket_size=2, mode="client")
    found = await reader.find_providers(CONTENT)
    assert [info.id for info in found] == [provider.id]
    assert [f"{address}/p2p/{provider.id}" for address in found[0].addresses] == list(provider.addresses)
    assert await provider.stop_providing(CONTENT)
    assert not await provider.stop_providing(CONTENT)


@pytest.mark.scenario("P7")
async def test_providers_stream_as_they_arrive(network: BehaviourNetwork) -> None:
    nodes = await network.start(4)
    for node in nodes[1:]:
        await node.provide(CONTENT)
    async with nodes[0].stream_providers(CONTENT) as providers:
        assert (providers.answered, providers.complete) == (0, False)
        found = {info.id async for info in providers}
    assert found == {node.id for node in nodes[1:]}
    assert (providers.asked, providers.answered, providers.complete) == (3, 3, True)
    async with nodes[0].stream_providers(CONTENT, count=1) as providers:
        assert len([info async for info in providers]) == 1
    assert (providers.asked, providers.complete) == (0, True), "it knew one itself"


@pytest.mark.scenario("P7", "V8")
async def test_what_a_node_finds_with_nobody_to_ask_may_not_be_all(network: BehaviourNetwork) -> None:
    (node,) = await network.start(allow_zero_peers=True)
    await node.provide(CONTENT)
    await node.put_value(b"/v/key", b"value")
    async with node.stream_providers(CONTENT) as stream:
        assert [info.id async for info in stream] == [node.id]
    for found in (stream, await node.find_providers(CONTENT), await node.get_record(b"/v/key")):
        assert (found.asked, found.answered, found.complete) == (0, 0, False)
    assert (await node.get_record(b"/v/key", quorum=1)).complete, "it is enough"


@pytest.mark.scenario("F1")
async def test_a_peer_is_found_that_was_never_met(network: BehaviourNetwork) -> None:
    await network.start(5, k=2, bucket_size=2)
    (hidden,) = await network.start(k=2, bucket_size=2)
    (seeker,) = await network.start(k=2, bucket_size=2, mode="client")
    info = await seeker.find_peer(hidden.id)
    assert [f"{address}/p2p/{info.id}" for address in info.addresses] == list(hidden.addresses)
    assert await seeker.ping(hidden.id) >= 0


@pytest.mark.scenario("F2")
async def test_a_peer_that_does_not_exist_is_not_found(network: BehaviourNetwork) -> None:
    _, node = await network.start(2)
    unknown = CONTENT
    with pytest.raises(NotFound) as caught:
        await node.find_peer(unknown)
    assert caught.value.complete
    assert caught.value.asked >= 1


@pytest.mark.scenario("F3")
async def test_a_client_is_found_through_a_server_that_it_is_connected_to(network: BehaviourNetwork) -> None:
    await network.start(3)
    client, seeker = await network.start(2, mode="client")
    info = await seeker.find_peer(client.id)
    assert [f"{address}/p2p/{info.id}" for address in info.addresses] == list(client.addresses)


@pytest.mark.scenario("F5")
async def test_asking_for_the_own_id_is_an_error_that_says_so(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    with pytest.raises(LocalProtocolError, match="own id"):
        await node.find_peer(node.id)
    for ask in (node.connect, node.ping, node.identify):
        with pytest.raises(LocalProtocolError, match="own id"):
            await ask(node.addresses[0])  # else it would be connected to itself
    for of_id in (node.ping, node.compare_clocks):
        with pytest.raises(LocalProtocolError, match="own id"):
            await of_id(node.id)
    assert not node.peers()


@pytest.mark.scenario("L3")
async def test_a_lookup_with_nobody_to_ask_fails_at_once(network: BehaviourNetwork) -> None:
    (alone,) = await network.start()
    with pytest.raises(NoPeers):
        await alone.closest_peers(b"key")
    with pytest.raises(NoPeers):
        await alone.get_value(b"/v/key")
    stranger = PeerId(b"\x12\x20" + sha256(b"stranger").digest())
    with pytest.raises(NoPeers, match=f"^peer {stranger}: there is nobody to ask"):
        await alone.find_peer(stranger)
    with pytest.raises(NoPeers, match="there is nobody to ask"):
        await alone.put_value(b"/v/key", b"value")
    (hermit,) = await network.start(bootstrap=(), allow_zero_peers=True)
    assert (await hermit.put_value(b"/v/key", b"value")).stored == (hermit.id,)
    assert await hermit.get_value(b"/v/key") == b"value"


async def test_a_put_whose_time_is_over_before_anybody_was_asked_says_so(network: BehaviourNetwork) -> None:
    node, other = await network.start(2)
    await network.until(lambda: table(node) == {other.id}, "it is known")
    with pytest.raises(NoPeers, match="the time was over before anybody was asked"):
        await node.put_value(b"/v/key", b"value", timeout=0)


@pytest.mark.scenario("V7")
async def test_a_quorum_that_is_not_met_names_the_best_value(network: BehaviourNetwork) -> None:
    nodes = await network.start(3)
    await nodes[1].put_value(b"/v/key", b"value")
    assert await nodes[2].get_value(b"/v/key", quorum=2) == b"value"
    with pytest.raises(QuorumNotMet) as caught:
        await nodes[2].get_value(b"/v/key", quorum=9)
    assert (caught.value.agreed, caught.value.best) == (3, b"value")


@pytest.mark.scenario("L17")
async def test_a_node_counts_itself_for_a_put(network: BehaviourNetwork) -> None:
    for node in await network.start(4, k=2):
        receipt = await node.put_value(b"/v/key", b"value", min_stored=3)
        assert receipt.stored[0] == node.id
