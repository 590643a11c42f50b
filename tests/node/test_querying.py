"""A lookup that has nobody to ask yet."""

from __future__ import annotations

from typing import Any, cast

import pytest

from p2pkad.config import KademliaConfig
from p2pkad.core.goals import ClosestPeers
from p2pkad.core.peers import PeerId
from p2pkad.errors import NodeClosed
from p2pkad.node.clock import SYSTEM
from p2pkad.node.limits import Limits
from p2pkad.node.membership import Membership
from p2pkad.node.querying import Querying
from p2pkad.node.telling import Telling


class Closing:
    """The bootstrap of a node that closes: its tasks are gone."""

    async def attempt(self) -> int:
        raise NodeClosed


async def test_a_node_that_closes_while_a_lookup_waits_for_bootstrap_peers_says_so_in_no_group(autojump_clock):
    config, tell = KademliaConfig(), Telling()
    membership = Membership(PeerId(b"\x12\x20" + bytes(32)), config, SYSTEM, tell)
    limits, asking = Limits(config, SYSTEM, tell), cast("Any", None)
    querying = Querying(asking, membership, Closing(), limits, config, SYSTEM, tell)
    with pytest.raises(NodeClosed):
        await querying.run_lookup(ClosestPeers(b"key"))
