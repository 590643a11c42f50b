"""Hosts of a simulated world, by number: the same ids and addresses in every test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from p2pkad.config import HostConfig
from p2pkad.core.peers import PeerId
from p2pkad.net.simulated import SimulatedHost, World, home

address = home
"""A private address that belongs to this number alone."""


def peer_id(number: int) -> PeerId:
    """A well-formed peer id (a sha2-256 multihash) that is the same in every run."""
    return PeerId(b"\x12\x20" + sha256(number.to_bytes(4, "big")).digest())


@contextmanager
def hosted(world: World, number: int, config: HostConfig | None = None) -> Iterator[SimulatedHost]:
    """A host that is up while the block lasts. All its messages go through the codec, as on a real host."""
    host = SimulatedHost(world, number, peer_id(number), (address(number),), config or HostConfig(), by_hand=True)
    try:
        yield host
    finally:
        host.close()
