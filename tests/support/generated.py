"""How many examples hypothesis makes up: all in `make test`, a quarter in `make check`, which somebody waits for."""

from __future__ import annotations

import hypothesis

MANY, FEW = 100, 25
"""Examples of a test that says nothing of them, as profiles "p2pkad" and "quick"."""

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("p2pkad", deadline=None, max_examples=MANY)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=FEW)


def examples(count: int) -> int:
    """So many, or the share of them that the profile has time for."""
    return max(1, count * hypothesis.settings.default.max_examples // MANY)
