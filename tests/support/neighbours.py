"""Those that a host under test meets: well-behaved hosts that count who comes, and sockets that do not behave."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr


class Listener:
    """A TCP listener that counts. `peer` is what to dial: a made-up peer id at its address."""

    def __init__(self, port: int) -> None:
        self.peer = PeerInfo(stranger(), [Multiaddr(f"/ip4/127.0.0.1/tcp/{port}")])
        self.accepted = 0


def stranger() -> ID:
    """The id of a peer that nobody is."""
    return ID.from_pubkey(create_new_key_pair().public_key)


async def say_nothing(stream: trio.SocketStream) -> None:
    """Accept and stay silent until the other side leaves."""
    while await stream.receive_some():
        pass


async def hang_up(stream: trio.SocketStream) -> None:
    """Accept and close."""
    await stream.aclose()


@asynccontextmanager
async def listener(behaviour: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[Listener]:
    """A TCP listener on loopback that does this with each connection."""
    (sockets,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    seen = Listener(sockets.socket.getsockname()[1])

    async def accept(stream: trio.SocketStream) -> None:
        seen.accepted += 1
        async with stream:
            try:
                await behaviour(stream)
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, accept, [sockets])
        yield seen
        nursery.cancel_scope.cancel()


@contextmanager
def refused_address() -> Iterator[Multiaddr]:
    """An address at which every connection is refused: the port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield Multiaddr(f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}")


@contextmanager
def occupied_port() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as stranger_socket:
        stranger_socket.bind(("127.0.0.1", 0))
        stranger_socket.listen()
        yield stranger_socket.getsockname()[1]


async def until(condition: Callable[[], bool], within: float = 3.0) -> bool:
    """Wait until the condition holds; False when it does not within so many seconds."""
    with trio.move_on_after(within):
        while not condition():  # noqa: ASYNC110  # what is waited for belongs to libp2p, and has no event
            await trio.sleep(0.005)
    return condition()
