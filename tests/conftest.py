"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.support.stalls import StallWatcher


@pytest.fixture
async def stalls() -> AsyncIterator[StallWatcher]:
    """Fails the test in which a step of any task kept all others waiting (tests/support/stalls.py)."""
    watcher = StallWatcher()
    trio.lowlevel.add_instrument(watcher)
    yield watcher
    trio.lowlevel.remove_instrument(watcher)
    assert watcher.found == []
