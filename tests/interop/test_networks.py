"""What a network of all implementations is judged by."""

from __future__ import annotations

from networks import LEAST, Score


def test_reads_are_counted_for_the_implementation_that_reads() -> None:
    score = Score()
    for complaint in (None, None, None, "lost"):
        score.note("all", "values", "go", complaint)
    score.note("survivors", "providers", "js", None)
    assert score.percentage("all", "values", "go") == 75.0
    assert score.percentage("all", "values", "js") is None
    assert [line.split() for line in score.table(["go", "js"]).splitlines()] == [
        ["go", "reads", "js", "reads"],
        ["all", "values", "75.0", "%", "-"],
        ["survivors", "providers", "-", "100.0", "%"],
        ["WRONG", "all:", "lost"],
    ]


def test_one_implementation_that_reads_too_little_is_enough_to_fail() -> None:
    score = Score()
    for number in range(100):
        score.note("all", "values", "go", None)
        score.note("all", "values", "js", None if number < LEAST else "lost")
    assert score.passes
    score.note("all", "values", "js", "lost")
    assert not score.passes


def test_what_could_not_be_written_fails_whoever_reads_the_rest() -> None:
    score = Score()
    score.note("all", "values", "go", None)
    score.failed_writes = 1
    assert not score.passes
