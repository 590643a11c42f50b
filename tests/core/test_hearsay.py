from __future__ import annotations

import pytest

from p2pkad.core.hearsay import believed
from p2pkad.core.keyspace import KeySpace
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope

WIDE = KeySpace(16, key=lambda name: int.from_bytes(name, "big"))


def peer(key: int, group: str | None = None, scope: Scope = Scope.PUBLIC) -> PeerInfo:
    at = (Address(key.to_bytes(2, "big"), str(key), scope, group),) if group else ()
    return PeerInfo(PeerId(key.to_bytes(2, "big")), at)


def keys(peers: tuple[PeerInfo, ...]) -> list[int]:
    return [int.from_bytes(info.id, "big") for info in peers]


@pytest.mark.scenario("L14")
@pytest.mark.parametrize(("k", "heard"), [(3, 21), (20, 21), (200, 201)])
def test_of_ten_thousand_peers_in_a_reply_the_nearest_are_heard(k: int, heard: int) -> None:
    reply = [peer(key) for key in range(10_000, 0, -1)]
    assert keys(believed(reply, 0, k=k, per_group=3, space=WIDE)) == list(range(1, heard + 1))


@pytest.mark.scenario("L14")
def test_who_is_named_twice_is_heard_once() -> None:
    assert keys(believed([peer(2), peer(1), peer(2)], 0, k=20, per_group=3, space=WIDE)) == [1, 2]


@pytest.mark.scenario("L7")
def test_of_one_public_group_only_as_many_as_allowed_are_heard() -> None:
    crowd = [peer(key, "203.0") for key in range(1, 8)]
    neighbours = [peer(key, "10.0", Scope.PRIVATE) for key in range(8, 13)]
    elsewhere = [peer(key, "198.51") for key in range(13, 15)]
    heard = believed([*elsewhere, *neighbours, *crowd], 0, k=20, per_group=2, space=WIDE)
    assert keys(heard) == [1, 2, 8, 9, 10, 11, 12, 13, 14]
