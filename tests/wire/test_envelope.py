"""Envelopes and signed values have one encoding each."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.errors import RemoteProtocolError
from p2pkad.wire.envelope import (
    Envelope,
    SignedValue,
    decode_envelope,
    decode_signed_value,
    encode_envelope,
    encode_signed_value,
    signed_bytes,
)
from tests.support.generated import examples

GOLDEN = Path(__file__).parents[1] / "validators" / "golden" / "go_envelopes.json"
FROM_GO = [bytes.fromhex(made["envelope"]) for made in json.loads(GOLDEN.read_text())["envelopes"]]

filled = st.binary(min_size=1, max_size=50)
numbers = st.integers(1, 2**64 - 1)
envelopes = st.builds(Envelope, filled, filled, filled, filled)
values = st.builds(SignedValue, filled, numbers, numbers, st.binary(max_size=50))


@pytest.mark.parametrize("data", FROM_GO)
def test_what_go_encodes_is_encoded_identically(data):
    envelope = decode_envelope(data)
    assert encode_envelope(envelope) == data
    assert encode_signed_value(decode_signed_value(envelope.payload)) == envelope.payload


@given(envelope=envelopes, signed=values)
def test_what_is_encoded_can_be_decoded(envelope, signed):
    assert decode_envelope(encode_envelope(envelope)) == envelope
    assert decode_signed_value(encode_signed_value(signed)) == signed


def test_each_part_of_what_is_signed_stands_behind_its_length():
    assert signed_bytes("dömain", b"type", b"p" * 200) == b"\x07d\xc3\xb6main" + b"\x04type" + b"\xc8\x01" + b"p" * 200


@given(data=st.binary(max_size=100))
@settings(max_examples=examples(300))
def test_any_bytes_are_one_encoding_or_refused(data):
    for decode, encode in ((decode_envelope, encode_envelope), (decode_signed_value, encode_signed_value)):
        try:
            read = decode(data)
        except RemoteProtocolError:
            continue
        assert encode(read) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0a\x05k", "envelope: not readable"),
        (b"\x0a\x01k\x12\x01t\x1a\x01p", "envelope: incomplete"),
        (b"\x12\x01t\x0a\x01k\x1a\x01p\x2a\x01s", "envelope: not in its canonical encoding"),
        (b"\x0a\x01k\x12\x01t\x1a\x01p\x2a\x01s\x32\x00", "envelope: not in its canonical encoding"),
    ],
    ids=["cut short", "no signature", "another order", "an unknown field"],
)
def test_an_envelope_is_refused_with_its_reason(data, reason):
    with pytest.raises(RemoteProtocolError) as raised:
        decode_envelope(data)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0a\x05k", "signed value: not readable"),
        (b"\x0a\x01k\x10\x01", "signed value: incomplete"),
        (b"\x10\x01\x18\x01", "signed value: incomplete"),
        (b"\x0a\x01k\x10\x81\x00\x18\x01", "signed value: not in its canonical encoding"),
        (b"\x0a\x01k\x10\x01\x18\x01\x22\x00", "signed value: not in its canonical encoding"),
    ],
    ids=["cut short", "no lifetime", "no key", "a number of too many bytes", "an empty field"],
)
def test_a_signed_value_is_refused_with_its_reason(data, reason):
    with pytest.raises(RemoteProtocolError) as raised:
        decode_signed_value(data)
    assert raised.value.reason == reason
