"""Records as they should not be, validators that are hard to please, and what holds for any of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from p2pkad.errors import InvalidRecord
from p2pkad.validators.base import Validator
from p2pkad.validators.opaque import OpaqueValidator


def with_one_byte_changed(good: bytes) -> st.SearchStrategy[bytes]:
    """The same bytes but for one, any of them."""

    def change(place: int, by: int) -> bytes:
        return good[:place] + bytes([good[place] ^ by]) + good[place + 1 :]

    return st.builds(change, st.integers(0, len(good) - 1), st.integers(1, 255))


def same_winner_in_every_order(validator: Validator, key: bytes, records: Sequence[bytes], data: st.DataObject) -> bool:
    """Whether a validator chooses by what it is given, not by where it stands."""
    shuffled = data.draw(st.permutations(records))
    return records[validator.select(key, records)] == shuffled[validator.select(key, shuffled)]


class Fickle(OpaqueValidator):
    """A validator that changes its mind."""

    trusts = True

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        if not self.trusts:
            raise InvalidRecord(key, "no more")
