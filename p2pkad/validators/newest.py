"""JSON objects that say when they were written: the newest stands.

    {"timestamp": 1750000000.25, "ttl": 60, …}

timestamp: seconds since 1970, when the value was written. ttl: seconds from then on for which it is good; without one the
network's default holds. Everything else belongs to the application.

Nothing is signed: anybody can write a newer value. Where that matters, use `p2pkad.validators.signed`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from p2pkad.errors import InvalidRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestValidator:
    """Accepts JSON objects with a timestamp; the largest timestamp wins, of equal ones the value with the larger bytes.

    field: the name of the timestamp. max_ahead: seconds that it may be ahead of the reader's clock; a value from the far
    future could never be replaced. max_bytes: of the largest value, since a node does nothing else while it reads JSON:
    64 KiB take up to 6 ms, and are four times what every peer takes in one message.
    """

    field: str = "timestamp"
    max_ahead: float = 600.0
    max_bytes: int = 64 * 1024

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        """Raises InvalidRecord for what is no such object, is from the future, or is past its ttl."""
        if len(value) > self.max_bytes:
            raise InvalidRecord(key, f"the value has {len(value)} bytes, {self.max_bytes} are allowed")
        document = self._read(key, value)
        written = self._written(key, document)
        if written > now + self.max_ahead:
            raise InvalidRecord(key, f"its {self.field} is more than {self.max_ahead:g} seconds ahead of the clock")
        expires = self._expires(key, document)
        if expires is not None and expires <= now:
            raise InvalidRecord(key, f"it expired {now - expires:.0f} seconds ago")

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The index of the newest of several valid values."""
        ranks = [(self._written(key, self._read(key, value)), value) for value in values]
        return ranks.index(max(ranks))

    def expires(self, key: bytes, value: bytes) -> float | None:
        """When a valid value is past its ttl, in wall seconds; None when it has none."""
        return self._expires(key, self._read(key, value))

    def _read(self, key: bytes, value: bytes) -> dict[str, Any]:
        try:
            document = json.loads(value.decode(), parse_constant=_refuse, object_pairs_hook=_each_name_once)
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of thousands of digits; or too deep
            raise InvalidRecord(key, "the value is not JSON that can be read") from error
        if not isinstance(document, dict):
            raise InvalidRecord(key, "the value is JSON, but no object")
        return document

    def _written(self, key: bytes, document: dict[str, Any]) -> float:
        return _seconds(key, document, self.field)

    def _expires(self, key: bytes, document: dict[str, Any]) -> float | None:
        if "ttl" not in document:
            return None
        return self._written(key, document) + _seconds(key, document, "ttl")


def _seconds(key: bytes, document: dict[str, Any], field: str) -> float:
    number = document.get(field)
    # bool is a kind of int, and json reads 1e999 as infinity.
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        try:
            seconds = float(number)
        except OverflowError:
            seconds = math.inf
        if 0 <= seconds < math.inf:
            return seconds
    raise InvalidRecord(key, f"its {field!r} is not a number of seconds, 0 or more")


def _each_name_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. RFC 8259, section 4: of a name that is there twice, some readers see the first value and some the last."""
    document = dict(members)
    if len(document) != len(members):
        raise ValueError("a name is there twice")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
