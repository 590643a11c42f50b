"""Requests as bytes, written by hand: what a peer puts on a stream of the Kademlia protocol."""

from __future__ import annotations

from tests.support.raw_peer import frame

FIND_NODE = frame(b"\x08\x04" + b"\x12\x20" + bytes(32))
"""Message {type = FIND_NODE (4), key = 32 zero bytes} (kad-dht specification, "RPC messages")."""
