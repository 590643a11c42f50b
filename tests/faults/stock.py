"""A plain py-libp2p host as the subject of an attack: what a program gets that builds its host with `libp2p.new_host`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import libp2p
import trio
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import push_identify_to_peer, push_identify_to_peers
from libp2p.network.config import ConnectionConfig
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.utils.varint import read_length_prefixed_protobuf
from multiaddr import Multiaddr

from tests.faults.subjects import KAD, Limits
from tests.support.raw_peer import frame

KNOWN_NOTICES = {"connected", "disconnected", "opened_stream", "closed_stream", "listen", "listen_close"}
"""What libp2p.abc.INotifee has a method for."""


class StockHost:
    """`Subject` on a plain host."""

    def __init__(self, host: BasicHost, known_peers: int) -> None:
        self.host = host
        self.known_peers = known_peers
        self._notices = _Notices()
        host.get_network().register_notifee(self._notices)  # type: ignore[arg-type]  # answers whatever it is asked

    @property
    def where(self) -> PeerInfo:
        return PeerInfo(self.host.get_id(), list(self.host.get_transport_addrs()))

    async def connect(self, peer: PeerInfo) -> None:
        await self.host.connect(peer)

    async def reach(self, peer: PeerInfo) -> None:
        await self.host.get_network().dial_addr(peer.addrs[0], peer.peer_id)

    async def disconnect(self, peer: ID) -> None:
        await self.host.disconnect(peer)

    async def ask(self, peer: PeerInfo) -> bool:
        with suppress(BaseLibp2pError):
            stream = await self.host.new_stream(peer.peer_id, [TProtocol(KAD)])
            await stream.write(frame(b"?"))
            return await read_length_prefixed_protobuf(stream) == b"?"
        return False

    async def ask_lightly(self, peer: ID) -> None:
        with suppress(BaseLibp2pError):
            stream = await self.host.new_stream(peer, [TProtocol(KAD)])
            assert isinstance(stream, NetStream)
            muxed = stream.muxed_stream
            await muxed.write(frame(b"?"))
            await muxed.read(2)
            await muxed.reset()

    async def set_server(self, on: bool) -> None:
        if on:
            self.host.set_stream_handler(TProtocol(KAD), _echo)
        else:
            self.host.remove_stream_handler(TProtocol(KAD))

    async def tell(self, peer: ID) -> None:
        await push_identify_to_peer(self.host, peer)

    async def tell_everybody(self) -> None:
        await push_identify_to_peers(self.host)

    async def close(self) -> None:
        await self.host.close()

    def servers(self) -> set[ID]:
        return self._notices.about_something_new


class _Notices:
    """A notifee that accepts every call, those that INotifee does not know yet included."""

    def __init__(self) -> None:
        self.about_something_new: set[ID] = set()

    def __getattr__(self, name: str) -> Any:
        async def notice(network: object, subject: Any) -> None:
            if name not in KNOWN_NOTICES:
                self.about_something_new.add(getattr(subject, "peer_id", subject))

        return notice


async def _echo(stream: INetStream) -> None:
    with suppress(BaseLibp2pError):
        while True:
            await stream.write(frame(await read_length_prefixed_protobuf(stream)))


@asynccontextmanager
async def open_stock(limits: Limits) -> AsyncIterator[StockHost]:
    """A running plain host, left as `host.run` leaves it."""
    host = plain_host(limits)
    async with host.run([Multiaddr(text) for text in limits.listen]):
        yield StockHost(host, limits.max_known_peers or 1000)


@asynccontextmanager
async def neighbour() -> AsyncIterator[StockHost]:
    """A plain host for the one under attack to deal with. It leaves nothing behind, whatever that takes."""
    async with open_stock(Limits()) as host:
        try:
            yield host
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                await host.close()


def plain_host(limits: Limits) -> BasicHost:
    """`libp2p.new_host` with noise, default options, and the limits that are asked for."""
    keys = create_new_key_pair()
    noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
    host = libp2p.new_host(
        key_pair=keys,
        sec_opt={NOISE: noise},
        peerstore_opt=PeerStore(max_peers=limits.max_known_peers or 1000),
        connection_config=_connection_config(limits),
        listen_addrs=[Multiaddr(text) for text in limits.listen],
    )
    assert isinstance(host, BasicHost)
    return host


def _connection_config(limits: Limits) -> ConnectionConfig:
    config = ConnectionConfig()
    if limits.max_connections is not None:
        most = limits.max_connections
        config = ConnectionConfig(max_connections=most, high_watermark=most, low_watermark=0, min_connections=0)
    if limits.dial_timeout is not None:
        config.dial_timeout = config.outbound_upgrade_timeout = limits.dial_timeout
    return config
