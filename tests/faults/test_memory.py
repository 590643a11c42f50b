"""Frames that are announced and never come cost what has arrived of them: nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN
from libp2p.utils.varint import encode_uvarint

from tests.faults.ours import open_ours
from tests.faults.subjects import KAD, Limits
from tests.support.census import Memory, memory
from tests.support.child import Returned, run_in_child
from tests.support.neighbours import until
from tests.support.raw_peer import MULTISTREAM, raw_peer, token, yamux_frame

MIB = 1024 * 1024
PEERS, EACH = 20, 50
"""A thousand streams; one peer alone may not have so many."""


async def announce_and_go_silent() -> tuple[int, Memory]:
    """How many streams the host held open, and what they added to its process, the peers' ends included."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(open_ours(Limits()))
        await ours.set_server(True)
        before = memory()
        for _ in range(PEERS):
            peer = await stack.enter_async_context(raw_peer(ours.where))
            announcement = token(MULTISTREAM) + token(KAD) + encode_uvarint(4 * MIB)
            await peer.send_frames(b"".join(yamux_frame(n, announcement, flags=FLAG_SYN) for n in peer.stream_ids(EACH)))
        await until(lambda: ours.streams() >= PEERS * EACH, within=10)
        return ours.streams(), memory() - before


@pytest.mark.scenario("W4")
def test_a_thousand_streams_that_announce_four_mebibytes_cost_less_than_64_together() -> None:
    outcome = run_in_child(announce_and_go_silent, seconds=60)
    assert isinstance(outcome, Returned), outcome.log
    streams, grown = outcome.value
    assert streams == PEERS * EACH
    assert grown.resident < 64 * MIB
    assert grown.data < 64 * MIB  # memory asked for and not touched yet does not show in what is resident
