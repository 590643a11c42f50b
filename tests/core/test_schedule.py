from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.schedule import Schedule


def test_a_job_is_due_one_interval_after_it_was_done() -> None:
    schedule = Schedule({"often": 2, "rarely": 10}, now=0)
    assert (schedule.due(1.9), schedule.next()) == ([], 2)
    assert schedule.due(2) == ["often"]
    schedule.done("often", 3)
    assert (schedule.due(4.9), schedule.next()) == ([], 5)
    assert schedule.due(10) == ["often", "rarely"]
    assert repr(schedule) == "<Schedule often@5 rarely@10>"


def test_a_job_can_be_moved_nearer_but_not_away() -> None:
    schedule = Schedule({"job": 10}, now=0)
    schedule.run_at("job", 4)
    schedule.run_at("job", 20)
    assert schedule.next() == 4


def test_without_jobs_nothing_is_ever_due() -> None:
    assert (Schedule({}, now=0).due(inf), Schedule({}, now=0).next()) == ([], inf)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 50)), max_size=40))
def test_what_is_due_is_what_next_says(steps: list[tuple[str, float]]) -> None:
    now = 0.0
    schedule = Schedule({"a": 1, "b": 7, "c": 30}, now)
    for job, pause in steps:
        now += pause
        assert bool(schedule.due(now)) == (schedule.next() <= now)
        schedule.done(job, now)
        assert job not in schedule.due(now)
