"""What docs/testing.md lists is what there is. Its blocks are run by tests/docs."""

from __future__ import annotations

import inspect
import re

from p2pkad.testing import SimulatedNodes
from tests.support.running import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text()


def test_everything_that_can_be_done_is_on_the_page() -> None:
    offered = {name for name, _ in inspect.getmembers(SimulatedNodes) if not name.startswith("_")}
    assert offered - set(re.findall(r"net\.(\w+)", PAGE)) == set()
