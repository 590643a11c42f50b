"""Peer ids and addresses, ours and py-libp2p's."""

from __future__ import annotations

from libp2p.abc import IMuxedConn
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID

from p2pkad.core.peers import Address, PeerId
from p2pkad.wire.addresses import decode_address


def foreign_id(peer: PeerId) -> ID:
    """A peer id as py-libp2p has it."""
    return ID(bytes(peer))


def peer_of(connection: IMuxedConn) -> PeerId:
    """Who is at the other end."""
    return PeerId(connection.peer_id.to_bytes())


def remote_address(connection: SwarmConn) -> Address | None:
    """Where a connection comes from or goes to; None when that is unknown."""
    known = connection.get_transport_addresses()
    return decode_address(known[0].to_bytes(), peer_of(connection.muxed_conn)) if known else None
