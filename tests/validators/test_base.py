"""The registry: which validator decides, and what happens when it fails."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from p2pkad.errors import InvalidRecord, NotFound, NoValidator
from p2pkad.validators.base import Validators, namespace
from p2pkad.validators.opaque import OpaqueValidator


class Refusing:
    """Refuses everything, with this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        raise InvalidRecord(key, self.reason)

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        raise InvalidRecord(key, self.reason)

    def expires(self, key: bytes, value: bytes) -> float | None:
        raise InvalidRecord(key, self.reason)


class Broken:
    """Raises whatever it is given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        raise self.error

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        raise self.error

    def expires(self, key: bytes, value: bytes) -> float | None:
        raise self.error


def reason(validators: Validators, key: bytes) -> str:
    with pytest.raises(InvalidRecord) as raised:
        validators.validate(key, b"value", now=0)
    return raised.value.reason


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (b"/ns/key", b"ns"),
        (b"/ns/", b"ns"),
        (b"/\xff/\xfe", b"\xff"),
        (b"/ns/a/b", b"ns"),
        (b"/ns", None),
        (b"//key", None),
        (b"ns/key", None),
        (b"", None),
    ],
)
def test_the_namespace_is_what_stands_between_the_first_two_slashes(key, name):
    assert namespace(key) == name


@pytest.mark.scenario("V9")
def test_the_validator_of_the_namespace_decides():
    validators = Validators({"a": OpaqueValidator(), "b": Refusing("b says no")}, default=Refusing("nobody knows"))
    validators.validate(b"/a/key", b"value", now=0)
    assert reason(validators, b"/b/key") == "b says no"
    assert reason(validators, b"/c/key") == "nobody knows"
    assert reason(validators, b"key") == "nobody knows"


@pytest.mark.scenario("V9")
def test_without_a_default_other_keys_are_refused_with_the_reason():
    validators = Validators({"a": OpaqueValidator()})
    assert reason(validators, b"/b/key") == "no validator is registered for the namespace /b"
    assert reason(validators, b"/\xffb/key") == "no validator is registered for the namespace hex:2fff62"
    assert reason(validators, b"key") == "the key has no namespace (/ns/...) and there is no default validator"


@pytest.mark.scenario("V9")
def test_an_empty_key_is_nobodys():
    assert reason(Validators({}, default=OpaqueValidator()), b"") == "an empty key is none: every server refuses it"


def test_what_is_refused_is_not_repeated_at_full_length():
    """Reasons go into logs, and keys come from peers."""
    long = b"/" + b"x" * 1_000_000
    assert len(reason(Validators({}), long + b"/key")) < 200


@pytest.mark.scenario("V9")
def test_with_a_default_every_key_is_somebodys():
    Validators({}, default=OpaqueValidator()).validate(b"\xff", b"value", now=0)


@pytest.mark.scenario("V9")
def test_a_validator_that_returns_something_has_judged_nothing(caplog):
    class Answering(OpaqueValidator):
        def validate(self, key: bytes, value: bytes, now: float) -> bool:
            return False

    assert "validate returned a bool" in reason(Validators({"ns": Answering()}), b"/ns/key")
    assert caplog.records[0].place == __name__


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), NotFound("it", asked=1, answered=1)], ids=type)
def test_a_validator_that_fails_refuses_and_is_logged(error, caplog):
    validators = Validators({"ns": Broken(error)})
    for call in (
        lambda: validators.validate(b"/ns/key", b"value", now=0),
        lambda: validators.select(b"/ns/key", [b"a", b"b"]),
        lambda: validators.expires(b"/ns/key", b"value"),
    ):
        caplog.clear()
        with pytest.raises(InvalidRecord) as raised:
            call()
        assert raised.value.reason == f"its validator failed: {error!r}"
        assert raised.value.__cause__ is error
        (record,) = caplog.records
        assert (record.validator, record.error) == ("Broken", type(error).__name__)
        assert record.place.startswith(__file__)
        assert str(error) not in str(vars(record)), "it may be a part of the value"


def test_a_refusal_is_no_failure(caplog):
    validators = Validators({"ns": Refusing("no")})
    for call in (
        lambda: validators.validate(b"/ns/key", b"value", now=0),
        lambda: validators.select(b"/ns/key", [b"a", b"b"]),
        lambda: validators.expires(b"/ns/key", b"value"),
    ):
        with pytest.raises(InvalidRecord, match=": no"):
            call()
    assert not caplog.records


@pytest.mark.parametrize("choice", [-1, 2, None])
def test_a_choice_that_is_none_of_the_values_is_a_failure(choice):
    class Confused(OpaqueValidator):
        def select(self, key: bytes, values: Sequence[bytes]) -> int:
            return choice

    with pytest.raises(InvalidRecord, match=r"its validator failed: (IndexError|TypeError)"):
        Validators({"ns": Confused()}).select(b"/ns/key", [b"a", b"b"])


@pytest.mark.parametrize("time", [float("nan"), "soon", datetime(2100, 1, 1)], ids=repr)
def test_an_end_that_is_no_time_is_a_failure(time):
    class Confused(OpaqueValidator):
        def expires(self, key: bytes, value: bytes) -> float | None:
            return time

    validators = Validators({"ns": Confused()})
    with pytest.raises(InvalidRecord, match=r"its validator failed: (ValueError|TypeError)"):
        validators.expires(b"/ns/key", b"value")
    assert not validators.accepts(b"/ns/key", b"value", now=0)


def test_one_value_is_the_best_without_asking():
    assert Validators({"ns": Broken(ValueError())}).select(b"/ns/key", [b"a"]) == 0


def test_of_equal_best_values_the_first_is_named():
    assert Validators({"ns": OpaqueValidator()}).select(b"/ns/key", [b"a", b"b", b"b"]) == 1


def test_a_validator_without_lifetimes_leaves_them_to_the_network():
    assert Validators({"ns": OpaqueValidator()}).expires(b"/ns/key", b"value") is None


class Mortal(OpaqueValidator):
    """Any bytes, dead at wall time 100."""

    def expires(self, key: bytes, value: bytes) -> float | None:
        return 100.0


@pytest.mark.scenario("V5", "V8")
def test_what_is_invalid_or_dead_is_not_accepted() -> None:
    validators = Validators({"any": OpaqueValidator(), "mortal": Mortal(), "no": Refusing("no")})
    assert validators.accepts(b"/any/key", b"value", now=1000)
    assert validators.accepts(b"/mortal/key", b"value", now=99)
    assert not validators.accepts(b"/mortal/key", b"value", now=100)
    assert not validators.accepts(b"/no/key", b"value", now=0)
    assert not validators.accepts(b"/other/key", b"value", now=0)


@pytest.mark.scenario("V9")
def test_a_key_needs_a_validator() -> None:
    Validators({"any": OpaqueValidator()}).require(b"/any/key")
    Validators({}, OpaqueValidator()).require(b"key")
    with pytest.raises(NoValidator, match="no validator is registered"):
        Validators({}).require(b"/any/key")
