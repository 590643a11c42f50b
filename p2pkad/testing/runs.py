"""Runs in virtual time that are the same in every detail whenever they have the same seed.

trio picks the next task by chance, so that nobody relies on an order. Two switches inside it make the choice a function of a
seed; they are private, and this is the only module that touches what is private to trio. When a release changes it, every
run here fails at once and says so, instead of being a little different each time.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from math import inf
from random import Random
from typing import Any, TypeVar

import trio
from trio import _core as trio_core

from p2pkad.net.simulated.alarms import Waking

_LONG = 1e6

GARBAGE = 50_000
"""New objects after which the youngest are looked through; CPython's own 700 is for programs that hold less."""

T = TypeVar("T")


class VirtualClock(trio.abc.Clock, Waking):
    """Time that stands still while anything is to be done, and jumps to the next deadline when nothing is.

    As `trio.testing.MockClock(autojump_threshold=0)`, and several times as fast: trio asks a clock how long to sleep just when
    nothing is to be done, and this one answers that the time has come. Begins at 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def start_clock(self) -> None:
        """Nothing has to be started."""

    def current_time(self) -> float:
        """Virtual seconds."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """0, and it is that late; a long time when there is nothing to come."""
        if self._someone_waits_for_idleness():
            return _LONG
        now, due = self._now, self.due
        if due <= deadline and due < inf:
            self._now = max(now, due)
            self.wake()
        elif deadline == inf:
            return _LONG
        else:
            self._now = max(now, deadline)
        return 0.0

    def _someone_waits_for_idleness(self) -> bool:
        # Who calls `wait_all_tasks_blocked` wants to see this very moment, not a later one.
        return bool(trio_core._run.GLOBAL_RUN_CONTEXT.runner.waiting_for_idle)


def run_simulated(async_function: Callable[..., Awaitable[T]], *args: Any, seed: int = 1) -> T:
    """`trio.run(async_function, *args)` in virtual time, with the same schedule for the same seed.

    Virtual time stands still while anything is to be done, and jumps to the next deadline when nothing is. Threads and
    sockets are not for such a run: time does not wait for them.
    Raises RuntimeError: this trio cannot be made to repeat itself. Otherwise what the function raises.
    """
    with repeatable(seed), rarely_collected():
        return trio.run(async_function, *args, clock=VirtualClock())


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Inside the block the garbage collector goes through everything that there is less often.

    The nodes of a network are hundreds of thousands of objects that stay, and little of what comes and goes needs it.
    """
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Inside the block `trio.run` makes the same choices for the same seed. Raises RuntimeError as `run_simulated`."""
    run, switch = trio_core._run, "_ALLOW_DETERMINISTIC_SCHEDULING"
    dice = getattr(run, "_r", None)
    if not isinstance(dice, Random) or not hasattr(run, switch):
        raise RuntimeError(f"trio {version('trio')} has no switch for runs that repeat themselves: see {__name__}")
    before, state = getattr(run, switch), dice.getstate()
    dice.seed(seed)
    setattr(run, switch, True)
    try:
        yield
    finally:
        setattr(run, switch, before)
        dice.setstate(state)
