"""Identify messages by hand: what a peer says of itself, true or not (libp2p specification, "identify")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from libp2p.identity.identify.pb.identify_pb2 import Identify
from multiaddr import Multiaddr

from tests.support.raw_peer import IDENTIFY, PING, RawPeer, RawStream, Serve, frame


def identify(*, protocols: Sequence[str] = (), addresses: Sequence[Multiaddr] = (), **fields: Any) -> bytes:
    """The message of a peer that speaks ping, identify and these protocols."""
    return Identify(
        agent_version="tests",
        protocols=[IDENTIFY, PING, *protocols],
        listen_addrs=[address.to_bytes() for address in addresses],
        **fields,
    ).SerializeToString()


def answers(message: bytes) -> Serve:
    """Answer identify with this message, whatever it is."""

    async def answer(stream: RawStream) -> None:
        await stream.send(frame(message))
        await stream.finish()

    return answer


async def identify_of(peer: RawPeer) -> Identify:
    """Ask the target who it is."""
    stream = await peer.open()
    assert await stream.negotiate(IDENTIFY)
    return Identify.FromString(await stream.receive_frame())
