"""A command ends when it is done or when it is told to, and closes what it opened."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
import trio
import trio.lowlevel

from p2pkad.cli.process import execute


@pytest.fixture(autouse=True)
def as_an_entry_leaves_it() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def test_a_command_that_is_done_gives_its_code():
    async def work() -> int:
        await trio.lowlevel.checkpoint()
        return 3

    assert execute(work) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("stopped", "code"), [(None, 128), (0, 0)])
def test_a_signal_ends_the_work_after_it_has_cleaned_up(number, stopped, code):
    closed = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), number)
            await trio.sleep_forever()
        finally:
            closed.append(True)
        return 5

    assert execute(work, stopped=stopped) == (code + number if code else 0)
    assert closed == [True]


def test_the_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)

    async def work() -> int:
        assert signal.getsignal(signal.SIGTERM) is not before
        return 0

    execute(work)
    assert signal.getsignal(signal.SIGTERM) is before


def test_garbage_is_looked_for_from_here_on_and_not_among_modules():
    async def work() -> int:
        assert gc.isenabled()
        assert gc.get_freeze_count() > len(gc.get_objects())
        return 0

    assert execute(work) == 0
