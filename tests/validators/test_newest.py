"""JSON objects, of which the newest stands."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.errors import InvalidRecord
from p2pkad.validators.base import ExpiringValidator, Validators
from p2pkad.validators.newest import NewestValidator
from tests.support.generated import examples
from tests.support.records import same_winner_in_every_order

NOW = 1_750_000_000.0
KEY = b"/status/alpha"

validator = NewestValidator()


def written(timestamp: object = NOW, **others: object) -> bytes:
    return json.dumps({"timestamp": timestamp, **others}).encode()


def reason(value: bytes, validator: NewestValidator = validator) -> str:
    with pytest.raises(InvalidRecord) as raised:
        validator.validate(KEY, value, NOW)
    assert raised.value.key == KEY
    return raised.value.reason


@pytest.mark.parametrize("timestamp", [0, NOW, NOW + 600, 1.5, 1e9])
def test_an_object_with_a_timestamp_is_valid(timestamp):
    validator.validate(KEY, written(timestamp, players=12), NOW)


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"{'timestamp': 1}", '{"timestamp": 1}'.encode("utf-16")])
def test_what_is_no_json_is_refused(value):
    assert reason(value) == "the value is not JSON that can be read"


@pytest.mark.parametrize("value", [b"[]", b"1", b"null", b'"timestamp"'])
def test_json_that_is_no_object_is_refused(value):
    assert reason(value) == "the value is JSON, but no object"


@pytest.mark.parametrize(
    "number", ["true", "null", '"1"', "[1]", "-1", "1e999", "-1e999", "9" * 400], ids=lambda text: text[:6]
)
def test_a_timestamp_that_is_no_number_of_seconds_is_refused(number):
    assert reason(f'{{"timestamp": {number}}}'.encode()) == "its 'timestamp' is not a number of seconds, 0 or more"
    assert reason(f'{{"timestamp": 1, "ttl": {number}}}'.encode()) == "its 'ttl' is not a number of seconds, 0 or more"


def test_a_missing_timestamp_is_refused():
    assert "'timestamp'" in reason(b"{}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "9" * 5000], ids=lambda text: text[:9])
def test_numbers_that_json_does_not_have_are_refused_wherever_they_are(number):
    assert "not JSON" in reason(f'{{"timestamp": 1, "other": [{number}]}}'.encode())


@pytest.mark.parametrize("names", ['"timestamp": 1, "timestamp": 2', '"timestamp": 1, "a": {"b": 1, "\\u0062": 1}'])
def test_a_name_that_is_there_twice_is_refused_wherever_it_is(names):
    assert reason(f"{{{names}}}".encode()) == "the value is not JSON that can be read"


def test_deep_nesting_is_refused():
    assert "not JSON" in reason(b'{"timestamp": 1, "other": ' + b"[" * 30_000 + b"]" * 30_000 + b"}")


def test_a_value_that_takes_long_to_read_is_refused_unread():
    assert reason(b"?" * 65_537) == "the value has 65537 bytes, 65536 are allowed"
    NewestValidator(max_bytes=100_000).validate(KEY, written(padding="?" * 70_000), NOW)


@pytest.mark.parametrize("timestamp", [NOW + 600.1, NOW * 1000, 10**300])
def test_a_timestamp_from_the_future_is_refused(timestamp):
    assert reason(written(timestamp)) == "its timestamp is more than 600 seconds ahead of the clock"


def test_how_far_ahead_and_under_which_name_can_be_chosen():
    strict = NewestValidator(field="at", max_ahead=1)
    strict.validate(KEY, b'{"at": 1750000001}', NOW)
    assert reason(b'{"at": 1750000002}', strict) == "its at is more than 1 seconds ahead of the clock"
    assert "'at'" in reason(written(), strict)


@pytest.mark.scenario("V14")
def test_a_value_past_its_ttl_is_refused():
    validator.validate(KEY, written(NOW - 9, ttl=10), NOW)
    assert reason(written(NOW - 70, ttl=10)) == "it expired 60 seconds ago"
    assert "expired" in reason(written(NOW, ttl=0))


@pytest.mark.scenario("V14")
def test_a_value_says_when_it_expires_or_leaves_it_to_the_network():
    assert isinstance(validator, ExpiringValidator)
    assert validator.expires(KEY, written(NOW, ttl=2.5)) == NOW + 2.5
    assert validator.expires(KEY, written(NOW)) is None


def test_the_newest_wins_and_of_equally_new_ones_the_larger_bytes():
    assert validator.select(KEY, [written(1), written(3), written(2)]) == 1
    assert validator.select(KEY, [written(1, name="b"), written(1, name="a"), written(1, name="c")]) == 2


values = st.lists(
    st.builds(written, st.sampled_from([0, 1, 1.0, 2, 2.5]) | st.floats(0, 1e308), name=st.sampled_from("abc")), min_size=1
)


@given(values=values, data=st.data())
def test_every_order_has_the_same_winner(values, data):
    assert same_winner_in_every_order(validator, KEY, values, data)


json_text = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["timestamp", "ttl"]), inner),
).map(lambda document: json.dumps(document).encode())


@given(value=st.binary() | json_text)
@settings(max_examples=examples(300))
def test_any_bytes_are_valid_or_an_invalid_record(value):
    try:
        validator.validate(KEY, value, NOW)
    except InvalidRecord:
        return
    assert validator.select(KEY, [value, value]) == 0
    expires = validator.expires(KEY, value)
    assert expires is None or NOW < expires <= math.inf


def test_it_fits_into_the_registry():
    registry = Validators({"status": validator})
    registry.validate(KEY, written(), NOW)
    assert registry.select(KEY, [written(1), written(2)]) == 1
    assert registry.expires(KEY, written(NOW, ttl=1)) == NOW + 1
