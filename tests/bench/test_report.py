"""Ratios, and what a reader sees of them."""

from __future__ import annotations

import pytest
from report import Ratio, Section, percentile


def test_a_ratio_is_one_of_medians_beside_its_best_and_worst_pair() -> None:
    ratio = Ratio.between("us / them", ours=[10, 30, 20], theirs=[5, 4, 5], target=4)
    assert (ratio.times, ratio.lowest, ratio.highest) == (4, 2, 7.5)
    assert not ratio.missed
    assert "target 4 x: met" in str(ratio)


def test_a_target_that_is_missed_is_loud() -> None:
    ratio = Ratio.between("us / them", ours=[10], theirs=[5], target=2.1)
    assert ratio.missed
    assert "NOT MET" in str(ratio)


def test_without_a_target_nothing_is_missed() -> None:
    assert not Ratio.between("us / them", ours=[1], theirs=[5]).missed


def test_rounds_that_were_not_measured_in_turn_make_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        Ratio.between("us / them", ours=[1, 2], theirs=[5])


def test_a_section_shows_its_table_its_ratios_and_its_doubts() -> None:
    section = Section("Speed", ["As measured."], ("who", "a second"), [("us", "1000"), ("them", "5")])
    section.ratios.append(Ratio.between("us / them", [1000], [5]))
    section.warnings.append("it was late")
    assert str(section).splitlines() == [
        "Speed",
        "  As measured.",
        "",
        "  who    a second",
        "  us         1000",
        "  them          5",
        "",
        f"  {section.ratios[0]}",
        "",
        "  DOUBTFUL: it was late",
    ]


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (51, 100, 7)
