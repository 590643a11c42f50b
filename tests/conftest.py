"""Fixtures for all tests, and `--scenario`: only the tests that hold one behaviour of docs/scenarios.md."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import hypothesis
import pytest
import trio
from hypothesis import is_hypothesis_test

from tests.scenarios import carried
from tests.support import generated  # noqa: F401 - has the profiles of hypothesis
from tests.support.programs import heed_interrupts
from tests.support.stalls import StallWatcher


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scenario", action="append", metavar="ID", help="only tests that hold this behaviour (may be repeated)")


hypothesis.settings.load_profile("p2pkad")

MEASURED = tuple(f"tests/{room}/" for room in ("core", "wire", "store", "validators"))
"""Where coverage is measured: what these rooms promise, their own tests have to show."""


def pytest_configure() -> None:
    heed_interrupts()


def pytest_itemcollected(item: pytest.Item) -> None:
    # Measuring doubles the time of a test, and those that are run by the hundred take most of it: the others have to do.
    if item.nodeid.startswith(MEASURED) and not is_hypothesis_test(getattr(item, "obj", None)):
        item.add_marker("measured")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The long ones first: whoever has nothing left to do takes over from others, and at the end waits for short ones.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    wanted = config.getoption("scenario")
    if wanted:
        config.hook.pytest_deselected(items=[item for item in items if not carried(item) & set(wanted)])
        items[:] = [item for item in items if carried(item) & set(wanted)]


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
