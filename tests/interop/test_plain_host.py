"""A service on a plain py-libp2p host, and a real go peer."""

from __future__ import annotations

from collections.abc import Callable

import libp2p
import pytest
import trio
from driver import Driver, Language, eventually, unbase64
from libp2p.host.basic_host import BasicHost
from multiaddr import Multiaddr

import p2pkad
from p2pkad.identity import peer_id
from p2pkad.validators.opaque import OpaqueValidator

pytestmark = pytest.mark.foreign

PROTOCOL = "/violence/kad/1.0.0"
PATIENCE = 20.0
"""Seconds for what should take a moment."""


async def test_go_and_a_service_on_a_plain_host_are_peers(driver: Driver, language_of: Callable[[str], Language]) -> None:
    go = await driver.start("go", language_of("go"), validator="violence=opaque")
    host = libp2p.new_host()
    assert isinstance(host, BasicHost)
    config = p2pkad.KademliaConfig(protocol=PROTOCOL, bootstrap=(go.address,), validators={"violence": OpaqueValidator()})

    async def table() -> set[str]:
        return {entry["id"] for entry in (await go.ask("routing_table"))["peers"]}

    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        async with p2pkad.KademliaService(host, config) as service:
            await service.wait_ready(timeout=PATIENCE)
            await eventually(table, {str(service.id)}.__eq__, within=PATIENCE, what="go has the service in its table")
            assert peer_id(go.id) in (await service.put_value(b"/violence/one", b"from py")).stored
            assert unbase64((await go.ask("get", key=b"/violence/one"))["value"]) == b"from py"
            await go.ask("put", key=b"/violence/two", value=b"from go")
            assert await service.local_value(b"/violence/two") == b"from go"
            await service.set_mode("client")
            await eventually(table, set().__eq__, within=PATIENCE, what="go heard that it is a client now")
        with trio.CancelScope(shield=True):
            await host.close()
