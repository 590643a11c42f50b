"""Who is near, known by one who knows everybody."""

from __future__ import annotations

from collections.abc import Iterable

from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerId


def nearest(key: bytes, peers: Iterable[PeerId], count: int | None = None) -> list[PeerId]:
    """These peers in order of their distance to `key`, or the first so many of them."""
    target = SHA256.key(key)
    return sorted(peers, key=lambda peer: SHA256.key(peer) ^ target)[:count]
