"""Any bytes under any key: for networks without a rule of their own, and for tests.

It says nothing about who may write: the larger value stands, and anybody can write a larger one. Where that matters, use
`p2pkad.validators.signed`.
"""

from __future__ import annotations

from collections.abc import Sequence


class OpaqueValidator:
    """Accepts everything. Of several values the largest wins, compared byte by byte: an order that every node sees."""

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        """Returns: there is nothing to refuse."""

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The index of the largest value."""
        return max(range(len(values)), key=values.__getitem__)
