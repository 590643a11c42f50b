"""p2pkad and a real go peer over every transport that both have, each of them dialled by either side."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from driver import Driver, Language, Peer, eventually, unbase64

import p2pkad
from p2pkad.identity import peer_id
from p2pkad.validators.opaque import OpaqueValidator

pytestmark = pytest.mark.foreign

KEY = b"/violence/servers/alpha"
CONTENT = p2pkad.content_key(b"something")
PATIENCE = 20.0
"""Seconds for what should take a moment."""

LISTEN = {
    "noise": "/ip4/127.0.0.1/tcp/0",
    "tls": "/ip4/127.0.0.1/tcp/0",
    "ws": "/ip4/127.0.0.1/tcp/0/ws",
    "quic": "/ip4/127.0.0.1/udp/0/quic-v1",
    "quic over ipv6": "/ip6/::1/udp/0/quic-v1",
    "ws over ipv6": "/ip6/::1/tcp/0/ws",
}
each = pytest.mark.parametrize("transport", LISTEN)


def open_node(transport: str, *bootstrap: str, **options: Any) -> AbstractAsyncContextManager[p2pkad.KademliaService]:
    security = (transport,) if transport in ("noise", "tls") else ("noise", "tls")
    options = {"validators": {"violence": OpaqueValidator()}, "security": security, **options}
    return p2pkad.open_node(listen=(LISTEN[transport],), protocol="/violence/kad/1.0.0", bootstrap=bootstrap, **options)


async def everything_works(node: p2pkad.KademliaService, go: Peer, transport: str) -> None:
    """Find, put, get, provide and ping, both ways."""

    async def table() -> set[str]:
        return {entry["id"] for entry in (await go.ask("routing_table"))["peers"]}

    await eventually(table, {str(node.id)}.__eq__, within=PATIENCE, what="go has us in its table")
    assert [info.id for info in await node.closest_peers(KEY)] == [peer_id(go.id)]
    assert [entry["id"] for entry in (await go.ask("closest_peers", key=KEY))["peers"]] == [str(node.id)]
    assert peer_id(go.id) in (await node.put_value(KEY, b"ours")).stored
    assert unbase64((await go.ask("get", key=KEY))["value"]) == b"ours"
    await go.ask("put", key=KEY + b"2", value=b"of go")
    assert await node.get_value(KEY + b"2") == b"of go"
    large = bytes(12_000)
    await node.put_value(KEY + b"3", large)
    assert unbase64((await go.ask("get", key=KEY + b"3"))["value"]) == large
    receipt = await node.provide(CONTENT, confirm=True)
    assert receipt.confirmed == (peer_id(go.id),)
    await go.ask("provide", key=CONTENT)
    assert peer_id(go.id) in {info.id for info in await node.find_providers(CONTENT)}
    assert await node.ping(go.id) > 0
    assert (await go.ask("ping", peer=str(node.id)))["round_trip"] > 0
    ending = {"ws": "/ws", "quic": "/quic-v1"}.get(transport.split(maxsplit=1)[0], "")
    held = [entry for entry in (await go.ask("connections"))["connections"] if entry["id"] == str(node.id)]
    assert held
    assert all(entry["address"].partition("/p2p/")[0].endswith(ending) for entry in held), held


@each
async def test_go_is_dialled(transport: str, driver: Driver, language_of: Callable[[str], Language]) -> None:
    go = await driver.start("go", language_of("go"), validator="violence=opaque", listen=LISTEN[transport])
    async with open_node(transport, go.address) as node:
        await everything_works(node, go, transport)


@each
async def test_go_dials(transport: str, driver: Driver, language_of: Callable[[str], Language]) -> None:
    async with open_node(transport) as node:
        go = await driver.start(
            "go", language_of("go"), validator="violence=opaque", bootstrap=node.addresses, listen=LISTEN[transport]
        )
        await node.wait_ready(timeout=PATIENCE)
        await everything_works(node, go, transport)


@pytest.mark.scenario("H2")
@pytest.mark.parametrize("transport", ["ws", "quic"])
async def test_go_gets_a_thousand_answers_on_one_stream(
    transport: str, driver: Driver, language_of: Callable[[str], Language]
) -> None:
    async with open_node(transport) as node:
        asker = await driver.start("asker", language_of("go"), mode="client", listen=LISTEN[transport])
        answer = await asker.ask("load", peer=node.addresses[0], in_flight=4, requests=1000)
        assert answer["requests"] == 1000


@pytest.mark.parametrize("transport", ["ws", "quic"])
async def test_a_node_that_closes_is_gone_for_go(
    transport: str, driver: Driver, language_of: Callable[[str], Language]
) -> None:
    go = await driver.start("go", language_of("go"), listen=LISTEN[transport])

    async def connections() -> int:
        return int((await go.ask("connections"))["count"])

    async with open_node(transport, go.address) as node:
        await node.wait_ready(timeout=PATIENCE)
        assert await connections() == 1
    await eventually(connections, lambda count: count == 0, within=PATIENCE, what="go knows that we are gone")
