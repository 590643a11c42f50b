"""IPNS entries and the data in them: go's are read as it meant them, ours for the same are the same."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.errors import RemoteProtocolError
from p2pkad.wire.dag_cbor import decode_dag_cbor, encode_dag_cbor
from p2pkad.wire.framing import encode_varint
from p2pkad.wire.ipns import (
    IpnsData,
    IpnsEntry,
    decode_data,
    decode_entry,
    encode_data,
    encode_entry,
    read_time,
    signed_bytes,
    signed_bytes_v1,
    write_time,
)
from tests.support.generated import examples

GOLDEN = Path(__file__).parents[1] / "validators" / "golden" / "go_records.json"
MADE = [each for each in json.loads(GOLDEN.read_text())["records"] if each["what"] != "public key"]
STRANGE = {"further data", "a sequence that go writes as a negative number"}
FROM_GO = [
    pytest.param(bytes.fromhex(each["value"]), id=f"{each['kind']}, {each['what']}")
    for each in MADE
    if each["what"] not in STRANGE
]

DATA = IpnsData(b"/ipfs/bafkqaaa", b"2100-01-01T00:00:00Z", 1, 2)
FIELDS = {"Value": DATA.value, "Validity": DATA.validity, "ValidityType": 0, "Sequence": 1, "TTL": 2}

numbers = st.integers(0, 2**64 - 1)
datas = st.builds(IpnsData, st.binary(max_size=50), st.just(DATA.validity), numbers, numbers)
filled = st.binary(min_size=1, max_size=50)
keys = st.binary(max_size=50).map(lambda raw: b"\x08\x01\x12" + encode_varint(len(raw)) + raw)


def from_go(what: str) -> bytes:
    (found,) = [bytes.fromhex(each["value"]) for each in MADE if each["what"] == what and each["kind"] == "Ed25519"]
    return found


def reason(read, data: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as raised:
        read(data)
    return raised.value.reason


@pytest.mark.scenario("V10")
@pytest.mark.parametrize("record", FROM_GO)
def test_what_go_encodes_is_encoded_identically(record):
    entry = decode_entry(record)
    data = decode_data(entry.data)
    assert encode_entry(entry) == record
    assert encode_data(data) == entry.data
    assert entry.copy in (data, None)


def test_what_go_says_is_what_is_read():
    data = decode_data(decode_entry(from_go("v1 and v2")).data)
    assert data == IpnsData(b"/ipfs/bafkqaddwgevxmmraojswg33smq", b"2100-01-01T00:00:00.001953125Z", 7, 300 * 10**9)
    assert data.eol == 4_102_444_800_001_953_125


@given(data=datas, signature=filled, key=st.just(b"") | keys, signature_v1=filled)
def test_what_is_encoded_can_be_decoded(data, signature, key, signature_v1):
    assert decode_data(encode_data(data)) == data
    for entry in (
        IpnsEntry(encode_data(data), signature, key),
        IpnsEntry(encode_data(data), signature, key, data, signature_v1),
    ):
        assert decode_entry(encode_entry(entry)) == entry


def test_what_is_signed():
    assert signed_bytes(b"data") == b"ipns-signature:data"
    assert signed_bytes_v1(DATA) == b"/ipfs/bafkqaaa2100-01-01T00:00:00ZEOL"


class TestEntries:
    @given(record=st.binary(max_size=100))
    @settings(max_examples=examples(300))
    def test_any_bytes_are_an_entry_or_refused(self, record):
        try:
            entry = decode_entry(record)
        except RemoteProtocolError:
            return
        assert decode_entry(encode_entry(entry)) == entry

    @pytest.mark.parametrize("record", [b"\x4a\x05d", b"\xff", b"\x42\x01s\x4a\x01d\x3a\x01?"])
    def test_what_is_none_is_refused(self, record):
        assert reason(decode_entry, record) == "ipns entry: not readable"

    @pytest.mark.parametrize("record", [b"", b"\x42\x01s", b"\x4a\x01d", b"\x42\x00\x4a\x01d", b"\x42\x01s\x4a\x00"])
    def test_one_of_v1_alone_is_refused(self, record):
        v1 = b"\x0a\x01v\x12\x01s\x18\x00\x22\x01t\x28\x01\x30\x01"
        assert reason(decode_entry, v1 + record) == "ipns entry: without data and a v2 signature; those of v1 do not count"

    def test_order_and_unknown_fields_do_not_matter(self):
        entry = IpnsEntry(b"d", b"s", b"\x08\x01\x12\x01k")
        assert decode_entry(b"\x4a\x01d\x42\x01s\x3a\x05\x08\x01\x12\x01k") == entry
        assert decode_entry(b"\x42\x01s\x4a\x01d\x3a\x08\x12\x01k\x08\x01\x1a\x01?\xa2\x01\x01?") == entry

    def test_a_copy_is_one_when_a_value_or_a_v1_signature_is_there(self):
        v2 = b"\x42\x01s\x4a\x01d"
        assert decode_entry(v2 + b"\x28\x07\x22\x01t").copy is None
        assert decode_entry(v2 + b"\x0a\x01v").copy == IpnsData(b"v", b"", 0, 0)
        assert decode_entry(v2 + b"\x12\x01s\x18\x05\x30\x02").copy == IpnsData(b"", b"", 0, 2, validity_type=5)


class TestData:
    def test_further_keys_are_skipped(self):
        assert decode_data(encode_dag_cbor({**FIELDS, "_mine": [1, {"a": None}], "_a": True})) == DATA
        extra = decode_entry(from_go("further data")).data
        assert decode_dag_cbor(extra).items() >= {"_text": "text", "_bytes": b"\x00\xff", "_number": -1, "_flag": True}.items()
        assert decode_data(extra).sequence == 7

    @pytest.mark.parametrize("name", FIELDS)
    @pytest.mark.parametrize("value", ["absent", "text", True, None, -1, 1.0, [b""], {}])
    def test_a_field_of_another_type_is_refused(self, name, value):
        changed = {**FIELDS, name: value}
        if value == "absent":
            del changed[name]
        kind = "bytes" if name in ("Value", "Validity") else "a number, 0 or more"
        assert reason(decode_data, encode_dag_cbor(changed)) == f"ipns data: {name} is not {kind}"

    def test_a_sequence_that_go_writes_as_a_negative_number_is_refused(self):
        entry = decode_entry(from_go("a sequence that go writes as a negative number"))
        assert entry.copy.sequence == 2**63
        assert reason(decode_data, entry.data) == "ipns data: Sequence is not a number, 0 or more"

    def test_numbers_end_where_64_bits_do(self):
        assert decode_data(encode_dag_cbor({**FIELDS, "Sequence": 2**64 - 1, "TTL": 2**64 - 1})).sequence == 2**64 - 1
        assert reason(decode_data, encode_dag_cbor({**FIELDS, "Sequence": 2**64})) == "DAG-CBOR: not readable"

    def test_another_validity_type_is_refused(self):
        assert reason(decode_data, encode_dag_cbor({**FIELDS, "ValidityType": 1})) == "ipns data: of the unknown ValidityType 1"

    def test_data_that_are_no_map_are_refused(self):
        assert reason(decode_data, b"\x80") == "ipns data: not a map"

    def test_another_encoding_of_the_same_is_refused(self):
        encoded = encode_data(DATA)
        assert reason(decode_data, encoded.replace(b"\x63TTL\x02", b"\x63TTL\x18\x02")).endswith(
            "not in its canonical encoding"
        )
        assert reason(decode_data, encoded + b"\x00").endswith("not in its canonical encoding")

    def test_a_validity_that_is_no_time_is_refused(self):
        data = encode_data(replace(DATA, validity=b"soon"))
        assert reason(decode_data, data) == "ipns data: Validity is not a time as RFC 3339 writes it"


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "nanoseconds"),
        [
            (b"1970-01-01T00:00:00Z", 0),
            (b"1970-01-01T00:00:00.000000001Z", 1),
            (b"1970-01-01T00:00:00.5Z", 500_000_000),
            (b"1970-01-01T00:00:00.1234567899Z", 123_456_789),
            (b"1970-01-01T00:00:00.000000000000000000001Z", 0),
            (b"1970-01-01T01:00:00+01:00", 0),
            (b"1969-12-31T23:00:00-01:00", 0),
            (b"2000-02-29T12:34:56Z", 951_827_696 * 10**9),
            (b"0001-01-01T00:00:00+23:59", -62_135_683_140 * 10**9),
            (b"9999-12-31T23:59:59.999999999-23:59", 253_402_387_139_999_999_999),
        ],
    )
    def test_a_time_is_read_to_the_nanosecond(self, text, nanoseconds):
        assert read_time(text) == nanoseconds

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"soon",
            b"4102444800",
            b"2100-01-01",
            b"2100-01-01T00:00:00",
            b"2100-01-01 00:00:00Z",
            b"2100-01-01t00:00:00z",
            b"2100-01-01T00:00Z",
            b"2100-01-01T0:00:00Z",
            b"2100-01-01T00:00:00.Z",
            b"2100-01-01T00:00:00,5Z",
            b"2100-01-01T00:00:00Z\n",
            b" 2100-01-01T00:00:00Z",
            b"2100-01-01T24:00:00Z",
            b"2100-01-01T00:60:00Z",
            b"2100-01-01T23:59:60Z",
            b"2100-01-01T00:00:00+24:00",
            b"2100-01-01T00:00:00+01:60",
            b"2100-01-01T00:00:00+0100",
            b"2100-00-01T00:00:00Z",
            b"2100-13-01T00:00:00Z",
            b"2100-02-29T00:00:00Z",
            b"0000-01-01T00:00:00Z",
            b"10000-01-01T00:00:00Z",
            b"-100-01-01T00:00:00Z",
            "٢١٠٠-01-01T00:00:00Z".encode(),
            b"2100-01-01T00:00:00Z" + b"0" * 9000,
        ],
        ids=lambda text: text[:40],
    )
    def test_what_is_no_time_is_refused(self, text):
        assert reason(read_time, text) == "ipns data: Validity is not a time as RFC 3339 writes it"

    def test_times_are_written_with_nine_digits(self):
        assert write_time(0) == b"1970-01-01T00:00:00.000000000Z"
        assert write_time(4_102_444_800_001_953_125) == b"2100-01-01T00:00:00.001953125Z"

    @given(nanoseconds=st.integers(0, 253_402_300_800 * 10**9 - 1))
    def test_what_is_written_is_read(self, nanoseconds):
        assert read_time(write_time(nanoseconds)) == nanoseconds

    @given(text=st.binary(max_size=40) | st.from_regex(rb"[0-9T:.Z+-]{20,40}", fullmatch=True))
    def test_any_text_is_a_time_or_refused(self, text):
        with suppress(RemoteProtocolError):
            assert isinstance(read_time(text), int)
