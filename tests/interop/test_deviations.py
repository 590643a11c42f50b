"""The page of deviations and the tests that watch for them."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "interop" / "DEVIATIONS.md"
HERE = Path(__file__).parent


def lines() -> list[str]:
    return re.findall(r'^\| <a id="([\w-]+)"></a>\1 \|', PAGE.read_text(), re.MULTILINE)


def test_each_line_has_an_anchor_of_its_own() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| line")]
    assert len(rows) == len(lines()) == len(set(lines()))


def test_each_deviation_that_a_test_watches_for_has_a_line() -> None:
    text = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    watched = set(re.findall(r'^@pytest\.mark\.deviation\("([\w-]+)"\)', text, re.MULTILINE))
    assert watched
    assert watched - set(lines()) == set()
