"""How large answers are: rust reads none of more than 16 KiB, and nobody else minds."""

from __future__ import annotations

from driver import PeerError, unbase64
from stages import Scene

LARGEST = 16 * 1024
"""Bytes of a message, without its length: libp2p-kad's DEFAULT_MAX_PACKET_SIZE."""
OVERSIZED = "readable, in more than 16 KiB"


async def is_oversized(scene: Scene, request: bytes) -> bool:
    """Whether the bootstrap peer answers the reader of the writer's kind with more than rust reads.

    Of p2pkad as the one that asks this is not known: it has no `stream`.
    """
    where = scene.bootstrap.peer.address
    try:
        answer = await scene.other.peer.ask("stream", peer=where, value=request, count=1, half_close=False)
    except PeerError as error:
        if error.kind != "unsupported":
            raise
        return False
    (frame,) = answer["frames"]
    return len(unbase64(frame)) > LARGEST
