"""Any bytes, the larger value wins."""

from hypothesis import given
from hypothesis import strategies as st

from p2pkad.validators.base import Validators
from p2pkad.validators.opaque import OpaqueValidator
from tests.support.records import same_winner_in_every_order

validator = OpaqueValidator()


@given(key=st.binary(), value=st.binary())
def test_everything_is_valid(key, value):
    validator.validate(key, value, now=0)


def test_the_larger_value_wins_byte_by_byte():
    assert validator.select(b"/ns/key", [b"9", b"10", b"9\x00", b""]) == 2


@given(values=st.lists(st.binary(max_size=3), min_size=1), data=st.data())
def test_every_order_has_the_same_winner(values, data):
    assert same_winner_in_every_order(validator, b"/ns/key", values, data)


def test_of_equal_values_the_first_is_taken():
    assert Validators({"ns": validator}).select(b"/ns/key", [b"b", b"a", b"b"]) == 0
