"""Messages as they travel, written and read by hand: what is judged here must not be what judges.

The schema is that of kad-dht r2, "RPC messages"; the encoding is protobuf's: fields of a number and a value, which is a
varint (type 0) or bytes with their length in front (type 2). Nothing else occurs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

VARINT, BYTES = 0, 2

Value = int | bytes
Fields = Mapping[int, list[Value]]
"""By number, the values of a field in their order. One that is absent is not there."""


class Kind(IntEnum):
    """Message.type."""

    PUT_VALUE = 0
    GET_VALUE = 1
    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


class Message(IntEnum):
    """Its fields."""

    TYPE = 1
    KEY = 2
    RECORD = 3
    CLOSER = 8
    PROVIDERS = 9
    CLUSTER_LEVEL = 10


class Record(IntEnum):
    """Its fields. The last two are rust-libp2p's own."""

    KEY = 1
    VALUE = 2
    TIME_RECEIVED = 5
    PUBLISHER = 666
    TTL = 777


class Peer(IntEnum):
    """Its fields."""

    ID = 1
    ADDRESSES = 2
    CONNECTION = 3


def request(kind: Kind, key: bytes, *more: tuple[int, Value]) -> bytes:
    """A request with its length in front."""
    body = encode((Message.TYPE, kind), (Message.KEY, key), *more)
    return varint(len(body)) + body


def record(key: bytes, value: bytes) -> tuple[int, Value]:
    """What a PUT_VALUE has besides its key."""
    return Message.RECORD, encode((Record.KEY, key), (Record.VALUE, value))


def provider(peer: bytes, addresses: Iterable[bytes]) -> tuple[int, Value]:
    """What an ADD_PROVIDER has besides its key."""
    return Message.PROVIDERS, encode((Peer.ID, peer), *((Peer.ADDRESSES, address) for address in addresses))


def encode(*fields: tuple[int, Value]) -> bytes:
    """Fields in the order given."""
    parts = []
    for number, value in fields:
        if isinstance(value, bytes):
            parts.append(varint(number << 3 | BYTES) + varint(len(value)) + value)
        else:
            parts.append(varint(number << 3 | VARINT) + varint(value))
    return b"".join(parts)


def decode(body: bytes) -> Fields:
    """The fields of a message without its length. Raises ValueError, IndexError for what is none."""
    fields: dict[int, list[Value]] = {}
    rest = memoryview(body)
    while rest:
        tag, rest = _varint(rest)
        number, rest = _varint(rest)
        value: Value = number
        if tag & 7 == BYTES:
            value, rest = bytes(rest[:number]), rest[number:]
            if len(value) != number:
                raise ValueError("a field that is cut off")
        elif tag & 7 != VARINT:
            raise ValueError(f"a field of type {tag & 7}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(high) if high else bytes([low])


def _varint(data: memoryview) -> tuple[int, memoryview]:
    number = shift = length = 0
    while True:
        byte = data[length]
        number |= (byte & 0x7F) << shift
        length, shift = length + 1, shift + 7
        if byte < 0x80:
            return number, data[length:]
