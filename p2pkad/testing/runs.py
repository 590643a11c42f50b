"""Runs in virtual time that are the same in every detail whenever they have the same seed.

trio picks the next task by chance, so that nobody relies on an order. Two switches inside it make the choice a function of a
seed; both are private, and this is the only module that touches them. When a release of trio changes them, every run here
fails at once and says so, instead of being a little different each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from random import Random
from typing import Any, TypeVar

import trio
from trio import _core as trio_core
from trio.testing import MockClock

T = TypeVar("T")


def run_simulated(async_function: Callable[..., Awaitable[T]], *args: Any, seed: int = 1) -> T:
    """`trio.run(async_function, *args)` in virtual time, with the same schedule for the same seed.

    Virtual time stands still while anything is to be done, and jumps to the next deadline when nothing is. Threads and
    sockets are not for such a run: time does not wait for them.
    Raises RuntimeError: this trio cannot be made to repeat itself. Otherwise what the function raises.
    """
    with repeatable(seed):
        return trio.run(async_function, *args, clock=MockClock(autojump_threshold=0))


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
