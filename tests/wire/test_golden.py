"""Bytes that others wrote are read as they meant them, and ours for the same message are the same.

Each golden/*.json: {"made_by": ..., "exchanges": [{"what": a sentence, "request": frame, "reply": frame or null}]}.
A frame is {"wire": all of its bytes in hex, the length in front included, "message": what is in it}, the latter as protobuf
JSON: defaults left out, bytes in base64. spec.json is written by hand. go.json, rust.json and js.json are recorded by
interop/record.py: `asks` and `answers` say whose the request and the reply are, and what is in them is what go reads there.

What others write and we do not: `clusterLevelRaw`, a peer's `connection`, its /p2p/<id> at the end of its addresses, and
js an address that it knows twice. What we write and rust does not: the key in replies to GET_VALUE and GET_PROVIDERS. All
the rest is the same, to the byte.
"""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from p2pkad.core import messages
from p2pkad.core.records import Record
from p2pkad.wire.codec import decode_reply, decode_request, encode_reply, encode_request
from p2pkad.wire.framing import FrameDecoder, encode_frame, encode_varint
from p2pkad.wire.pb.kademlia_pb2 import Message

LIMIT = 4 * 1024 * 1024
FILES = sorted((Path(__file__).parent / "golden").glob("*.json"))
EXCHANGES = [
    pytest.param(exchange, id=f"{path.stem}: {exchange['what']}")
    for path in FILES
    for exchange in json.loads(path.read_text())["exchanges"]
]
NOT_SPOKEN = {"rust": {"PING"}}
"""rust neither sends the deprecated PING nor answers it."""
each_exchange = pytest.mark.parametrize("exchange", EXCHANGES)


def body(frame) -> bytes:
    """What is in a frame. There is one frame, and nothing else."""
    decoder = FrameDecoder(LIMIT)
    decoder.feed(bytes.fromhex(frame["wire"]))
    payload = decoder.next_frame()
    decoder.eof()
    return payload


def named(frame, name) -> bytes:
    return b64decode(frame["message"].get(name, ""))


def suffix(peer: bytes) -> bytes:
    return b"\xa5\x03" + encode_varint(len(peer)) + peer


def peers_named(frame, name):
    """Ids and addresses in a frame, as it is said to mean them."""
    ids_and_addresses = [(b64decode(entry["id"]), entry.get("addrs", [])) for entry in frame["message"].get(name, [])]
    return [(peer, in_our_list(peer, map(b64decode, told))) for peer, told in ids_and_addresses]


def in_our_list(peer, addresses):
    """Each once, and without the id at its end."""
    return list(dict.fromkeys(raw.removesuffix(suffix(peer)) for raw in addresses))


def peers_read(peers):
    return [(peer.id, [address.raw for address in peer.addresses]) for peer in peers]


def record_named(frame):
    record = frame["message"].get("record")
    return record and Record(
        b64decode(record.get("key", "")),
        b64decode(record.get("value", "")),
        record.get("timeReceived", ""),
        b64decode(record.get("publisher", "")),
        record.get("ttl", 0),
    )


def check(frame, kind, read):
    """What was read is what its author says is there."""
    kinds = {"FIND_NODE": "FindNode", "GET_VALUE": "GetValue", "ADD_PROVIDER": "AddProvider", "GET_PROVIDERS": "GetProviders"}
    kinds |= {"PUT_VALUE": "PutValue", "PING": "Ping"}
    assert type(read) is getattr(messages, kinds[frame["message"].get("type", "PUT_VALUE")] + kind)
    if hasattr(read, "record"):
        assert read.record == record_named(frame)
    for ours, theirs in (("closer", "closerPeers"), ("providers", "providerPeers")):
        if hasattr(read, ours):
            assert peers_read(getattr(read, ours)) == peers_named(frame, theirs)


def in_our_entry(raw: bytes) -> bytes:
    peer = Message.Peer.FromString(raw)
    peer.ClearField("connection")
    peer.addrs[:] = in_our_list(peer.id, peer.addrs)
    return peer.SerializeToString()


def in_our_words(payload: bytes, key: bytes) -> bytes:
    message = Message.FromString(payload)
    if message.type in (Message.GET_VALUE, Message.GET_PROVIDERS):
        message.key = key
    message.ClearField("clusterLevelRaw")
    for entries in (message.closerPeers, message.providerPeers):
        entries[:] = [in_our_entry(raw) for raw in entries]
    return message.SerializeToString()


@pytest.mark.scenario("W8")
@each_exchange
def test_a_request_is_read_as_it_was_meant(exchange):
    request = decode_request(body(exchange["request"]))
    check(exchange["request"], "", request)
    assert request.key == named(exchange["request"], "key")


@pytest.mark.scenario("W8")
@each_exchange
def test_our_bytes_for_the_same_request_are_the_same(exchange):
    payload = body(exchange["request"])
    request = decode_request(payload)
    assert encode_request(request) == in_our_words(payload, request.key)


@pytest.mark.scenario("W8")
@each_exchange
def test_a_reply_is_read_as_it_was_meant(exchange):
    request = decode_request(body(exchange["request"]))
    if exchange["reply"] is None:
        assert isinstance(request, messages.AddProvider)
        return
    reply = decode_reply(request, body(exchange["reply"]))
    check(exchange["reply"], "Reply", reply)
    assert getattr(reply, "key", request.key) == request.key


@pytest.mark.scenario("W8")
@each_exchange
def test_our_bytes_for_the_same_reply_are_the_same(exchange):
    if exchange["reply"] is not None:
        request, payload = decode_request(body(exchange["request"])), body(exchange["reply"])
        assert encode_reply(decode_reply(request, payload)) == in_our_words(payload, request.key)


@pytest.mark.scenario("W8")
@each_exchange
def test_our_frame_for_the_same_bytes_is_the_same(exchange):
    for frame in filter(None, (exchange["request"], exchange["reply"])):
        assert encode_frame(body(frame), LIMIT).hex() == frame["wire"]


@pytest.mark.scenario("W8")
@pytest.mark.parametrize("part", ["asks", "answers"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_type_of_message_is_there(path, part):
    exchanges = json.loads(path.read_text())["exchanges"]
    own = [exchange for exchange in exchanges if exchange.get(part, path.stem) == path.stem]
    spoken = {exchange["request"]["message"].get("type", "PUT_VALUE") for exchange in own}
    assert spoken == set(Message.MessageType.keys()) - NOT_SPOKEN.get(path.stem, set())
