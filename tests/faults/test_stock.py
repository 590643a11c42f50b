"""The stock twins: is a plain py-libp2p host still as `faults.py` says?

Each runs in a process of its own, ten seconds at most. As long as the answer is yes, the twin is expected to fail, and
does (xfail, strict). A host that shows anything else makes it red: one that has been mended with the sentence which
workaround may go, one that fails in another way with what it showed.
"""

from __future__ import annotations

import pytest

from tests.faults.faults import FAULTS, Fault, shows
from tests.faults.stock import open_stock
from tests.support.child import Died, Hung, Outcome, Raised, Returned, run_in_child

SECONDS = 10.0


class StillSo(Exception):
    """The plain host did precisely what its entry says."""


def twin(fault: Fault) -> object:
    """The entry as a parameter: expected to fail in this one way."""
    reason = f"once a plain host masters fault {fault.name}, this may go, and the entry with it: {fault.workaround}"
    return pytest.param(fault, id=fault.name, marks=pytest.mark.xfail(strict=True, raises=StillSo, reason=reason))


def judge(fault: Fault, outcome: Outcome) -> None:
    """Returns when the fault is mended. Raises StillSo when it is as it was, AssertionError when it is neither."""
    if shows(outcome, fault.stock):
        raise StillSo
    if not shows(outcome, fault.mended or fault.ours):
        raise AssertionError(f"{fault.name}: expected {fault.stock}, saw {outcome}\n{outcome.log[-3000:]}")


@pytest.mark.stock
@pytest.mark.parametrize("fault", [twin(fault) for fault in FAULTS])
def test_a_plain_host_still_shows_the_fault(fault: Fault) -> None:
    judge(fault, run_in_child(fault.attack, open_stock, seconds=SECONDS))


class TestTheTwins:
    fault = next(fault for fault in FAULTS if fault.attack.__name__ == "token_that_is_not_text")

    def test_the_very_failure_is_the_expected_one(self) -> None:
        with pytest.raises(StillSo):
            judge(self.fault, Raised(("UnicodeDecodeError",)))

    def test_a_host_that_shows_what_ours_shows_is_mended(self) -> None:
        judge(self.fault, Returned(dict(self.fault.ours)))

    @pytest.mark.parametrize(
        "outcome",
        [
            Raised(("KeyError",)),
            Raised(("KeyError", "UnicodeDecodeError")),
            Returned({"bystander_answered": True, "newcomer_answered": False}),
            Died(-11),
            Hung(SECONDS),
        ],
        ids=repr,
    )
    def test_any_other_ending_is_neither(self, outcome: Outcome) -> None:
        with pytest.raises(AssertionError, match=r"expected .*UnicodeDecodeError"):
            judge(self.fault, outcome)
