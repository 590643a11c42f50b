"""Which steps of which tasks kept everybody else waiting: `async def test_...(stalls)` fails when there was one.

Between two checkpoints a task has the thread for itself. On a machine that others use, too, the clock on the wall says
little about it, so two other things are looked at: the processor time that a step took, and whether it gave the
processor away of its own will (a sleep, a disk, a lock) and came back late.
"""

from __future__ import annotations

import math
import resource
import time
from dataclasses import dataclass, field

import trio

BUSY = 0.25
"""Seconds of processor time in one step."""
BLOCKED = 1.0
"""Seconds on the wall for a step that waited outside trio. Longer: the scheduler has a part in them."""


@dataclass(frozen=True)
class Stall:
    """One step that took too long. waited: it was blocked; else it was computing."""

    task: str
    seconds: float
    waited: bool


@dataclass(eq=False)
class StallWatcher(trio.abc.Instrument):
    """An instrument for `trio.lowlevel.add_instrument`."""

    busy: float = BUSY
    blocked: float = BLOCKED
    found: list[Stall] = field(default_factory=list)
    # Infinite: the step in which the watcher is installed has no beginning.
    _wall: float = math.inf
    _cpu: float = math.inf
    _waits: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._wall, self._cpu, self._waits = time.perf_counter(), time.thread_time(), _voluntary_waits()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.thread_time() - self._cpu
        if cpu >= self.busy:
            self.found.append(Stall(task.name, cpu, waited=False))
        elif wall >= self.blocked and _voluntary_waits() > self._waits:
            self.found.append(Stall(task.name, wall, waited=True))


def _voluntary_waits() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
