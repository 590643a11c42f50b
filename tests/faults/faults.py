"""What goes wrong on a plain py-libp2p host, and how to tell whether it still does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from p2pkad.events import HostFault
from tests.faults.subjects import Attack
from tests.support.child import Outcome, Raised, Returned

Shown = Mapping[str, object] | Raised
"""What an attack returns, or part of it; or the exceptions that end the program."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One situation: what a plain host shows in it, and what ours shows.

    mended: what a plain host shows that has overcome it; by default what ours shows.
    workaround: what of ours may go then. marks: the scenarios that our host's test holds.
    left: what a service on a plain host warns of, because it cannot mend it from there.
    """

    number: int
    attack: Attack
    stock: Shown
    ours: Mapping[str, object]
    mended: Mapping[str, object] = field(default_factory=dict)
    workaround: str
    left: HostFault | None = None
    marks: Collection[pytest.MarkDecorator] = ()

    @property
    def name(self) -> str:
        """As `1-token_that_is_not_text`: the tests' id."""
        return f"{self.number}-{self.attack.__name__}"

    def for_ours(self) -> object:
        """The parameter of our host's test."""
        return pytest.param(self, id=self.name, marks=self.marks)

    def for_guest(self) -> object:
        """The parameter of the test of a service on a plain host."""
        return pytest.param(self, id=self.name)

    def for_stock(self) -> object:
        """The parameter of the stock twin: it is expected to fail, and in this one way."""
        reason = f"once a plain host masters fault {self.name}, this may go, and the entry with it: {self.workaround}"
        return pytest.param(self, id=self.name, marks=pytest.mark.xfail(strict=True, raises=StillSo, reason=reason))


class StillSo(Exception):
    """The plain host did precisely what its entry says."""


def judge(fault: Fault, outcome: Outcome) -> None:
    """Returns when the fault is mended. Raises StillSo when it is as it was, AssertionError when it is neither."""
    if shows(outcome, fault.stock):
        raise StillSo
    if not shows(outcome, fault.mended or fault.ours):
        raise AssertionError(f"{fault.name}: expected {fault.stock}, saw {outcome}\n{outcome.log[-3000:]}")


def shows(outcome: Outcome, expected: Shown) -> bool:
    """Whether an attack ended like this. Of what it returned, only the expected entries are compared."""
    if isinstance(expected, Raised) or not isinstance(outcome, Returned):
        return outcome == expected
    return all(outcome.value.get(name) == value for name, value in expected.items())
