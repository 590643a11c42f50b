"""What is due when: jobs by name, each at a fixed interval after the last time it was done.

Times: monotonic seconds, from the caller. Total: any call at any time has a defined result, and an unknown job is a KeyError.
"""

from __future__ import annotations

from collections.abc import Mapping


class Schedule:
    """Jobs and their next times. The first time of each is one interval from `now`."""

    def __init__(self, intervals: Mapping[str, float], now: float) -> None:
        self._intervals = dict(intervals)
        self._due = {job: now + interval for job, interval in intervals.items()}

    def due(self, now: float) -> list[str]:
        """The jobs whose time has come, the longest due first. They stay due until they are done."""
        return sorted((job for job, at in self._due.items() if at <= now), key=lambda job: self._due[job])

    def next(self) -> float:
        """When the next job is due; never without jobs."""
        return min(self._due.values(), default=float("inf"))

    def done(self, job: str, now: float) -> None:
        """`job` was done: it is due again one interval from `now`."""
        self._due[job] = now + self._intervals[job]

    def run_at(self, job: str, at: float) -> None:
        """`job` is due at `at`, if that is sooner than it would be anyway."""
        self._due[job] = min(self._due[job], at)

    def __repr__(self) -> str:
        return "<Schedule " + " ".join(f"{job}@{at:.0f}" for job, at in self._due.items()) + ">"
