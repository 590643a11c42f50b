"""How things stand with one peer, on real hosts: what it says of itself, what its clock shows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

import p2pkad
from p2pkad.identity import Identity
from p2pkad.node.clock import Clock

PATIENCE = 30.0


@asynccontextmanager
async def a_node(ahead: float = 0.0, **options) -> AsyncIterator[p2pkad.KademliaService]:
    """A node on the loopback. ahead: seconds that its clock is."""
    options.setdefault("listen", ("/ip4/127.0.0.1/tcp/0",))
    config = p2pkad.Config(**options)
    host = p2pkad.new_host(config)
    clock = Clock(monotonic=trio.current_time, wall=lambda: time.time() + ahead)
    async with host.run(), p2pkad.KademliaService(host, config, clock=clock) as node:
        yield node


async def test_a_peer_says_what_it_speaks_and_where_it_sees_us():
    async with a_node() as one, a_node(mode="client") as other:
        said = await one.identify(other.addresses[0], timeout=PATIENCE)
        assert said.agent == "p2pkad"
        assert (other.protocol in said.protocols, "/ipfs/ping/1.0.0" in said.protocols) == (False, True)
        assert [f"{address}/p2p/{other.id}" for address in said.addresses] == list(other.addresses)
        assert one.observed_addresses() == {str(said.observed): 1}
        assert str(said.observed).startswith("/ip4/127.0.0.1/tcp/")


async def test_a_peer_that_says_nothing_of_itself_is_late():
    async with a_node() as one, a_node() as other:
        with pytest.raises(p2pkad.RequestTimeout, match="identify"):
            await one.identify(other.addresses[0], timeout=0.0)


async def test_peers_are_told_with_how_they_are_connected_and_whether_they_are_in_the_table():
    async with a_node() as one, a_node() as server, a_node(mode="client", bootstrap=one.addresses) as client:
        await one.connect(server.addresses[0])
        await one.wait_ready(timeout=PATIENCE)
        await client.wait_ready(timeout=PATIENCE)
        for each in one.peers():
            await one.identify(each.info, timeout=PATIENCE)
        in_table, beside = one.peers()
        assert (in_table.info.id, in_table.in_table, in_table.connected) == (server.id, True, "outbound")
        assert (beside.info.id, beside.in_table, beside.connected) == (client.id, False, "inbound")
        assert in_table.bucket in one.stats().buckets


@pytest.mark.parametrize("ahead", [3600.0, 0.0, -3600.0])
async def test_clocks_are_compared_as_often_as_one_likes(ahead):
    async with a_node() as one, a_node(ahead) as other:
        await one.connect(other.addresses[0])
        for _ in range(2):
            assert abs(await one.compare_clocks(other.id, timeout=PATIENCE) - ahead) < 600


async def test_a_client_keeps_no_records_and_so_tells_no_time():
    async with a_node() as one, a_node(mode="client") as other:
        await one.connect(other.addresses[0])
        with pytest.raises(p2pkad.RequestFailed):
            await one.compare_clocks(other.id, timeout=PATIENCE)


async def test_a_key_that_is_not_in_its_id_compares_no_clocks():
    from libp2p.crypto.rsa import create_new_key_pair

    async with a_node(identity=Identity(create_new_key_pair())) as one, a_node() as other:
        await one.connect(other.addresses[0])
        with pytest.raises(p2pkad.LocalProtocolError, match="Ed25519"):
            await one.compare_clocks(other.id)
