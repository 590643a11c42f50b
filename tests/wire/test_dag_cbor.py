"""One encoding for each value, and nothing but values of the model."""

import math

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2pkad.errors import RemoteProtocolError
from p2pkad.wire.dag_cbor import decode_dag_cbor, encode_dag_cbor
from tests.support.generated import examples
from tests.support.records import with_one_byte_changed

links = st.binary(max_size=40).map(lambda cid: cbor2.CBORTag(42, b"\x00" + cid))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | links
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def reason(data: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as raised:
        decode_dag_cbor(data)
    return raised.value.reason


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def kinds(value: object) -> object:
    """A value with its types: 1, 1.0 and True are equal elsewhere."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in value.items()}
    return [kinds(inner) for inner in value] if isinstance(value, list) else (type(value), repr(value))


@given(value=values.filter(lambda value: depth(value) <= 16))
def test_what_is_encoded_can_be_decoded(value):
    assert kinds(decode_dag_cbor(encode_dag_cbor(value))) == kinds(value)


@given(data=st.binary(max_size=60) | values.map(cbor2.dumps))
@settings(max_examples=examples(500))
@example(data=b"")
def test_any_bytes_are_one_encoding_or_refused(data):
    try:
        read = decode_dag_cbor(data)
    except RemoteProtocolError:
        return
    assert encode_dag_cbor(read) == data


@given(value=values, data=st.data())
@settings(max_examples=examples(300))
def test_a_changed_byte_leaves_another_value_or_none(value, data):
    changed = data.draw(with_one_byte_changed(encode_dag_cbor(value)))
    try:
        read = decode_dag_cbor(changed)
    except RemoteProtocolError:
        return
    assert kinds(read) != kinds(value)


def test_keys_stand_by_length_and_then_bytewise():
    sorted_keys = ["", "b", "aa", "ab", "é", "b" * 24, "a" * 256]
    encoded = encode_dag_cbor(dict.fromkeys(reversed(sorted_keys), 0))
    assert list(decode_dag_cbor(encoded)) == sorted_keys


@pytest.mark.parametrize(
    "data",
    [
        b"\x18\x01",
        b"\x19\x00\xff",
        b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff",
        b"\x58\x01a",
        b"\xa2\x61b\x00\x61a\x00",
        b"\xa2\x62aa\x00\x61b\x00",
        b"\xf9\x3c\x00",
        b"\xfa\x3f\x80\x00\x00",
        b"\x01\x01",
        b"\xf7",
        b"\xf0",
        b"\xf8\xff",
        b"\xa1\x41a\x00",
        b"\xd8\x2a\x41\x01",
        b"\xd8\x2a\x40",
        b"\xd8\x2a\x00",
        b"\xd9\x00\x2a\x41\x00",
        b"\xfb" + b"\x7f\xf0" + bytes(6),
        b"\xfb" + b"\x7f\xf8" + bytes(6),
    ],
    ids=lambda data: data.hex(),
)
def test_another_encoding_is_refused(data):
    cbor2.loads(data)
    assert reason(data) == "DAG-CBOR: not in its canonical encoding"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x62a",
        b"\x61\xff",
        b"\x9b" + b"\xff" * 8,
        b"\x7b" + b"\x7f" + b"\xff" * 7,
        b"\x9f\x01\xff",
        b"\x5f\x41a\xff",
        b"\xbf\x61a\x00\xff",
        b"\xff",
        b"\x1c",
        b"\xa2\x61a\x00\x61a\x00",
        b"\xa1\x80\x00",
        b"\xa1\x01\x00",
        b"\x81" * 17 + b"\x00",
        b"\x81" * 10_000,
    ],
    ids=lambda data: data[:12].hex(),
)
def test_what_is_none_is_refused(data):
    assert reason(data) == "DAG-CBOR: not readable"


@given(tag=st.integers(0, 2**64 - 1).filter(lambda tag: tag != 42) | st.integers(0, 41) | st.sampled_from([256, 1004, 55799]))
def test_tags_are_refused_before_anything_is_made_of_them(tag):
    assert reason(cbor2.dumps(cbor2.CBORTag(tag, b"\x01"))) == "DAG-CBOR: not readable"


def test_references_make_no_large_value_of_a_small_one():
    doubled = b"\xd8\x1c\x82\x00\x00"
    for number in range(30):
        doubled = b"\xd8\x1c\x82" + doubled + b"\xd8\x1d" + cbor2.dumps(number)
    assert reason(doubled) == "DAG-CBOR: not readable"


def test_sixteen_levels_are_enough():
    assert depth(decode_dag_cbor(b"\x81" * 16 + b"\x00")) == 16


def test_whole_floats_stay_floats():
    assert encode_dag_cbor(1.0) == b"\xfb\x3f\xf0" + bytes(6)
    assert math.copysign(1, decode_dag_cbor(encode_dag_cbor(-0.0))) == -1
