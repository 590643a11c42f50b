"""The messages that scenarios write by hand say what those of real peers say."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from frames import Kind, Message, Peer, Record, decode, encode, provider, record, request, varint

from p2pkad.core.messages import AddProvider, GetValue, PutValue
from p2pkad.wire.codec import decode_request
from p2pkad.wire.framing import FrameDecoder

GOLDEN = Path(__file__).parents[1] / "wire" / "golden"
EXCHANGES = [one for path in sorted(GOLDEN.glob("*.json")) for one in json.loads(path.read_text())["exchanges"]]


def body(frame: bytes) -> bytes:
    decoder = FrameDecoder(1 << 22)
    decoder.feed(frame)
    (payload,) = iter(decoder.next_frame, None)
    assert payload is not None
    return payload


@pytest.mark.parametrize("frame", [one[part] for one in EXCHANGES for part in ("request", "reply") if one[part]])
def test_what_a_peer_wrote_is_read_as_go_reads_it(frame: dict[str, Any]) -> None:
    said, found = frame["message"], decode(body(bytes.fromhex(frame["wire"])))
    assert Kind(int(found.get(Message.TYPE, [0])[0])).name == said.get("type", "PUT_VALUE")
    assert found.get(Message.KEY, [b""]) == [b64decode(said.get("key", ""))]
    assert len(found.get(Message.CLOSER, [])) == len(said.get("closerPeers", []))
    for entry, told in zip(found.get(Message.PROVIDERS, []), said.get("providerPeers", []), strict=True):
        assert isinstance(entry, bytes)
        assert decode(entry)[Peer.ID] == [b64decode(told["id"])]
        assert decode(entry).get(Peer.ADDRESSES, []) == list(map(b64decode, told.get("addrs", [])))
    for held in found.get(Message.RECORD, []):
        assert isinstance(held, bytes)
        assert decode(held).get(Record.TTL, [0]) == [said["record"].get("ttl", 0)]


def test_what_is_written_is_a_request() -> None:
    assert decode_request(body(request(Kind.GET_VALUE, b"key"))) == GetValue(b"key")
    put = decode_request(body(request(Kind.PUT_VALUE, b"key", record(b"key", b"value"))))
    assert isinstance(put, PutValue)
    assert put.record.value == b"value"
    announced = decode_request(body(request(Kind.ADD_PROVIDER, b"\x12\x20" + bytes(32), provider(b"\x00\x01a", [b""]))))
    assert isinstance(announced, AddProvider)
    assert [bytes(info.id) for info in announced.providers] == [b"\x00\x01a"]


def test_numbers_of_any_size_come_back() -> None:
    for number in (0, 1, 127, 128, 300, 2**32, 2**63):
        assert decode(encode((1, number))) == {1: [number]}
    assert varint(300) == b"\xac\x02"


@pytest.mark.parametrize("wrong", [b"\x0a\x02a", b"\x0d\x00\x00\x00\x00", b"\x0a", b"\x80"])
def test_what_is_no_message_is_said(wrong: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        decode(wrong)
