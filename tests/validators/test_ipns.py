"""The namespace `ipns`, with records that go made: what is valid, what is refused and why, which of several stands."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.errors import InvalidRecord, LocalProtocolError
from p2pkad.identity import Identity
from p2pkad.validators.base import ExpiringValidator, Validators
from p2pkad.validators.ipns import IpnsValidator, open_ipns_record, sign_ipns_record
from p2pkad.wire.dag_cbor import decode_dag_cbor, encode_dag_cbor
from p2pkad.wire.ipns import IpnsData, decode_data, decode_entry, encode_data, encode_entry, signed_bytes
from tests.support.generated import examples
from tests.support.records import same_winner_in_every_order, with_one_byte_changed

GOLDEN = Path(__file__).parent / "golden"
MADE = [each for each in json.loads((GOLDEN / "go_records.json").read_text())["records"] if each["what"] != "public key"]
GO_KEYS = {each["kind"]: each for each in json.loads((GOLDEN / "go_keys.json").read_text())["keys"]}

NOW = 1_750_000_000.0
EXPIRES = 4_102_444_800.001953125
VALUE = b"/ipfs/bafkqaddwgevxmmraojswg33smq"

alice, bob = Identity.generate(), Identity.generate()
KEY = b"/ipns/" + alice.id
validator = IpnsValidator()


def made(what: str, kind: str = "Ed25519") -> tuple[bytes, bytes]:
    """A record of go, and its key."""
    ((key, value),) = [(each["key"], each["value"]) for each in MADE if (each["what"], each["kind"]) == (what, kind)]
    return bytes.fromhex(key), bytes.fromhex(value)


def identity_of(kind: str, directory: Path) -> Identity:
    """The one that go signed with."""
    path = directory / "key"
    path.write_bytes(bytes.fromhex(GO_KEYS[kind]["private"]))
    path.chmod(0o600)
    return Identity.load(path)


def signed(value: bytes = VALUE, *, by: Identity = alice, sequence: int = 7, expires: float = NOW + 60, **others) -> bytes:
    return sign_ipns_record(by, value, sequence=sequence, expires=expires, **others)


def changed(record: bytes, **parts: object) -> bytes:
    return encode_entry(replace(decode_entry(record), **parts))


def saying(data: bytes) -> bytes:
    """A record of alice's, without a copy, around any data."""
    return changed(signed(), data=data, signature=alice.sign(signed_bytes(data)), copy=None, signature_v1=b"")


def reason(record: bytes, key: bytes = KEY, now: float = NOW) -> str:
    with pytest.raises(InvalidRecord) as raised:
        validator.validate(key, record, now)
    assert raised.value.key == key
    return raised.value.reason


def by_name(each: dict[str, str]) -> str:
    return f"{each['kind']}, {each['what']}"


@pytest.mark.scenario("V10")
class TestWithGo:
    @pytest.mark.parametrize("each", MADE, ids=by_name)
    def test_what_go_makes_is_judged_as_go_judges_it(self, each):
        key, value = bytes.fromhex(each["key"]), bytes.fromhex(each["value"])
        if each["what"] == "a sequence that go writes as a negative number":  # nobody else reads that
            assert reason(value, key) == "ipns data: Sequence is not a number, 0 or more"
        elif not each["go_says"]:
            validator.validate(key, value, NOW)
            assert open_ipns_record(key, value).name == key.removeprefix(b"/ipns/")
            assert validator.expires(key, value) == open_ipns_record(key, value).expires > NOW
        else:
            words = {"expired": "it expired", "public key": "its public key is missing", "size": "the record has 10241 bytes"}
            (ours,) = [said for word, said in words.items() if word in each["go_says"]]
            assert reason(value, key).startswith(ours)

    @pytest.mark.parametrize("kind", GO_KEYS)
    def test_what_go_says_is_what_comes_out(self, kind):
        record = open_ipns_record(*made("v1 and v2", kind))
        assert (record.value, record.sequence, record.expires, record.ttl) == (VALUE, 7, EXPIRES, 300)
        assert str(record.name) == GO_KEYS[kind]["id"]
        assert open_ipns_record(*made("v2 alone", kind)) == record

    @pytest.mark.parametrize("kind", ["Ed25519", "Secp256k1", "RSA"])
    def test_what_we_sign_is_what_go_signs(self, kind, tmp_path):
        ours = sign_ipns_record(identity_of(kind, tmp_path), VALUE, sequence=7, expires=EXPIRES)
        assert ours.hex() == made("v1 and v2", kind)[1].hex()

    def test_the_same_record_stands_as_in_go(self):
        key, _ = made("v1 and v2")
        ranking = ["the first", "v1 and v2", "a later end of life", "a newer one", "the last sequence that go can read"]
        records = [made(what)[1] for what in ranking]
        for index in range(1, len(records)):
            assert validator.select(key, records[: index + 1]) == index
            assert validator.select(key, records[index::-1]) == 0


@pytest.mark.scenario("V10")
class TestSigning:
    def test_what_was_signed_is_valid_and_comes_out_again(self):
        record = signed(b"/ipns/example.com", sequence=0, expires=NOW + 0.5, ttl=1.5)
        validator.validate(KEY, record, NOW)
        opened = open_ipns_record(KEY, record)
        assert (opened.name, opened.value, opened.sequence) == (alice.id, b"/ipns/example.com", 0)
        assert (opened.expires, opened.ttl) == (NOW + 0.5, 1.5)

    def test_old_readers_are_told_the_same(self):
        entry = decode_entry(signed())
        assert entry.copy == decode_data(entry.data)
        assert alice.public_key.verify(entry.copy.value + entry.copy.validity + b"EOL", entry.signature_v1)

    @pytest.mark.parametrize("number", [-1, 2**63])
    def test_numbers_that_no_record_can_carry_are_the_callers_error(self, number):
        with pytest.raises(LocalProtocolError, match=f"sequence is 0 to .* not {number}"):
            signed(sequence=number)
        with pytest.raises(LocalProtocolError, match="ttl in nanoseconds is 0 to"):
            signed(ttl=number)

    @pytest.mark.parametrize("ttl", [math.nan, math.inf, -math.inf])
    def test_a_ttl_is_a_number_of_seconds(self, ttl):
        with pytest.raises(LocalProtocolError, match="ttl in nanoseconds is 0 to"):
            signed(ttl=ttl)

    @pytest.mark.parametrize("expires", [-1, 253_402_300_800, math.nan, math.inf])
    def test_an_end_of_life_has_a_year_of_four_digits(self, expires):
        with pytest.raises(LocalProtocolError, match="expires between 1970 and the year 9999"):
            signed(expires=expires)

    def test_the_last_moment_there_is(self):
        assert open_ipns_record(KEY, signed(expires=253_402_300_799)).expires == 253_402_300_799

    @pytest.mark.parametrize("value", [b"", b"bafkqaaa", b" /ipfs/bafkqaaa"])
    def test_a_value_is_a_path(self, value):
        with pytest.raises(LocalProtocolError, match="a content path, as /ipfs/bafy"):
            signed(value)

    def test_what_nobody_takes_is_not_made(self):
        with pytest.raises(LocalProtocolError, match="takes 10269 bytes, 10240 are allowed"):
            signed(b"/" * 5000)


@pytest.mark.scenario("V10")
class TestRefusals:
    @pytest.mark.parametrize(
        "key",
        [b"/ipns/", b"/ipns/name", b"/pk/" + alice.id, KEY + b"/", b"/ipns/12D3KooW", bytes(alice.id), b""],
        ids=["empty", "text", "of pk", "longer", "base58", "bare", "none"],
    )
    def test_a_key_that_names_no_peer(self, key):
        assert reason(signed(), key) == "the key is not /ipns/ and the bytes of a peer id"

    def test_a_name_with_bytes_that_are_no_key(self):
        assert reason(signed(), b"/ipns/\x00\x04\x08\x07\x12\x00") == "public key: of unknown kind 07"

    def test_signed_by_somebody_else(self):
        assert reason(signed(by=bob)).startswith(f"the v2 signature is not one of {alice.id} over")
        key, record = made("v1 and v2", "RSA")
        assert reason(record).startswith("the public key in it belongs to")
        assert reason(made("v1 and v2", "ECDSA")[1], key).startswith("the public key in it belongs to")

    def test_under_another_name(self):
        assert reason(signed(), b"/ipns/" + bob.id).startswith(f"the v2 signature is not one of {bob.id} over")

    def test_wrong_signature(self):
        entry, other = decode_entry(signed()), decode_entry(signed(sequence=8))
        for wrong in (bytes(64), entry.signature[:-1], entry.signature + b"\x00", entry.signature_v1, other.signature):
            assert reason(changed(signed(), signature=wrong)).startswith("the v2 signature is not one of")

    def test_wrong_data(self):
        assert reason(changed(signed(), data=decode_entry(signed(sequence=8)).data)).startswith(
            "the v2 signature is not one of"
        )

    def test_a_key_in_it_that_is_none(self):
        assert reason(changed(signed(), public_key=b"\x08\x01\x12\x01?")) == "public key: not readable"

    def test_the_key_of_another_in_it_although_the_name_says_it(self):
        assert reason(changed(signed(), public_key=bob.public_key.to_protobuf())).startswith("the public key in it belongs to")

    def test_v1_alone(self):
        assert reason(changed(signed(), data=b"", signature=b"")).startswith("ipns entry: without data and a v2")

    @pytest.mark.parametrize(("field", "value"), [("value", b"/other"), ("validity", b"?"), ("sequence", 8), ("ttl", 0)])
    def test_a_copy_that_says_something_else(self, field, value):
        copy = replace(decode_entry(signed()).copy, **{field: value})
        assert reason(changed(signed(), copy=copy)) == f"its copy for v1 says something else in {field}"

    def test_a_copy_with_half_of_it(self):
        assert reason(changed(signed(), copy=IpnsData(b"", b"", 0, 0))).endswith("in value, validity, sequence, ttl")
        assert reason(saying(decode_entry(signed()).data) + b"\x12\x01?").endswith("in value, validity, sequence, ttl")
        assert reason(signed() + b"\x18\x01") == "its copy for v1 says something else in validity_type"

    @pytest.mark.scenario("V14")
    def test_past_its_end_of_life(self):
        validator.validate(KEY, signed(expires=NOW + 0.001), NOW)
        assert reason(signed(expires=NOW)) == "it expired 0 seconds ago"
        assert reason(signed(expires=NOW - 40)) == "it expired 40 seconds ago"

    def test_too_large(self):
        assert reason(signed() + b"?" * 10_240) == f"the record has {len(signed()) + 10_240} bytes, 10240 are allowed"

    @pytest.mark.parametrize(
        "name_and_value",
        [("Sequence", -1), ("Sequence", 1.0), ("TTL", -1), ("ValidityType", 1), ("Validity", b"never"), ("Value", "text")],
        ids=str,
    )
    def test_signed_nonsense(self, name_and_value):
        fields = decode_dag_cbor(decode_entry(signed()).data) | dict([name_and_value])
        assert reason(saying(encode_dag_cbor(fields))).startswith("ipns data: ")

    @pytest.mark.parametrize(
        "data", [b"\x80", b"\x81" * 9000, b"\xff", b"\xc2\x42\x01\x00", b"\xa0"], ids=lambda data: data[:2].hex()
    )
    def test_signed_garbage(self, data):
        reason(saying(data))


class TestWhatDoesNotMatter:
    def test_a_wrong_v1_signature(self):
        validator.validate(KEY, changed(signed(), signature_v1=b"?"), NOW)

    def test_further_fields_around_the_data_and_in_them(self):
        validator.validate(KEY, signed() + b"\xa2\x01\x01?", NOW)
        fields = decode_dag_cbor(decode_entry(signed()).data) | {"_mine": {"deeper": [1.5, None, "é"]}}
        validator.validate(KEY, saying(encode_dag_cbor(fields)), NOW)

    def test_the_largest_sequence_and_ttl(self):
        data = replace(decode_data(decode_entry(signed()).data), sequence=2**64 - 1, ttl=2**64 - 1)
        assert open_ipns_record(KEY, saying(encode_data(data))).sequence == 2**64 - 1

    def test_another_encoding_of_the_public_key(self):
        key, record = made("v2 alone", "RSA")
        public_key = decode_entry(record).public_key
        before, _, after = record.partition(public_key)
        assert before.endswith(b"\xab\x02")
        other = before[:-2] + b"\xae\x02" + public_key + b"\x1a\x01?" + after
        validator.validate(key, other, NOW)


good = st.sampled_from([(KEY, signed()), made("v1 and v2", "RSA"), made("v2 alone"), made("v2 alone", "ECDSA")])


class TestAnyBytes:
    @given(record=st.binary(max_size=300))
    def test_are_refused(self, record):
        reason(record)

    @given(data=st.binary(max_size=100))
    def test_are_refused_even_if_they_are_signed(self, data):
        reason(saying(data or b"?"))

    @given(good=good, data=st.data())
    @settings(max_examples=examples(600))
    def test_changed_in_one_place_are_refused_or_say_the_same(self, good, data):
        key, record = good
        self.say_the_same_or_nothing(key, record, data.draw(with_one_byte_changed(record)))

    @given(good=good, data=st.data())
    @settings(max_examples=examples(300))
    def test_cut_or_extended_are_refused_or_say_the_same(self, good, data):
        key, record = good
        cut = record[: data.draw(st.integers(0, len(record)))] + data.draw(st.binary(max_size=20))
        self.say_the_same_or_nothing(key, record, cut)

    @given(
        fields=st.dictionaries(
            st.sampled_from(["Value", "Validity", "ValidityType", "Sequence", "TTL", "_mine"]),
            st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary() | st.text(),
        )
    )
    @settings(max_examples=examples(300))
    def test_with_other_fields_are_valid_or_refused(self, fields):
        record = saying(encode_dag_cbor(decode_dag_cbor(decode_entry(signed()).data) | fields))
        try:
            validator.validate(KEY, record, NOW)
        except InvalidRecord:
            return
        assert validator.select(KEY, [record, record]) == 0
        assert validator.expires(KEY, record) > NOW

    @staticmethod
    def say_the_same_or_nothing(key: bytes, before: bytes, after: bytes) -> None:
        try:
            validator.validate(key, after, NOW)
        except InvalidRecord:
            return
        assert open_ipns_record(key, after) == open_ipns_record(key, before)


def test_every_byte_that_is_signed_matters():
    record, data = signed(), decode_entry(signed()).data
    start = record.index(data)
    for index in range(start, start + len(data)):
        wrong = bytearray(record)
        wrong[index] ^= 1
        assert reason(bytes(wrong)).startswith("the v2 signature is not one of")


class TestChoosing:
    def test_the_larger_sequence_wins_then_the_later_end_then_the_larger_bytes(self):
        older, shorter, longer = signed(sequence=1, expires=NOW + 99), signed(expires=NOW + 1), signed(expires=NOW + 2)
        assert validator.select(KEY, [older, longer, shorter]) == 1
        several = [signed(b"/a"), signed(b"/b"), signed() + b"\xa2\x01\x01?"]
        assert several[validator.select(KEY, several)] == max(several)

    def test_a_nanosecond_decides(self):
        key, sooner = made("v1 and v2")
        assert validator.select(key, [sooner, made("a later end of life")[1]]) == 1

    def test_numbers_are_compared_and_not_their_text(self):
        assert validator.select(KEY, [signed(sequence=9), signed(sequence=10)]) == 1
        key, half_past_midnight = made("an end of life that is told with an offset")
        assert validator.select(key, [made("an end of life in whole seconds")[1], half_past_midnight]) == 1

    @given(
        records=st.lists(
            st.builds(signed, st.sampled_from([b"/a", b"/b"]), sequence=st.integers(0, 2), expires=st.integers(10, 12)),
            min_size=1,
        ),
        data=st.data(),
    )
    @settings(max_examples=examples(50))
    def test_every_order_has_the_same_winner(self, records, data):
        assert same_winner_in_every_order(validator, KEY, records, data)

    def test_what_cannot_be_read_is_not_chosen_but_refused(self):
        for call in (lambda: validator.select(KEY, [signed(), b"?"]), lambda: validator.expires(KEY, b"?")):
            with pytest.raises(InvalidRecord, match="ipns entry: "):
                call()

    def test_it_fits_into_the_registry(self):
        assert isinstance(validator, ExpiringValidator)
        registry = Validators({"ipns": validator})
        registry.validate(KEY, signed(), NOW)
        assert registry.select(KEY, [signed(sequence=1), signed()]) == 1
        assert registry.expires(KEY, signed()) == NOW + 60
