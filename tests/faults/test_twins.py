"""A stock twin tells three endings apart: the fault as it was, the fault mended, and anything else."""

from __future__ import annotations

import pytest

from tests.faults.attacks.streams import token_that_is_not_text
from tests.faults.faults import Fault, StillSo, judge
from tests.support.child import Died, Hung, Outcome, Raised, Returned

FAULT = Fault(
    number=1,
    attack=token_that_is_not_text,
    stock=Raised(("UnicodeDecodeError",)),
    ours={"bystander_answered": True, "newcomer_answered": True},
    workaround="the guard",
)


def test_the_very_failure_is_the_expected_one() -> None:
    with pytest.raises(StillSo):
        judge(FAULT, Raised(("UnicodeDecodeError",)))


def test_a_host_that_shows_what_ours_shows_is_mended() -> None:
    judge(FAULT, Returned({**FAULT.ours, "beside": "the point"}))


@pytest.mark.parametrize(
    "outcome",
    [
        Raised(("KeyError",)),
        Raised(("KeyError", "UnicodeDecodeError")),
        Returned({"bystander_answered": True, "newcomer_answered": False}),
        Died(-11),
        Hung(10.0),
    ],
    ids=repr,
)
def test_any_other_ending_is_neither(outcome: Outcome) -> None:
    with pytest.raises(AssertionError, match=r"expected .*UnicodeDecodeError"):
        judge(FAULT, outcome)
