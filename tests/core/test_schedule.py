from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.schedule import SPREAD, Schedule


def even() -> float:
    """Dice that spread nothing."""
    return 0.5


def test_a_job_is_due_one_interval_after_it_was_done() -> None:
    schedule = Schedule({"often": 2, "rarely": 10}, 0, even)
    assert (schedule.at("often"), schedule.at("rarely")) == (2, 10)
    assert (schedule.soonest(["often", "rarely"]), schedule.soonest(["rarely"])) == (2, 10)
    schedule.done("often", 3)
    assert (schedule.at("often"), schedule.at("rarely")) == (5, 10)
    assert repr(schedule) == "<Schedule often@5 rarely@10>"


def test_a_job_can_be_moved_nearer_but_not_away() -> None:
    schedule = Schedule({"job": 10}, 0, even)
    schedule.run_at("job", 4)
    schedule.run_at("job", 20)
    assert schedule.at("job") == 4


def test_a_job_that_does_not_exist_is_an_error() -> None:
    schedule: Schedule[str] = Schedule({}, 0, even)
    with pytest.raises(KeyError):
        schedule.done("job", 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 50), st.floats(0, 1)), max_size=40))
def test_each_interval_is_spread_and_never_far_from_what_it_says(steps: list[tuple[str, float, float]]) -> None:
    intervals, now, dice = {"a": 1.0, "b": 7.0, "c": 30.0}, 0.0, [0.5]
    schedule = Schedule(intervals, now, lambda: dice[0])
    for job, pause, thrown in steps:
        now, dice[0] = now + pause, thrown
        schedule.done(job, now)
        assert abs(schedule.at(job) - now - intervals[job]) <= intervals[job] * SPREAD * 1.000001


def test_nodes_that_started_together_do_not_go_on_together() -> None:
    assert len({Schedule({"job": 600.0}, 0, lambda each=each: each / 10).at("job") for each in range(11)}) == 11  # type: ignore[misc]
