"""Messages <-> the bytes inside a frame.

A server reads with `decode_request` and writes with `encode_reply`; whoever asks uses the other two. What has to reset the
stream raises RemoteProtocolError here; what is merely of no use is left out: peers whose id is none, addresses that cannot
be read or are somebody else's. A peer whose addresses are all of no use stays, without addresses. Lists that a message of its
type has no use for are not looked at.

kad-dht r2, "RPC messages". Where implementations differ it says so below; unknown fields are ignored, as everybody does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import assert_never

from google.protobuf.message import DecodeError

from p2pkad.core.messages import (
    AddProvider,
    AnyReply,
    AnyRequest,
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
from p2pkad.core.records import Record
from p2pkad.errors import LocalProtocolError, RemoteProtocolError
from p2pkad.wire.addresses import decode_address
from p2pkad.wire.content import MAX_PROVIDER_KEY
from p2pkad.wire.framing import encode_varint
from p2pkad.wire.pb import kademlia_pb2 as pb

# go fills its 4 MiB with providers when it has that many. 4,000 are more than a search needs, and with so many addresses
# a message of the greatest size still takes about a tenth of a second to read.
MAX_PEERS = 4096
"""Peers read from one list of a message; the others are ignored."""
MAX_ADDRESSES = 16384
"""Addresses read from one list of peers."""
MAX_ADDRESSES_PER_PEER = 64
"""Addresses read of one peer. Two dozen are many."""


def encode_request(message: AnyRequest) -> bytes:
    """The bytes of a request. Raises LocalProtocolError for a record that the protocol cannot express."""
    lists = b""
    match message:
        case FindNode(key) | GetValue(key) | GetProviders(key) | Ping(key):
            # A lookup asks everybody the same.
            question = _question if len(key) <= _SHORT else _question.__wrapped__
            return question(_TYPES[type(message)], key)
        case PutValue(key, record):
            wire = pb.Message(type=pb.Message.PUT_VALUE, key=key, record=_encode_record(record))
        case AddProvider(key, providers):
            wire = pb.Message(type=pb.Message.ADD_PROVIDER, key=key)
            lists = _peers(_PROVIDER_PEERS, providers)
        case never:
            assert_never(never)
    return wire.SerializeToString() + lists


@lru_cache(maxsize=128)
def _question(kind: pb.Message.MessageType, key: bytes) -> bytes:
    return pb.Message(type=kind, key=key).SerializeToString()


def encode_reply(reply: AnyReply) -> bytes:
    """The bytes of a reply. Raises LocalProtocolError for a record that the protocol cannot express."""
    lists = b""
    match reply:
        case FindNodeReply(closer):
            # Without the key, as go: it may be long, and nobody looks at it.
            wire = pb.Message(type=pb.Message.FIND_NODE)
            lists = _peers(_CLOSER_PEERS, closer)
        case GetValueReply(key, record, closer):
            wire = pb.Message(type=pb.Message.GET_VALUE, key=key, record=_encode_record(record) if record else None)
            lists = _peers(_CLOSER_PEERS, closer)
        case PutValueReply(key, record):
            # The record goes back, since rust and js compare it; peers that came with it do not.
            wire = pb.Message(type=pb.Message.PUT_VALUE, key=key, record=_encode_record(record))
        case GetProvidersReply(key, providers, closer):
            wire = pb.Message(type=pb.Message.GET_PROVIDERS, key=key)
            lists = _peers(_CLOSER_PEERS, closer) + _peers(_PROVIDER_PEERS, providers)
        case PingReply(key):
            wire = pb.Message(type=pb.Message.PING, key=key)
        case never:
            assert_never(never)
    return wire.SerializeToString() + lists


def encoded_size(reply: AnyReply) -> int:
    """How many bytes `encode_reply` makes of a reply: exact, and at a third of its price."""
    match reply:
        case FindNodeReply(closer):
            return _TYPE_SIZE + _peers_size(closer)
        case GetValueReply(key, record, closer):
            return _TYPE_SIZE + _field_size(len(key)) + (_record_size(record) if record else 0) + _peers_size(closer)
        case PutValueReply(key, record):
            return _field_size(len(key)) + _record_size(record)  # PUT_VALUE is 0 and not sent
        case GetProvidersReply(key, providers, closer):
            return _TYPE_SIZE + _field_size(len(key)) + _peers_size(providers) + _peers_size(closer)
        case PingReply(key):
            return _TYPE_SIZE + _field_size(len(key))
        case never:
            assert_never(never)


def decode_request(data: bytes) -> AnyRequest:
    """The request in a frame. Raises RemoteProtocolError where the stream has to be reset.

    Whom an AddProvider may name, and whether anybody is left, is for whoever knows the sender to say.
    """
    wire = _parse(data)
    kind, key = wire.type, wire.key
    if kind == pb.Message.PING:
        return Ping(key)
    if kind not in _NAMES:
        raise RemoteProtocolError(f"a request of unknown type {kind}")
    if not key:
        raise RemoteProtocolError(f"{_NAMES[kind]} without a key")
    if kind == pb.Message.FIND_NODE:
        return FindNode(key)
    if kind == pb.Message.GET_VALUE:
        return GetValue(key)
    if kind == pb.Message.PUT_VALUE:
        return PutValue(key, _decode_record(wire, key))
    if len(key) > MAX_PROVIDER_KEY:
        raise RemoteProtocolError(f"{_NAMES[kind]} with a key of {len(key)} bytes; {MAX_PROVIDER_KEY} are allowed")
    if kind == pb.Message.GET_PROVIDERS:
        return GetProviders(key)
    return AddProvider(key, _decode_peers(wire.providerPeers))


def decode_reply(request: AnyRequest, data: bytes) -> AnyReply:
    """The reply in a frame that came after `request`. Raises RemoteProtocolError when it is none to it.

    go, rust and py-libp2p leave the key out of some replies; one that is there has to be the request's. A record has to be
    the request's in any case, and PUT_VALUE has to be answered with one; whether its value was kept is the caller's to see.
    """
    wire = _parse(data)
    asked = _TYPES[type(request)]
    if wire.type != asked:
        raise RemoteProtocolError(f"{_NAMES[asked]} was answered by {_NAMES.get(wire.type, f'type {wire.type}')}")
    key = request.key
    if wire.key not in (key, b""):
        raise RemoteProtocolError(f"{_NAMES[asked]} was answered for another key")
    match request:
        case FindNode():
            return FindNodeReply(_decode_peers(wire.closerPeers))
        case GetValue():
            record = _decode_record(wire, key) if wire.HasField("record") else None
            return GetValueReply(key, record, _decode_peers(wire.closerPeers))
        case PutValue():
            return PutValueReply(key, _decode_record(wire, key))
        case GetProviders():
            return GetProvidersReply(key, _decode_peers(wire.providerPeers), _decode_peers(wire.closerPeers))
        case Ping():
            return PingReply(key)
        case AddProvider():
            raise RemoteProtocolError("ADD_PROVIDER was answered")
        case never:
            assert_never(never)


_NAMES: dict[int, str] = {number: name for name, number in pb.Message.MessageType.items()}
_TYPES: dict[type[AnyRequest], pb.Message.MessageType] = {
    FindNode: pb.Message.FIND_NODE,
    GetValue: pb.Message.GET_VALUE,
    PutValue: pb.Message.PUT_VALUE,
    AddProvider: pb.Message.ADD_PROVIDER,
    GetProviders: pb.Message.GET_PROVIDERS,
    Ping: pb.Message.PING,
}


def _parse(data: bytes) -> pb.Message:
    try:
        return pb.Message.FromString(data)
    except DecodeError as error:
        raise RemoteProtocolError("a frame without a message in it") from error


def _decode_record(wire: pb.Message, key: bytes) -> Record:
    if not wire.HasField("record"):
        raise RemoteProtocolError("PUT_VALUE without a record")
    record = wire.record
    if record.key != key:
        raise RemoteProtocolError("a record that belongs under another key")
    return Record(key, record.value, _time(record.timeReceived), _publisher(record.publisher), record.ttl)


def _encode_record(record: Record) -> pb.Record:
    try:
        return pb.Record(
            key=record.key,
            value=record.value,
            timeReceived=record.time_received,
            publisher=_publisher(record.publisher),
            ttl=record.ttl,
        )
    except ValueError as error:
        raise LocalProtocolError(f"a record that the protocol cannot express: {error}") from error


_LONGEST_TIME = 64
"""Characters of a `timeReceived`. RFC 3339 with nanoseconds has 35 at most."""


def _time(told: str) -> str:
    # It, too, may be as long as a message. What is that long is no time, and one that says none came now.
    return told if len(told) <= _LONGEST_TIME else ""


def _publisher(told: bytes) -> bytes:
    # rust refuses the whole message for a publisher that is no peer id; others do not look. Here it is none, in both
    # directions: it may be as long as a message, and is remembered.
    return told if PeerId.valid(told) else b""


def _decode_peers(entries: Sequence[bytes]) -> tuple[PeerInfo, ...]:
    peers = []
    room = MAX_ADDRESSES
    for raw in entries[:MAX_PEERS]:
        found, told = _remembered(raw) if len(raw) <= _SHORT else _decode_peer(raw, room)
        if told > room:
            found, told = _decode_peer(raw, room)
        room -= told
        if found is not None:
            peers.append(found)
    return tuple(peers)


_SHORT = 256
"""Bytes of what is worth remembering: the entry of a peer with some addresses, the key of most questions."""


# Every reply names twenty peers, in a lookup mostly those that the last one named. Two megabytes when full.
@lru_cache(maxsize=2048)
def _remembered(raw: bytes) -> tuple[PeerInfo | None, int]:
    return _decode_peer(raw, MAX_ADDRESSES_PER_PEER)


def _decode_peer(raw: bytes, room: int) -> tuple[PeerInfo | None, int]:
    """The peer in an entry, None where it is none, and how many addresses were looked at: `room` at most."""
    try:
        entry = pb.Message.Peer.FromString(raw)
    except DecodeError as error:
        raise RemoteProtocolError("a peer that is no message") from error
    if not PeerId.valid(entry.id):
        return None, 0
    owner = PeerId(entry.id)
    told = entry.addrs[: min(room, MAX_ADDRESSES_PER_PEER)]
    # By their bytes: with and without /p2p/<owner> at its end an address is the same one.
    addresses = {each.raw: each for raw in told if (each := decode_address(raw, owner)) is not None}
    return PeerInfo(owner, tuple(addresses.values())), len(told)


_CLOSER_PEERS, _PROVIDER_PEERS = b"\x42", b"\x4a"
"""The tags of the two lists of peers, the last fields of a message."""


def _peers(tag: bytes, peers: Iterable[PeerInfo]) -> bytes:
    # A message's bytes are those of its fields in a row. Here and below the loop itself looks for what is known: a call for
    # each of twenty peers takes longer than all else.
    known = _known.get
    entries = [found[1] if (found := known(id(peer))) and found[0] is peer else _entry(peer) for peer in peers]
    return tag + tag.join(entries) if entries else b""


def _peers_size(peers: Iterable[PeerInfo]) -> int:
    known = _known.get
    return sum([1 + len(found[1]) if (found := known(id(peer))) and found[0] is peer else _peer_size(peer) for peer in peers])


_known: dict[int, tuple[PeerInfo, bytes]] = {}
"""Entries of late, by the identity of the peer's value, which stays the same while nothing is learned of the peer: to compare
values takes as long as to encode them."""
_MOST_KNOWN = 4096


def _entry(peer: PeerInfo) -> bytes:
    """A peer as it is in a list, with its length in front."""
    # `connection` stays at its default: js refuses values that it does not know, nobody uses those that it does.
    body = pb.Message.Peer(id=peer.id, addrs=[address.raw for address in peer.addresses]).SerializeToString()
    entry = encode_varint(len(body)) + body
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    if len(entry) <= _SHORT:
        _known[id(peer)] = peer, entry
    return entry


_TYPE_SIZE = 2


def _peer_size(peer: PeerInfo) -> int:
    # Where much does not fit, many are measured that are never sent.
    return _field_size(_field_size(len(peer.id)) + sum(_field_size(len(address.raw)) for address in peer.addresses))


def _record_size(record: Record) -> int:
    return _field_size(_encode_record(record).ByteSize())


def _field_size(length: int) -> int:
    # A tag of one byte, the length, the bytes themselves: fields of bytes with a number below 16.
    if 0 < length < 0x80:
        return 2 + length
    return 1 + len(encode_varint(length)) + length if length else 0
