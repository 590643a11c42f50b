"""What is believed of the closer peers in a reply.

A peer answers with as many as it likes, of whom it likes. Only the nearest to what was asked for are heard, and of one
public address group only a few: whoever has a network full of addresses must not fill a lookup with them.
"""

from __future__ import annotations

from collections.abc import Iterable

from p2pkad.core.keyspace import SHA256, Key, KeySpace, distance
from p2pkad.core.peers import PeerInfo

USUAL_K = 20
"""What go, rust and js answer with, however many this node wants. kad-dht r2, "Replication parameter"."""


def believed(
    closer: Iterable[PeerInfo], target: Key, *, k: int, per_group: int, space: KeySpace = SHA256
) -> tuple[PeerInfo, ...]:
    """The nearest to `target` of a reply, nearest first, each once: k or the usual 20, and one more for the target itself.

    per_group: how many with addresses in one public /16 or /32 are heard.
    """
    key_of = space.key
    by_distance = {distance(key_of(info.id), target): info for info in closer}
    seen: dict[str, int] = {}
    chosen = []
    for away in sorted(by_distance)[: max(k, USUAL_K) + 1]:
        info = by_distance[away]
        if groups := info.public_groups:
            if not all(seen.get(group, 0) < per_group for group in groups):
                continue
            for group in groups:
                seen[group] = seen.get(group, 0) + 1
        chosen.append(info)
    return tuple(chosen)
