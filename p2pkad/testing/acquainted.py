"""Routing tables of a network that has been up for a long time, without the hours that it takes to get there.

Joining a thousand nodes one after the other costs a quarter of a million requests. Here every node is told instead, by the
way that answers take, that some of the others have just answered it: of each of its buckets as many as it holds, chosen by
chance. So who enters a table is decided by the admission of the shipped table, with its limits; that a node happens to know
these peers and no others is made up. Nobody is connected to anybody yet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from random import Random

from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerInfo
from p2pkad.node.service import KademliaService

_BITS = 256


def acquaint(node: KademliaService, servers: Sequence[tuple[int, PeerInfo]], random: Random) -> None:
    """Fill the table of an open node. servers: everybody whom it may know, by their key in the key space, sorted by it.

    Raises nothing, and costs no virtual time.
    """
    membership = node._membership
    for info in _chosen(int(SHA256.key(node.id)), servers, node._config.bucket_size, random):
        if info.id != node.id:
            at = info.addresses[0]
            membership.heard([info], at)
            membership.answered(info.id, at, told_nobody=False)


def _chosen(own: int, servers: Sequence[tuple[int, PeerInfo]], size: int, random: Random) -> Iterator[PeerInfo]:
    for bits in range(_BITS):
        # Those that share `bits` bits with the own key and no more: one stretch of the sorted keys.
        below = _BITS - 1 - bits
        first = ((own >> below) ^ 1) << below
        start = bisect_left(servers, first, key=_key)
        end = bisect_left(servers, first + (1 << below), key=_key)
        for index in random.sample(range(start, end), min(size, end - start)):
            yield servers[index][1]


def _key(server: tuple[int, PeerInfo]) -> int:
    return server[0]
