"""Behaviours by id: those that docs/scenarios.md lists, and those that tests hold.

Run as a program it prints the ones that no test holds.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "scenarios.md"


def listed(page: str) -> dict[str, str]:
    """The sentence of each id in the tables of a page."""
    return {id_: sentence.strip() for id_, sentence in re.findall(r"^\| ([A-Z]\d+) \|([^|]+)\|", page, re.MULTILINE)}


def marked(source: str) -> set[str]:
    """The ids in `pytest.mark.scenario(...)`, wherever it stands in a test module."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    marks = (call for call in calls if ast.unparse(call.func).endswith("mark.scenario"))
    return {str(ast.literal_eval(argument)) for mark in marks for argument in mark.args}


def held() -> set[str]:
    """The ids that some test of this checkout is marked with."""
    return set().union(*(marked(path.read_text()) for path in TESTS.rglob("test_*.py")))


def main() -> int:
    sentences, tested = listed(TABLE.read_text()), held()
    for id_, sentence in sentences.items():
        if id_ not in tested:
            print(f"{id_:4} {sentence}")
    print(f"\n{len(tested & sentences.keys())} of {len(sentences)} have a test; those above have none.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
