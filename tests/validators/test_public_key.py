"""The namespace `pk`, with records that go-libp2p made."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.errors import InvalidRecord
from p2pkad.identity import Identity
from p2pkad.validators.base import ExpiringValidator, Validators
from p2pkad.validators.public_key import PublicKeyValidator

GOLDEN = json.loads((Path(__file__).parent / "golden" / "go_records.json").read_text())["records"]
MADE = [each for each in GOLDEN if each["what"] == "public key"]
RECORDS = [(bytes.fromhex(each["key"]), bytes.fromhex(each["value"])) for each in MADE]

validator = PublicKeyValidator()


@pytest.mark.scenario("V10")
@pytest.mark.parametrize(("key", "value"), RECORDS, ids=[each["kind"] for each in MADE])
def test_what_go_publishes_is_valid(key, value):
    validator.validate(key, value, now=0)


@pytest.mark.scenario("V10")
def test_our_own_key_is_valid_and_has_the_key_that_go_expects():
    identity = Identity.generate()
    validator.validate(b"/pk/" + identity.id, identity.public_key.to_protobuf(), now=0)


@pytest.mark.scenario("V9", "V10")
def test_keys_that_are_not_utf_8_find_their_validator():
    (key, value), *_ = [(key, value) for key, value in RECORDS if key.startswith(b"/pk/\x12")]
    with pytest.raises(UnicodeDecodeError):
        key.decode()
    Validators({"pk": validator}).validate(key, value, now=0)


@pytest.mark.parametrize("index", range(len(RECORDS)))
def test_the_key_of_another_peer_is_refused(index):
    key, _ = RECORDS[index]
    _, value = RECORDS[index - 1]
    with pytest.raises(InvalidRecord, match="the public key belongs to"):
        validator.validate(key, value, now=0)


@pytest.mark.parametrize(
    "key", [b"/pk/", b"/pk/name", b"/other/" + RECORDS[0][0][4:], RECORDS[0][0] + b"/", b"/pk/12D3KooW", RECORDS[0][0][4:]]
)
def test_a_key_that_names_no_peer_is_refused(key):
    with pytest.raises(InvalidRecord, match="the key is not /pk/ and the bytes of a peer id"):
        validator.validate(key, RECORDS[0][1], now=0)


@given(value=st.binary(max_size=100), record=st.sampled_from(RECORDS))
def test_any_other_bytes_are_refused(value, record):
    with pytest.raises(InvalidRecord):
        validator.validate(record[0], value, now=0)


def test_a_key_that_hashes_to_the_bytes_must_still_be_one():
    with pytest.raises(InvalidRecord, match="public key: of unknown kind"):
        validator.validate(b"/pk/\x00\x04\x08\x07\x12\x00", b"\x08\x07\x12\x00", now=0)


def test_a_peer_id_has_one_valid_value_so_that_any_of_several_is_the_best():
    key, value = RECORDS[0]
    assert validator.select(key, [value, value]) == 0


def test_a_key_lives_as_long_as_the_network_says():
    assert not isinstance(validator, ExpiringValidator)
