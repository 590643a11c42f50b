"""Who has enough ends the search: nobody waits for a peer that is silent, and will be for an hour."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from p2pkad.core.messages import AnyReply, FindNode, FindNodeReply, GetProviders, GetProvidersReply, GetValue, GetValueReply
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.net.base import Handler, Request
from p2pkad.node.service import KademliaService
from p2pkad.wire.addresses import parse_address
from p2pkad.wire.content import content_key
from tests.behaviour.conftest import BehaviourNetwork

KEY = b"/v/key"
CONTENT = content_key(b"content")
ELSEWHERE = parse_address("/ip4/10.9.9.9/tcp/4001")


def generous(providers: list[PeerInfo]) -> Handler:
    """A peer that has a value, and tells of these providers."""

    async def handler(request: Request) -> AnyReply:
        match request.message:
            case GetValue(key):
                return GetValueReply(key, Record(key, b"value"), ())
            case GetProviders(key):
                return GetProvidersReply(key, tuple(providers), ())
        return FindNodeReply(())

    return handler


async def silent(request: Request) -> AnyReply:
    """A peer that says that it is there, and nothing else."""
    if not isinstance(request.message, FindNode):
        await trio.sleep_forever()
    return FindNodeReply(())


@pytest.fixture
def providers() -> list[PeerInfo]:
    """Whom the generous peer names: itself, at first."""
    return []


@pytest.fixture
async def node(network: BehaviourNetwork, providers: list[PeerInfo]) -> AsyncIterator[KademliaService]:
    """Knows one peer that is generous and one that is silent, and would give each an hour."""
    (node,) = await network.start(request_timeout=3600.0, late_after=3600.0, lookup_timeout=3600.0)
    for handler in (generous(providers), silent):
        peer = await network.start_peer(handler)
        info = PeerInfo(peer.id, peer.local_addresses())
        providers[:] = providers or [info]
        await node.connect(info)
    await node.wait_ready(peers=2, timeout=10)
    with trio.fail_after(20):
        yield node
        assert node.stats().lookups == 0


@pytest.mark.scenario("V7")
async def test_stragglers_are_cancelled_when_the_quorum_is_met(node: KademliaService) -> None:
    assert await node.get_value(KEY, quorum=1) == b"value"


@pytest.mark.scenario("P5")
async def test_a_search_for_one_provider_ends_with_the_first(node: KademliaService, providers: list[PeerInfo]) -> None:
    assert list(await node.find_providers(CONTENT, count=1)) == providers


@pytest.mark.scenario("P5")
async def test_a_provider_that_is_told_without_addresses_has_those_that_are_known(
    node: KademliaService, providers: list[PeerInfo]
) -> None:
    known = providers[0]
    providers[0] = PeerInfo(known.id)
    assert list(await node.find_providers(CONTENT, count=1)) == [known]


@pytest.mark.scenario("P7")
async def test_providers_are_yielded_while_others_are_still_asked(node: KademliaService, providers: list[PeerInfo]) -> None:
    async with node.stream_providers(CONTENT) as found:
        assert await anext(found) == providers[0]
        assert node.stats().lookups == 1


@pytest.mark.scenario("P7")
async def test_a_stream_of_so_many_says_how_it_ended(node: KademliaService, providers: list[PeerInfo]) -> None:
    async with node.stream_providers(CONTENT, count=1) as found:
        assert [info async for info in found] == providers
        assert (found.asked, found.answered, found.complete) == (2, 1, True)


@pytest.mark.scenario("P7")
async def test_leaving_early_cancels_the_lookup_that_nobody_answers(node: KademliaService) -> None:
    async with node.stream_providers(CONTENT):
        await trio.sleep(0.01)
        assert node.stats().lookups == 1
