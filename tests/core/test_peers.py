from __future__ import annotations

from p2pkad.core.peers import PeerInfo, merged
from tests.support.worlds import address, peer_id


def test_a_peer_that_is_named_twice_is_one_with_both_addresses() -> None:
    one, two = peer_id(1), peer_id(2)
    named = [PeerInfo(one, (address(1),)), PeerInfo(two), PeerInfo(one, (address(3), address(1)))]
    assert merged(named) == (PeerInfo(one, (address(1), address(3))), PeerInfo(two))
