"""What a cell is, and what is made of what was seen in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cells import DEVIATIONS, Cell, UnknownLine, Verdict, cells_of, check_lines, judged
from implementations import FOREIGN, IMPLEMENTATIONS
from scenarios import SCENARIOS
from stages import names_of

from tests.interop.made_up import KEEP, READ
from tests.scenarios import TABLE, listed


def test_every_combination_of_implementations_is_a_cell() -> None:
    assert [str(cell) for cell in cells_of([READ, KEEP], ["a", "b"])] == [
        *(f"read {x}/{y}/{z}" for x in "ab" for y in "ab" for z in "ab"),
        *(f"keep {x}/{y}" for x in "ab" for y in "ab"),
    ]


def test_a_place_names_one_cell_of_each_scenario_with_so_many_roles() -> None:
    assert [str(cell) for cell in cells_of([READ, KEEP], ["b", "a"], ("b", "a", "b"))] == ["read b/a/b"]


def test_who_cannot_play_a_role_does_not() -> None:
    alone = replace(KEEP, only={"writer": ("b",)})
    assert [cell.place for cell in cells_of([alone], ["a", "b"])] == ["a/b", "b/b"]


@pytest.mark.parametrize(
    ("peers", "seen", "verdict", "line"),
    [
        (("a", "b"), "kept", Verdict.GREEN, None),
        (("a", "b"), "lost", Verdict.RED, None),
        (("b", "a"), "lost", Verdict.DEVIATION, "loses"),
        (("b", "a"), "kept", Verdict.RED, "loses"),
        (("b", "a"), "something else", Verdict.RED, "loses"),
    ],
)
def test_what_was_seen_is_judged_by_what_is_wanted_or_foretold(
    peers: tuple[str, ...], seen: str, verdict: Verdict, line: str | None
) -> None:
    result = judged(Cell(KEEP, peers), seen, 1.5)
    assert (result.verdict, result.line, result.seconds) == (verdict, line, 1.5)


def test_a_red_cell_says_what_was_seen_and_what_should_have_been() -> None:
    assert judged(Cell(READ, ("a", "b", "a")), "garbage", 0).detail == "garbage, instead of: read"
    assert judged(Cell(KEEP, ("b", "a")), "kept", 0).detail == "kept, instead of, by loses: lost"


def test_in_a_pair_p2pkad_reads_and_another_of_the_writers_kind() -> None:
    pair, triple = Cell(KEEP, ("a", "b")), Cell(READ, ("a", "b", "c"))
    assert (pair.readers, triple.readers) == (("p2pkad", "b"), ("c", "b"))
    assert pair.needs == {"a", "b", "p2pkad"}
    assert names_of(triple) == ["bootstrap", "b-writer", "c-reader", "b-reader"]


def test_a_deviation_without_a_line_on_the_page_is_an_error() -> None:
    page = '| <a id="loses"></a>loses | loses | nowhere |'
    check_lines([READ, KEEP], page)
    with pytest.raises(UnknownLine, match=r"keep names loses, which is no line of DEVIATIONS\.md"):
        check_lines([KEEP], page.replace("loses", "finds"))


def test_the_deviations_of_all_scenarios_have_lines() -> None:
    check_lines(SCENARIOS.values(), DEVIATIONS.read_text())


def test_nothing_is_expected_of_p2pkad_but_what_is_wanted() -> None:
    """Whoever asks it: the bootstrap peer is the one that is judged."""
    for cell in cells_of(SCENARIOS.values(), tuple(IMPLEMENTATIONS)):
        assert cell.deviation is None or cell.cast["bootstrap"] != "p2pkad", str(cell)


def test_a_deviation_is_that_of_a_foreign_bootstrap_peer() -> None:
    for scenario in SCENARIOS.values():
        for deviation in scenario.deviations:
            assert deviation.roles.get("bootstrap") in FOREIGN, f"{scenario.name}: {deviation.line}"
            assert deviation.line.startswith(f"{deviation.roles['bootstrap']}-")


def test_scenarios_have_a_name_and_a_wish_of_their_own() -> None:
    for name, scenario in SCENARIOS.items():
        assert name == scenario.name
        assert all(deviation.seen != scenario.wanted for deviation in scenario.deviations)


def test_the_ids_of_scenarios_are_those_of_the_page() -> None:
    assert {id_ for scenario in SCENARIOS.values() for id_ in scenario.ids} <= set(listed(TABLE.read_text()))
