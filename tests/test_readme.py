"""What the front page lists is what there is. Its blocks are run by tests/docs."""

from __future__ import annotations

import inspect
import re

from p2pkad.node.service import KademliaService
from tests.support.running import ROOT

README = (ROOT / "README.md").read_text()


def test_everything_that_a_node_can_do_is_listed() -> None:
    offered = {name for name, _ in inspect.getmembers(KademliaService, inspect.isfunction) if not name.startswith("_")}
    listed = re.search(r"is on \[`KademliaService`\](.*?)\. ", README, re.DOTALL)
    assert listed is not None
    assert offered - {"aclose"} == set(re.findall(r"`(\w+)`", listed[1])), "an `async with` closes it"
