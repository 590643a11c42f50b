"""A command ends when it is done or when it is told to, and closes what it opened."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio
import trio.lowlevel

from p2pkad.cli import exits
from p2pkad.cli.process import execute


@pytest.fixture(autouse=True)
def as_an_entry_leaves_it() -> Iterator[None]:
    gc.disable()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
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


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stopped", [None, 0])
def test_told_again_it_closes_all_the_same(first, stopped):
    closed = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), first)
            await trio.sleep_forever()
        finally:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.01)
            closed.append(True)
        return 5

    assert execute(work, stopped=stopped) == (128 + first if stopped is None else stopped)
    os.kill(os.getpid(), signal.SIGTERM)  # while the interpreter ends
    assert closed == [True]


def test_a_further_ctrl_c_ends_what_takes_too_long_to_close():
    program = (
        "import os, signal, trio\n"
        "from p2pkad.cli.process import execute\n"
        "async def work():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        await trio.sleep_forever()\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        with trio.CancelScope(shield=True):\n"
        "            await trio.sleep(60)\n"
        "execute(work, stopped=0)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)
    assert (run.returncode, run.stderr) == (exits.INTERRUPTED, "")


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
