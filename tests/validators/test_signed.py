"""Signed records: what is refused and why, and which of several stands."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.errors import InvalidRecord, LocalProtocolError
from p2pkad.identity import Identity
from p2pkad.validators.base import ExpiringValidator, Validators
from p2pkad.validators.signed import PAYLOAD_TYPE, SignedRecordValidator, open_record, sign_record
from p2pkad.wire.envelope import Envelope, decode_envelope, encode_envelope, signed_bytes
from tests.support.generated import examples
from tests.support.records import same_winner_in_every_order, with_one_byte_changed

GOLDEN = Path(__file__).parent / "golden"
FROM_GO = json.loads((GOLDEN / "go_envelopes.json").read_text())["envelopes"]
GO_KEYS = json.loads((GOLDEN / "go_keys.json").read_text())["keys"]

KEY = b"/violence/servers/alpha"
NOW = 1_750_000_000.0
SEQUENCE = int(NOW * 1000)

alice, bob = Identity.generate(), Identity.generate()
validator = SignedRecordValidator()


def signed(value: bytes = b"here I am", *, by: Identity = alice, key: bytes = KEY, age: float = 0, **others) -> bytes:
    return sign_record(by, key, value, **{"sequence": SEQUENCE - round(age * 1000), "lifetime": 60, **others})


def changed(record: bytes, **parts: bytes) -> bytes:
    envelope = decode_envelope(record)
    names = ("public_key", "payload_type", "payload", "signature")
    return encode_envelope(Envelope(**{name: parts.get(name, getattr(envelope, name)) for name in names}))


def resigned(payload: bytes) -> bytes:
    """A record of alice's around any payload."""
    return changed(signed(), payload=payload, signature=alice.sign(signed_bytes(validator.domain, PAYLOAD_TYPE, payload)))


def reason(record: bytes, validator: SignedRecordValidator = validator, key: bytes = KEY) -> str:
    with pytest.raises(InvalidRecord) as raised:
        validator.validate(key, record, NOW)
    assert raised.value.key == key
    return raised.value.reason


class TestSigning:
    def test_what_was_signed_is_valid_and_comes_out_again(self):
        record = signed(b"value", sequence=SEQUENCE + 1, lifetime=1.5)
        validator.validate(KEY, record, NOW)
        opened = open_record(KEY, record)
        assert (opened.key, opened.value, opened.signer) == (KEY, b"value", alice.id)
        assert (opened.sequence, opened.expires) == (SEQUENCE + 1, NOW + 1.501)

    def test_the_value_may_be_empty(self):
        validator.validate(KEY, signed(b""), NOW)

    @pytest.mark.parametrize("made", FROM_GO, ids=lambda made: made["kind"])
    def test_what_go_signs_is_valid(self, made):
        key, record = bytes.fromhex(made["key"]), bytes.fromhex(made["envelope"])
        validator.validate(key, record, made["sequence"] / 1000)
        opened = open_record(key, record)
        assert str(opened.signer) == made["signer"]
        assert opened.value.hex() == made["value"]
        assert opened.sequence == made["sequence"]
        assert validator.expires(key, record) == opened.expires == (made["sequence"] + made["lifetime"] * 1000) / 1000

    def test_what_we_sign_is_what_go_signs(self, tmp_path):
        (tmp_path / "key").write_bytes(bytes.fromhex(GO_KEYS[0]["private"]))
        made = FROM_GO[0]
        ours = sign_record(
            Identity.load(tmp_path / "key"),
            bytes.fromhex(made["key"]),
            bytes.fromhex(made["value"]),
            sequence=made["sequence"],
            lifetime=made["lifetime"],
        )
        assert ours.hex() == made["envelope"]

    @pytest.mark.parametrize("number", [0, -1, 2**64])
    def test_numbers_that_no_record_can_carry_are_the_callers_error(self, number):
        with pytest.raises(LocalProtocolError, match=f"sequence is 1 to .* not {number}"):
            signed(sequence=number)
        with pytest.raises(LocalProtocolError, match="lifetime in milliseconds is 1 to"):
            signed(lifetime=number)

    @pytest.mark.parametrize("lifetime", [float("nan"), float("inf"), 0.0001])
    def test_a_lifetime_is_a_number_of_milliseconds(self, lifetime):
        with pytest.raises(LocalProtocolError, match=", not 0"):
            signed(lifetime=lifetime)

    def test_a_record_needs_a_key_and_a_payload_type(self):
        for nothing in ({"key": b""}, {"payload_type": b""}):
            with pytest.raises(LocalProtocolError, match="a key and a payload type"):
                signed(**nothing)


@pytest.mark.scenario("V11")
class TestRefusals:
    def test_wrong_domain(self):
        assert "is not one of" in reason(signed(domain="another"))
        assert reason(signed(domain="another")).endswith("in the domain 'p2pkad-signed-record'")
        SignedRecordValidator(domain="another").validate(KEY, signed(domain="another"), NOW)

    def test_wrong_payload_type(self):
        assert reason(signed(payload_type=b"/other")) == "its payload type is /other, not /p2pkad/signed-record"
        assert len(reason(signed(payload_type=b"/" * 1_000_000))) < 200
        SignedRecordValidator(payload_type=b"/other").validate(KEY, signed(payload_type=b"/other"), NOW)
        relabelled = changed(signed(payload_type=b"/other"), payload_type=PAYLOAD_TYPE)
        assert reason(relabelled).startswith("the signature is not one of")

    def test_wrong_signature(self):
        signature = decode_envelope(signed()).signature
        for wrong in (bytes(64), signature[:-1], signature + b"\0", decode_envelope(signed(b"other")).signature):
            assert reason(changed(signed(), signature=wrong)).startswith(f"the signature is not one of {alice.id} over this")

    def test_wrong_key(self):
        other = bob.public_key.to_protobuf()
        assert reason(changed(signed(), public_key=other)).startswith(f"the signature is not one of {bob.id}")
        assert reason(changed(signed(), public_key=b"\x08\x01\x12\x01?")) == "public key: not readable"

    def test_wrong_payload(self):
        payload = decode_envelope(signed(b"other")).payload
        assert reason(changed(signed(), payload=payload)).startswith("the signature is not one of")

    def test_truncated_anywhere(self):
        record = signed()
        reasons = {reason(record[:length]) for length in range(len(record))}
        assert reasons <= {"envelope: not readable", "envelope: incomplete"}

    def test_with_something_added(self):
        assert reason(signed() + b"\x32\x00") == "envelope: not in its canonical encoding"

    def test_replayed_under_another_key(self):
        assert reason(signed(), key=b"/violence/servers/beta") == "it was signed for another key, /violence/servers/alpha"

    def test_something_else_that_the_signer_signed(self):
        assert reason(resigned(b"\x08\x01")).startswith("signed value: ")

    def test_signed_by_somebody_who_may_not(self):
        ours = SignedRecordValidator(authorised=lambda key, signer: key.endswith(b"/" + str(signer).encode()))
        key = b"/violence/servers/" + str(alice.id).encode()
        ours.validate(key, signed(key=key), NOW)
        assert reason(signed(key=key, by=bob), ours, key) == f"{bob.id} may not sign for this key"

    def test_from_the_future(self):
        validator.validate(KEY, signed(age=-600), NOW)
        assert reason(signed(age=-600.001)) == "its sequence is a time more than 600 seconds ahead of the clock"
        assert "ahead of the clock" in reason(signed(sequence=2**64 - 1, lifetime=2**60 / 1000))
        assert "more than 1 seconds" in reason(signed(age=-2), SignedRecordValidator(max_ahead=1))

    @pytest.mark.scenario("V5", "V8", "V14")
    def test_past_its_lifetime(self):
        validator.validate(KEY, signed(age=59.999), NOW)
        assert reason(signed(age=60)) == "it expired 0 seconds ago"
        assert reason(signed(age=100)) == "it expired 40 seconds ago"

    def test_each_with_a_reason_that_tells_it_from_the_others(self):
        other_key = sign_record(alice, b"/violence/servers/beta", b"", sequence=SEQUENCE, lifetime=60)
        payload = decode_envelope(signed()).payload
        reasons = {
            "unsigned": reason(changed(signed(), signature=bytes(64))),
            "signer": reason(changed(signed(), public_key=bob.public_key.to_protobuf())),
            "key": reason(changed(signed(), public_key=b"?")),
            "type": reason(signed(payload_type=b"/other")),
            "cut": reason(signed()[:-1]),
            "cut between fields": reason(signed()[:-66]),
            "cut inside": reason(resigned(payload[:-1])),
            "replayed": reason(other_key),
            "expired": reason(signed(age=100)),
            "early": reason(signed(age=-1000)),
        }
        assert len(set(reasons.values())) == len(reasons), reasons
        # A domain is not sent: one that is wrong is a signature over something else, and the reason names the one expected.
        assert reason(signed(domain="another")) == reasons["unsigned"]

    @given(record=st.binary(max_size=300))
    def test_any_bytes(self, record):
        reason(record)

    @given(data=st.data())
    @settings(max_examples=examples(300))
    def test_any_change_of_a_byte(self, data):
        reason(data.draw(with_one_byte_changed(signed())))


records = st.builds(signed, st.sampled_from([b"a", b"b"]), by=st.sampled_from([alice, bob]), age=st.integers(0, 3))


class TestChoosing:
    def test_the_largest_sequence_wins(self):
        assert validator.select(KEY, [signed(age=2), signed(age=1), signed(age=3)]) == 1

    def test_of_equal_sequences_every_node_takes_the_same(self):
        values = [signed(b"a"), signed(b"b"), signed(b"a", by=bob)]
        assert values[validator.select(KEY, values)] == max(values)

    @given(
        records=st.lists(
            st.builds(signed, st.sampled_from([b"a", b"b"]), by=st.sampled_from([alice, bob]), age=st.integers(0, 3)),
            min_size=1,
        ),
        data=st.data(),
    )
    @settings(max_examples=examples(50))
    def test_every_order_has_the_same_winner(self, records, data):
        assert same_winner_in_every_order(validator, KEY, records, data)

    def test_what_cannot_be_read_is_not_chosen_but_refused(self):
        for call in (lambda: validator.select(KEY, [signed(), b"?"]), lambda: validator.expires(KEY, b"?")):
            with pytest.raises(InvalidRecord, match="envelope: not readable"):
                call()

    def test_it_fits_into_the_registry(self):
        assert isinstance(validator, ExpiringValidator)
        registry = Validators({"violence": validator})
        registry.validate(KEY, signed(), NOW)
        assert registry.select(KEY, [signed(age=1), signed()]) == 1
        assert registry.expires(KEY, signed()) == NOW + 60
