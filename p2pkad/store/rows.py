"""Entries of a store as rows of a database, and back. Pure.

Addresses are kept in binary, each after its length in four bytes: what the wire has, read again by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from p2pkad.core.peers import Address, PeerId, PeerInfo
from p2pkad.core.records import Record, StoredProvider, StoredRecord
from p2pkad.store.base import KeptPeer
from p2pkad.wire.addresses import decode_address

Row = tuple[Any, ...]

_LENGTH = 4


def record_row(stored: StoredRecord) -> Row:
    """key, value, time_received, publisher, ttl, received, expires, own, due."""
    record = stored.record
    told = record.key, record.value, record.time_received, record.publisher, record.ttl
    return *told, stored.received, stored.expires, stored.own, stored.due


def record_of(row: Row) -> StoredRecord:
    """What `record_row` was made of."""
    *told, received, expires, own, due = row
    return StoredRecord(Record(*told), received, expires, bool(own), due)


def provider_row(key: bytes, stored: StoredProvider) -> Row:
    """key, peer, addresses, received, expires, addresses_expire, own, due."""
    info = stored.provider
    times = stored.received, stored.expires, stored.addresses_expire
    return key, bytes(info.id), _packed(info.addresses), *times, stored.own, stored.due


def provider_of(row: Row) -> tuple[bytes, StoredProvider]:
    """What `provider_row` was made of."""
    key, peer, addresses, received, expires, addresses_expire, own, due = row
    return key, StoredProvider(_info(peer, addresses), received, expires, addresses_expire, bool(own), due)


def peer_row(place: int, kept: KeptPeer) -> Row:
    """place, peer, addresses, since, stayed, tried, tries."""
    info = kept.peer
    return place, bytes(info.id), _packed(info.addresses), kept.since, kept.stayed, kept.tried, kept.tries


def peer_of(row: Row) -> KeptPeer:
    """What `peer_row` was made of."""
    _, peer, addresses, since, stayed, tried, tries = row
    return KeptPeer(peer=_info(peer, addresses), since=since, stayed=stayed, tried=tried, tries=tries)


def _packed(addresses: Iterable[Address]) -> bytes:
    return b"".join(len(each.raw).to_bytes(_LENGTH, "big") + each.raw for each in addresses)


def _info(peer: bytes, packed: bytes) -> PeerInfo:
    owner = PeerId(peer)
    read = (decode_address(raw, owner) for raw in _unpacked(packed))
    return PeerInfo(owner, tuple(address for address in read if address is not None))


def _unpacked(packed: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(packed):
        end = at + _LENGTH + int.from_bytes(packed[at : at + _LENGTH], "big")
        yield packed[at + _LENGTH : end]
        at = end
