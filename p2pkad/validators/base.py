"""Who decides what a record may say: one validator for each namespace.

A record key `/ns/rest` belongs to the namespace `ns` (bytes, as the keys are). go and js refuse keys whose namespace has
no validator, rust stores everything; this node refuses, unless it was given a default validator.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from traceback import extract_tb
from typing import Protocol, runtime_checkable

from p2pkad.errors import InvalidRecord, NoValidator, key_text

log = logging.getLogger(__name__)


class Validator(Protocol):
    """The rules of one namespace."""

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        """Return when `value` may stand under `key` at wall time `now` (seconds). Raises InvalidRecord with the reason."""
        ...

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The index of the best of several valid values. Every node must choose alike, whatever their order."""
        ...


@runtime_checkable
class ExpiringValidator(Validator, Protocol):
    """A validator whose values say how long they live. go and js keep no lifetime beside a record: it has to be inside."""

    def expires(self, key: bytes, value: bytes) -> float | None:
        """The wall time (seconds) after which a valid `value` is dead; None when it does not say."""
        ...


def namespace(key: bytes) -> bytes | None:
    """The `ns` of `/ns/rest`; None for a key of another shape."""
    if not key.startswith(b"/"):
        return None
    name, slash, _ = key[1:].partition(b"/")
    return name if name and slash else None


class Validators:
    """The validators of a node, chosen by namespace.

    A validator that raises anything but InvalidRecord counts as a refusal and is logged: a bug in one namespace must not
    end the node. default: for keys without a namespace, and for namespaces that nobody registered.
    """

    def __init__(self, by_namespace: Mapping[str, Validator], default: Validator | None = None) -> None:
        self._by_namespace = {name.encode(): validator for name, validator in by_namespace.items()}
        self._default = default

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        """Raises NoValidator: none is responsible for `key`. InvalidRecord: the one that is refuses `value`."""
        validator = self._for(key)
        with _refusing(key, validator):
            said: object = validator.validate(key, value, now)  # type: ignore[func-returns-value]
            if said is not None:  # who returns False means no, and whoever returns a coroutine has judged nothing
                raise TypeError(f"validate returned a {type(said).__name__}; it returns nothing, or raises InvalidRecord")

    def accepts(self, key: bytes, value: bytes, now: float) -> bool:
        """Whether `value` is valid under `key` and alive at wall time `now`: what may be served, and believed."""
        try:
            self.validate(key, value, now)
            expires = self.expires(key, value)
        except InvalidRecord:
            return False
        return expires is None or now < expires

    def require(self, key: bytes) -> None:
        """Raises NoValidator: none is responsible for `key`. InvalidRecord: the key is empty."""
        self._for(key)

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The index of the best of one or more valid values; of equal ones the first. Raises InvalidRecord as `validate`."""
        if len(values) == 1:
            return 0
        validator = self._for(key)
        with _refusing(key, validator):
            chosen = validator.select(key, values)
            if chosen < 0:
                raise IndexError(chosen)
            return values.index(values[chosen])

    def expires(self, key: bytes, value: bytes) -> float | None:
        """When a valid value dies, in wall seconds; None when its validator does not say. Raises as `validate`."""
        validator = self._for(key)
        if not isinstance(validator, ExpiringValidator):
            return None
        with _refusing(key, validator):
            said = validator.expires(key, value)
            if said != said:  # not a number: neither before nor after any time
                raise ValueError(said)
            return None if said is None else float(said)

    def _for(self, key: bytes) -> Validator:
        if not key:
            raise InvalidRecord(key, "an empty key is none: every server refuses it")
        name = namespace(key)
        validator = self._default if name is None else self._by_namespace.get(name, self._default)
        if validator is not None:
            return validator
        if name is None:
            raise NoValidator(key, "the key has no namespace (/ns/...) and there is no default validator")
        raise NoValidator(key, f"no validator is registered for the namespace {key_text(b'/' + name)}")


@contextmanager
def _refusing(key: bytes, validator: Validator) -> Iterator[None]:
    """Make an InvalidRecord of whatever else a validator raises."""
    try:
        yield
    except InvalidRecord:
        raise
    except Exception as error:
        # Without what the error says, which may be a part of the value.
        where = extract_tb(error.__traceback__)[-1]
        place = type(validator).__module__ if where.filename == __file__ else f"{where.filename}:{where.lineno}"
        told = {"validator": type(validator).__name__, "error": type(error).__name__, "place": place}
        log.error("the validator of a namespace failed", extra=told)
        raise InvalidRecord(key, f"its validator failed: {error!r}") from error
