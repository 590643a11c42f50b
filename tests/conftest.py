"""Fixtures for all tests."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import pytest
import trio

from tests.support.stalls import StallWatcher


@pytest.fixture
async def stalls() -> AsyncIterator[StallWatcher]:
    """Fails the test in which a step of any task kept all others waiting (tests/support/stalls.py)."""
    watcher = StallWatcher()
    gc.collect()
    gc.freeze()  # what hundreds of other tests left is not gone through in a step of this one
    trio.lowlevel.add_instrument(watcher)
    yield watcher
    trio.lowlevel.remove_instrument(watcher)
    gc.unfreeze()
    assert watcher.found == []
