"""Ten thousand negotiations of every wrong kind, and the others are still answered."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
from libp2p.stream_muxer.yamux.yamux import FLAG_FIN, FLAG_RST, FLAG_SYN

from tests.faults.ours import open_ours
from tests.faults.subjects import KAD, Limits
from tests.support.census import count_tasks
from tests.support.neighbours import until
from tests.support.raw_peer import (
    IDENTIFY,
    MULTISTREAM,
    PATIENCE,
    PING,
    RawPeer,
    RawStream,
    frame,
    raw_peer,
    token,
    yamux_frame,
)
from tests.support.stalls import StallWatcher

SEED = 1
PEERS = 20
EACH = 500
"""Streams of each peer; with PEERS it makes ten thousand."""
AT_ONCE = 25
"""Streams that a peer opens before it ends them; fewer than a host lets one peer have."""

Piece = Callable[[random.Random], bytes]

PIECES: tuple[Piece, ...] = (
    lambda luck: token(MULTISTREAM),
    lambda luck: token(luck.choice([KAD, IDENTIFY, PING])),
    lambda luck: token("ls"),
    lambda luck: token("na"),
    lambda luck: token("/" + "x" * luck.randrange(300)),
    lambda luck: token(luck.randbytes(luck.randrange(1, 40))),
    lambda luck: frame(luck.randbytes(luck.randrange(40))),  # without its newline
    lambda luck: frame(b""),
    lambda luck: b"\xff" * luck.randrange(1, 12),  # a length that does not end, or is enormous
    lambda luck: b"\x80\x80\x00",  # a length of zero, in three bytes
    lambda luck: b"\x7f" + luck.randbytes(3),  # 127 bytes announced, 3 sent
    lambda luck: luck.randbytes(luck.randrange(1, 200)),
)
"""What a negotiation is made of, right and wrong."""


def negotiation(luck: random.Random) -> bytes:
    """Begins properly in half of the cases: what comes later would not be reached otherwise."""
    beginning = token(MULTISTREAM) if luck.random() < 0.5 else b""
    return beginning + b"".join(luck.choice(PIECES)(luck) for _ in range(luck.randrange(1, 5)))


@pytest.mark.long
@pytest.mark.scenario("H1")
async def test_ten_thousand_random_negotiations_cost_nobody_else_an_answer(stalls: StallWatcher) -> None:
    async with open_ours(Limits()) as ours, raw_peer(ours.where) as bystander:
        assert await bystander.ping()
        before = count_tasks()
        for number in range(PEERS):
            async with raw_peer(ours.where) as peer:
                await negotiate_at_random(peer, random.Random(SEED + number))
            assert await bystander.ping(), f"after the peer with seed {SEED + number}"
        async with raw_peer(ours.where) as newcomer:
            assert await newcomer.ping()
        assert await until(lambda: count_tasks() <= before), "tasks of those streams are left"


async def negotiate_at_random(peer: RawPeer, luck: random.Random) -> None:
    """EACH streams, AT_ONCE at a time. Some are closed, some reset while the host reads, the rest when it is done."""
    for _ in range(EACH // AT_ONCE):
        streams = peer.stream_ids(AT_ONCE)
        opened = (yamux_frame(stream, negotiation(luck), flags=FLAG_SYN) for stream in streams)
        ended = (yamux_frame(stream, flags=luck.choice([FLAG_FIN, FLAG_RST, 0])) for stream in streams)
        await peer.send_frames(b"".join(opened))
        await peer.send_frames(b"".join(ended))
        stream = await greeted(peer)  # by then the host has read what came before
        await stream.reset()
        await peer.send_frames(b"".join(yamux_frame(stream, flags=FLAG_RST) for stream in streams))


async def greeted(peer: RawPeer) -> RawStream:
    """A stream on which the host has returned the greeting."""
    stream = await peer.open()
    await stream.send(token(MULTISTREAM))
    with trio.fail_after(PATIENCE):
        assert await stream.receive_token() == MULTISTREAM
    return stream
