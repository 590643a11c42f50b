"""What hosts learn of each other: identify, identify push, addresses. Faults 8, 9, 17, 24, 27."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from tests.faults.subjects import KAD, Limits, OpenHost, Subject
from tests.support.identify import answers, identify, identify_of
from tests.support.neighbours import until
from tests.support.raw_peer import IDENTIFY, IDENTIFY_PUSH, RawStream, raw_peer

LONG = 6.0
"""Seconds for what takes two, or for ever: on a machine with much else to do it may take more."""

SERVER = {IDENTIFY: answers(identify(protocols=[KAD]))}
CLIENT = {IDENTIFY: answers(identify())}


async def says_what_it_speaks(open_host: OpenHost) -> dict[str, object]:
    """A peer says by identify that it speaks the protocol. Is the program told?"""
    async with open_host(Limits()) as subject, raw_peer(subject.where, serves=SERVER) as peer:
        known = await until(lambda: _known_as_server(subject, peer.id))
        told = await until(lambda: peer.id in subject.servers(), within=0.5)
        return {"written_down": known, "told": told}


async def begins_to_serve(open_host: OpenHost) -> dict[str, object]:
    """The host begins to serve a protocol while a peer is connected. Is the peer told?"""
    news = _News()
    async with open_host(Limits()) as subject, raw_peer(subject.where, serves={**CLIENT, IDENTIFY_PUSH: news}) as peer:
        await until(lambda: IDENTIFY in peer.asked_for)
        await subject.set_server(True)
        return {"peer_told": await until(lambda: news.count > 0, within=1)}


async def listens_everywhere(open_host: OpenHost) -> dict[str, object]:
    """The host listens on 0.0.0.0. Where does it tell peers to find it?"""
    async with open_host(Limits(listen=("/ip4/0.0.0.0/tcp/0",))) as subject, raw_peer(subject.where) as peer:
        told = [str(Multiaddr(raw)) for raw in (await identify_of(peer)).listen_addrs]
        return {
            "nowhere": any("/0.0.0.0/" in text for text in told),
            "somewhere": any("/0.0.0.0/" not in text for text in told),
        }


async def comes_back_as_a_server(open_host: OpenHost) -> dict[str, object]:
    """A client leaves, becomes a server, and comes back a while later."""
    return await _comes_back(open_host, pause=True)


async def comes_back_at_once_as_a_server(open_host: OpenHost) -> dict[str, object]:
    """A client becomes a server and comes back before the host has noticed that it left."""
    return await _comes_back(open_host, pause=False)


async def _comes_back(open_host: OpenHost, *, pause: bool) -> dict[str, object]:
    keys = create_new_key_pair()
    own_id = ID.from_pubkey(keys.public_key)
    async with open_host(Limits()) as subject:
        order = _Order()
        subject.host.get_network().register_notifee(order)  # type: ignore[arg-type]  # answers whatever it is asked
        async with raw_peer(subject.where, key_pair=keys, serves=CLIENT):
            assert await until(lambda: bool(_protocols(subject, own_id)))
        if pause:
            await until(lambda: "disconnected" in order.seen)
        async with raw_peer(subject.where, key_pair=keys, serves=SERVER):
            known = await until(lambda: _known_as_server(subject, own_id), within=1)
            await until(lambda: len(order.seen) == 3)
        return {"order": "-".join(order.seen[:3]), "known_as_server": known}


def _known_as_server(subject: Subject, peer: ID) -> bool:
    return KAD in _protocols(subject, peer)


def _protocols(subject: Subject, peer: ID) -> list[str]:
    book = subject.host.get_peerstore()
    return list(book.get_protocols(peer)) if book.has_peer(peer) else []


async def push_among_silent_peers(open_host: OpenHost) -> dict[str, object]:
    """Twelve peers accept streams and never say a word. Does news still reach the thirteenth, and its sender an end?"""
    news = _News()
    async with open_host(Limits()) as subject, AsyncExitStack() as crowd:
        for _ in range(12):
            await crowd.enter_async_context(raw_peer(subject.where, mute=True))
        async with raw_peer(subject.where, serves={**CLIENT, IDENTIFY_PUSH: news}) as peer:
            await until(lambda: IDENTIFY in peer.asked_for)
            with trio.move_on_after(LONG) as waiting:
                await subject.tell_everybody()
            return {"returned": not waiting.cancelled_caught, "told": news.count > 0}


class _News:
    """Counts pushes."""

    count = 0

    async def __call__(self, stream: RawStream) -> None:
        await stream.receive_frame()
        self.count += 1


class _Order:
    """A notifee that notes when connections come and go."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> object:
        async def notice(*_: object) -> None:
            if name in {"connected", "disconnected"}:
                self.seen.append(name)

        return notice
