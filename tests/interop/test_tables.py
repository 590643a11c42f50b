"""Tables of a run, from results that nobody played."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
import tables
from cells import DEVIATIONS, Cell, Result, Verdict, cells_of
from matrix import Run, by_network, command
from run import CELL_LOGS, LOGS
from stages import Stage

from tests.interop.made_up import KEEP, READ


@pytest.fixture
def run() -> Run:
    """Two scenarios of two implementations: one red cell, a deviation, one that was not run."""
    results = [Result(cell, Verdict.GREEN, "read", 0.25) for cell in cells_of([READ], "ab")]
    results[3] = Result(results[3].cell, Verdict.RED, "<garbage>,\ninstead of: read", 1.0)
    results += [
        Result(Cell(KEEP, ("a", "a")), Verdict.GREEN, "kept"),
        Result(Cell(KEEP, ("a", "b")), Verdict.NOT_RUN, "NOT RUN: no b"),
        Result(Cell(KEEP, ("b", "a")), Verdict.DEVIATION, "lost", line="loses"),
        Result(Cell(KEEP, ("b", "b")), Verdict.DEVIATION, "lost", line="loses"),
    ]
    return Run("again", results, {"a": {"a-kad": "1.2", "a": "3"}}, 12.3)


def test_the_overview_counts_and_what_was_not_run_is_never_green(run: Run) -> None:
    rows = [line.split() for line in tables.overview(run).splitlines()]
    assert rows[1:] == [["read", "7", "-", "1", "-"], ["keep", "1", "2", "-", "1"]]
    assert run.summary == "8 green, 2 deviation, 1 red, 1 not run"


def test_markdown_has_a_row_for_all_roles_but_the_last(run: Run) -> None:
    text = tables.markdown(run)
    assert "| a | a-kad 1.2, a 3 |" in text
    assert "| bootstrap/writer \\ reader | a | b |" in text
    assert "| **a/b** | ✓ | ✗ |" in text
    assert "| **a** | ✓ | · |" in text
    assert "| **b** | [≠](../../../interop/DEVIATIONS.md#loses) | [≠](../../../interop/DEVIATIONS.md#loses) |" in text
    assert "- read a/b/b: <garbage>, instead of: read\n  `python interop/run.py --scenario read" in text


def test_json_has_every_cell_and_the_versions(run: Run) -> None:
    read = json.loads(tables.json_text(run))
    assert read["counts"] == {"green": 8, "deviation": 2, "red": 1, "not run": 1}
    assert read["versions"]["a"] == {"a-kad": "1.2", "a": "3"}
    assert read["cells"][3] == {
        "scenario": "read",
        "roles": {"bootstrap": "a", "writer": "b", "reader": "b"},
        "verdict": "red",
        "detail": "<garbage>,\ninstead of: read",
        "deviation": None,
        "seconds": 1.0,
    }


def test_deviations_are_linked_to_the_page_that_is_in_the_repository() -> None:
    for place in (LOGS, CELL_LOGS):
        assert (place / tables.PAGE_OF_LINES).resolve() == DEVIATIONS


class Squares(HTMLParser):
    """Collects the titles of the squares, and all that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "td":
            self.titles.append(given["title"] or "")
        self.loaded += [tag] if "src" in given or tag in {"link", "script"} else []


def test_the_page_has_a_square_for_each_cell_and_loads_nothing(run: Run) -> None:
    squares = Squares()
    squares.feed(tables.page(run))
    assert len(squares.titles) == len(run.results)
    assert "read a/b/b: <garbage>,\ninstead of: read (1000 ms)" in squares.titles
    assert squares.loaded == []


def test_the_command_repeats_one_cell_with_its_keys(run: Run) -> None:
    assert command(run.results[3].cell, "my seed") == ("python interop/run.py --scenario read --cell a/b/b --seed 'my seed'")


def test_cells_of_one_stage_and_bootstrap_peer_share_a_network(run: Run) -> None:
    groups = by_network(result.cell for result in run.results)
    assert {place: len(cells) for place, cells in groups.items()} == {(Stage.HUB, "a"): 6, (Stage.HUB, "b"): 6}


def test_each_implementation_has_a_column_for_the_cells_that_it_takes_part_in(run: Run) -> None:
    assert tables.by_implementation(run).splitlines()[2:] == [
        "| read | ✓ 6 ✗ 1 | ✓ 6 ✗ 1 |",
        "| keep | ✓ 1 ≠ 1 · 1 | ≠ 2 · 1 |",
    ]


def test_the_front_page_gets_the_table_between_its_comments_and_nothing_else_changes(run: Run) -> None:
    page = f"above\n{tables.BEGIN}\nold\n{tables.END}\nbelow\n"
    written = tables.in_readme(page, run)
    assert tables.by_implementation(run) in written
    assert "old" not in written
    assert written.startswith(f"above\n{tables.BEGIN}\n")
    assert written.endswith(f"\n{tables.END}\nbelow\n")
    assert tables.in_readme(written, run) == written
    with pytest.raises(ValueError, match="there is no"):
        tables.in_readme("nothing", run)
