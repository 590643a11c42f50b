"""The list of behaviours and the tests agree."""

from __future__ import annotations

from tests.scenarios import TABLE, broken, held, listed, marked, met, played, promised

DONE = {
    *(f"L{number}" for number in range(1, 19)),
    *(f"M{number}" for number in range(1, 7)),
    *(f"F{number}" for number in range(1, 6)),
    *(f"V{number}" for number in range(1, 16)),
    *(f"P{number}" for number in range(1, 9)),
    *(f"W{number}" for number in range(1, 9)),
    *("H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9", "H11", "H12"),
}
"""Behaviours that are held and have to stay so."""


def test_every_mark_names_a_behaviour_that_is_listed():
    assert held() - listed(TABLE.read_text()).keys() == set()


def test_what_no_test_holds_stands_apart_as_not_there_yet():
    page = TABLE.read_text()
    _, _, missing = page.partition("\n## Not there yet\n")
    assert listed(missing).keys() == listed(page).keys() - held()


def test_what_was_held_once_is_held_still():
    assert DONE - held() == set()


def test_of_what_is_held_each_was_seen_to_fail():
    assert DONE - broken() == set()


def test_what_is_said_to_be_tried_with_other_implementations_is():
    _, _, missing = TABLE.read_text().partition("\n## Not there yet\n")
    assert promised(TABLE.read_text()) - met() == promised(missing)


def test_the_ids_that_cells_of_the_matrix_carry_are_those_of_its_scenarios():
    source = """
ALL = (Scenario("put-get", "V1 holds", ("V1", "L2")), *pair("turn", "it turns", ("M1",), Deviation("js-5", "lost")))
NOT = ("V9",)
"""
    assert played(source) == {"V1", "L2", "M1"}


def test_a_row_promises_other_implementations_where_it_names_peers():
    assert promised("| L1 | A ring. | host |\n| L2 | Its peers. | |\n| L3 | Two. | peers |\n| L4 | A. | host, peers |") == {
        "L3",
        "L4",
    }


def test_marks_are_found_on_tests_classes_and_parameters():
    source = """
pytestmark = pytest.mark.scenario("A1")
@pytest.mark.scenario("A2", "A3")
async def test_a(): pytest.param(1, marks=[mark.scenario("A4")])
@pytest.mark.parametrize("A5", [])
def test_b(): scenario("A6")
Case(number=1, name="A7", scenarios=("A8", "A9"))
pytest.param(case, marks=pytest.mark.scenario(*case.scenarios))
"""
    assert marked(source) == {"A1", "A2", "A3", "A4", "A8", "A9"}


def test_rows_are_read_from_tables_only():
    assert listed("| id | behaviour |\n|---|---|\n| L1 | A ring. | host |\nL2 | no\n| L3 | Two. | |") == {
        "L1": "A ring.",
        "L3": "Two.",
    }
