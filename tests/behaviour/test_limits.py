"""A node's own bounds are no peer's failure."""

from __future__ import annotations

import pytest

from p2pkad.core.keyspace import SHA256
from tests.behaviour.conftest import BehaviourNetwork

NODES = 28
CONNECTIONS = 8


@pytest.mark.scenario("L18")
@pytest.mark.on_real_hosts_only
async def test_with_few_connections_lookups_still_reach_everybody(network: BehaviourNetwork) -> None:
    small = {"max_connections": CONNECTIONS, "connection_reserve": 2, "k": 5, "bucket_size": 5}
    # Who finds no place at once asks again, and who waits for one is late, not lost: a lookup has the patience to hear it.
    small |= {"bootstrap_interval": 1.0, "request_timeout": 10.0, "late_after": 8.0}
    for _ in range(NODES // 4):
        await network.start(4, **small)
    everybody = {node.id for node in network.nodes}
    for seeker in network.nodes[:: NODES // 4]:
        for key in (b"one", b"two"):
            others = sorted(everybody - {seeker.id}, key=lambda each: SHA256.key(each) ^ SHA256.key(key))
            assert [info.id for info in await seeker.closest_peers(key)] == others[:5]
        assert seeker.stats().peers <= CONNECTIONS
    found = await network.nodes[0].find_peer(network.nodes[-1].id)
    assert found.id == network.nodes[-1].id
