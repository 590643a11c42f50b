"""What is due when: jobs, each at an interval after the last time it was done.

Intervals are spread a little at every turn, so that nodes which started together do not go on together: what a thousand
nodes do in the same instant is a burst to everybody whom they ask.

Times: monotonic seconds, from the caller. Total: any call at any time has a defined result, and an unknown job is a KeyError.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

Job = TypeVar("Job", bound=Hashable)

SPREAD = 0.2
"""Each interval is up to this share shorter or longer."""


class Schedule(Generic[Job]):
    """Jobs and their next times. The first time of each is one interval from `now`.

    intervals: seconds by job. dice: numbers from 0 to 1, as `random.Random.random`.
    """

    def __init__(self, intervals: Mapping[Job, float], now: float, dice: Callable[[], float]) -> None:
        self._intervals = dict(intervals)
        self._dice = dice
        self._due: dict[Job, float] = {}
        for job in self._intervals:
            self.done(job, now)

    def at(self, job: Job) -> float:
        """When `job` is due."""
        return self._due[job]

    def soonest(self, jobs: Iterable[Job]) -> float:
        """When the first of these jobs, of which there is one at least, is due."""
        return min(map(self._due.__getitem__, jobs))

    def done(self, job: Job, now: float) -> None:
        """`job` was done: it is due again one interval from `now`."""
        self._due[job] = now + self._intervals[job] * (1 - SPREAD + 2 * SPREAD * self._dice())

    def run_at(self, job: Job, at: float) -> None:
        """`job` is due at `at`, if that is sooner than it would be anyway."""
        self._due[job] = min(self._due[job], at)

    def __repr__(self) -> str:
        return "<Schedule " + " ".join(f"{job}@{at:.0f}" for job, at in self._due.items()) + ">"
