"""Real hosts on the loopback, for tests: ends of a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio

from p2pkad.config import HostConfig
from p2pkad.core.messages import (
    AddProvider,
    AnyReply,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
    Ping,
    PingReply,
    PutValue,
    PutValueReply,
)
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.net.base import Handler, NetworkEvent, Request
from p2pkad.net.libp2p import ArmouredHost, Libp2pNetwork, new_host

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)
PROTOCOL = "/test/kad/1.0.0"
PATIENCE = 30.0
"""Seconds after which a test that hangs is ended. Nothing is measured with it."""

Event = TypeVar("Event", bound=NetworkEvent)


@dataclass
class End:
    """A host with one network on it."""

    host: ArmouredHost
    network: Libp2pNetwork
    events: list[NetworkEvent] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def id(self) -> PeerId:
        return self.host.id

    @property
    def info(self) -> PeerInfo:
        """How to reach it."""
        return PeerInfo(self.id, self.network.local_addresses())

    async def ask(self, other: End | PeerInfo, key: bytes = b"key") -> AnyReply:
        """One request, with patience."""
        peer = other.info if isinstance(other, End) else other
        return (await self.network.request(peer, FindNode(key), soon())).message

    def told(self, kind: type[Event]) -> list[Event]:
        """The events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def hears(self, kind: type[Event], count: int = 1) -> Event:
        """Wait for the `count`th event of a kind."""
        await eventually(lambda: len(self.told(kind)) >= count)
        return self.told(kind)[count - 1]


def soon() -> float:
    """A deadline that no healthy run meets."""
    return trio.current_time() + PATIENCE


async def eventually(holds: Callable[[], object]) -> None:
    """Wait until something is the case."""
    pause = 0.005
    with trio.fail_after(PATIENCE):
        while not holds():  # whatever it is, nobody announces it
            await trio.sleep(pause)
            pause = min(1.1 * pause, 0.1)  # where it takes long, a little more is nothing, and looking costs


async def answer(request: Request) -> AnyReply | None:
    """A server that knows nobody and stores nothing."""
    match request.message:
        case FindNode():
            return FindNodeReply(())
        case GetValue(key):
            return GetValueReply(key, None, ())
        case PutValue(key, record):
            return PutValueReply(key, record)
        case GetProviders(key):
            return GetProvidersReply(key, (), ())
        case Ping(key):
            return PingReply(key)
        case AddProvider():
            return None


@asynccontextmanager
async def an_end(
    *,
    server: bool = True,
    protocol: str = PROTOCOL,
    handler: Handler = answer,
    max_message: int = 4 * 1024 * 1024,
    host: dict[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[End]:
    """A running host with a network. config: of HostConfig; host: arguments of new_host."""
    made = new_host(HostConfig(**{"listen": LOOPBACK, **config}), **(host or {}))
    async with made.run(), Libp2pNetwork(made, protocol=protocol, max_message=max_message) as network:
        end = End(made, network)
        network.subscribe(end.events.append)

        async def noted(request: Request) -> AnyReply | None:
            end.requests.append(request)
            return await handler(request)

        network.serve(noted)
        await network.set_server(server)
        yield end


@asynccontextmanager
async def ends(count: int, **options: Any) -> AsyncIterator[list[End]]:
    """Several ends, alike."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(an_end(**options)) for _ in range(count)]
