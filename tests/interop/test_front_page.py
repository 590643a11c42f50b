"""The matrix on the front page is that of the scenarios that there are."""

from __future__ import annotations

import re

import pytest
from cells import cells_of
from implementations import IMPLEMENTATIONS
from run import README
from scenarios import SCENARIOS
from tables import BEGIN, END


def rows() -> dict[str, list[str]]:
    """The fields of each row, by the first one."""
    table = README.read_text().partition(BEGIN)[2].partition(END)[0]
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return {first.strip(): [field.strip() for field in rest] for first, *rest in lines}


def test_it_has_a_row_for_each_scenario_and_a_column_for_each_implementation() -> None:
    head, rule, *names = rows()
    assert (head, rows()[head], rule) == ("", list(IMPLEMENTATIONS), "---")
    assert names == list(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_counts_every_cell_and_none_is_red_or_was_not_run(name: str) -> None:
    cells = cells_of([SCENARIOS[name]], tuple(IMPLEMENTATIONS))
    for implementation, field in zip(IMPLEMENTATIONS, rows()[name], strict=True):
        counts = dict(re.findall(r"(\S) (\d+)", field))
        assert sum(map(int, counts.values())) == sum(implementation in cell.peers for cell in cells)
        assert counts.keys() <= {"✓", "≠"}
