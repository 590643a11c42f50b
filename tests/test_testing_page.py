"""What docs/testing.md shows works."""

from __future__ import annotations

import inspect
import re

import pytest

from p2pkad.testing import SimulatedNodes
from tests.support.running import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_tests_on_the_page_pass(program: str) -> None:
    names: dict[str, object] = {}
    exec(compile(program, "docs/testing.md", "exec"), names)
    tests = [each for name, each in names.items() if name.startswith("test_") and callable(each)]
    assert tests
    for test in tests:
        test()


def test_everything_that_can_be_done_is_on_the_page() -> None:
    offered = {name for name, _ in inspect.getmembers(SimulatedNodes) if not name.startswith("_")}
    assert offered - set(re.findall(r"net\.(\w+)", PAGE)) == set()
