"""Peer ids and addresses, ours and py-libp2p's."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from libp2p.abc import IMuxedConn
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID

from p2pkad.core.peers import Address, PeerId
from p2pkad.wire.addresses import parse_address


def foreign_id(peer: PeerId) -> ID:
    """A peer id as py-libp2p has it."""
    return ID(bytes(peer))


def peer_of(connection: IMuxedConn) -> PeerId:
    """Who is at the other end."""
    return PeerId(connection.peer_id.to_bytes())


class Remote(tuple[str, int]):
    """Host and port of the other end, as py-libp2p wants them. rest: what of the multiaddr comes after the host."""

    __slots__ = ()
    rest = "tcp/{}"


class RemoteWebSocket(Remote):
    """The other end of a WebSocket."""

    __slots__ = ()
    rest = "tcp/{}/ws"


class RemoteQuic(Remote):
    """The other end of a QUIC connection."""

    __slots__ = ()
    rest = "udp/{}/quic-v1"


@runtime_checkable
class _Located(Protocol):
    """What every connection of py-libp2p has, though IMuxedConn does not say so."""

    def get_remote_address(self) -> tuple[str, int] | None: ...


def remote_address(connection: SwarmConn) -> Address | None:
    """Where a connection comes from or goes to; None when that is unknown.

    Asked of the socket: `get_transport_addresses` knows nothing of TLS, and falls back to what the peer claims.
    """
    muxed = connection.muxed_conn
    known = muxed.get_remote_address() if isinstance(muxed, _Located) else None
    if known is None:
        return None
    host, port = known
    family = "ip6" if ":" in host else "ip4"
    rest = known.rest if isinstance(known, Remote) else Remote.rest
    return parse_address(f"/{family}/{host.partition('%')[0]}/{rest.format(port)}")
