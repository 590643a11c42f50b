"""Behaviours by id: those that docs/scenarios.md lists, and those that tests hold.

Run as a program it prints the ones that no test holds, those without a mutant, so that nobody knows whether it can fail, and
those that are said to be tried with other implementations and are not.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "scenarios.md"
MATRIX = TESTS.parent / "interop" / "scenarios"
MUTATIONS = TESTS / "mutations.toml"


def listed(page: str) -> dict[str, str]:
    """The sentence of each id in the tables of a page."""
    return {id_: sentence.strip() for id_, sentence in re.findall(r"^\| ([A-Z]\d+) \|([^|]+)\|", page, re.MULTILINE)}


def promised(page: str) -> set[str]:
    """The ids that a page says are tried with other implementations."""
    return set(re.findall(r"^\| ([A-Z]\d+) \|.*\bpeers \|$", page, re.MULTILINE))


def marked(source: str) -> set[str]:
    """The ids in `pytest.mark.scenario(...)`, and in the `scenarios=(...)` of a case that is handed to such a mark."""
    ids: set[str] = set()
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        if ast.unparse(call.func).endswith("mark.scenario"):
            ids.update(_texts(call.args))
        ids.update(_texts(keyword.value for keyword in call.keywords if keyword.arg == "scenarios"))
    return ids


def played(source: str) -> set[str]:
    """The ids that the scenarios of a module of the matrix carry: texts like "V1" in its calls."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {text for call in calls for text in _texts(call.args) if re.fullmatch(r"[A-Z]\d+", text)}


def _texts(values: Iterable[ast.expr]) -> Iterator[str]:
    nodes = (node for value in values for node in ast.walk(value))
    return (str(node.value) for node in nodes if isinstance(node, ast.Constant))


def carried(item: pytest.Item) -> set[str]:
    """The ids that a collected test is marked with."""
    return {id_ for mark in item.iter_markers("scenario") for id_ in mark.args}


@cache
def held() -> frozenset[str]:
    """The ids that some test of this checkout is marked with. It reads them all: once is enough."""
    return frozenset().union(*(marked(path.read_text()) for path in TESTS.rglob("*.py")))


def met() -> set[str]:
    """The ids that cells of the matrix, or tests of single peers, try with other implementations."""
    sources = [path.read_text() for path in TESTS.rglob("*.py")]
    foreign = (marked(source) for source in sources if "\npytestmark = pytest.mark.foreign\n" in source)
    return set().union(*foreign, *(played(path.read_text()) for path in MATRIX.glob("*.py")))


def broken() -> set[str]:
    """The ids that some mutant takes out."""
    return {id_ for table in tomllib.loads(MUTATIONS.read_text()).values() for id_ in table["ids"]}


def main() -> int:
    page = TABLE.read_text()
    sentences, abroad, tested, shown, tried = listed(page), promised(page), held(), broken(), met()
    for id_, sentence in sentences.items():
        if id_ not in tested & shown:
            print(f"{id_:4} {'no mutant' if id_ in tested else 'no test  '}  {sentence}")
        elif id_ in abroad - tried:
            print(f"{id_:4} no peers   {sentence}")
    print(f"\n{len(tested & sentences.keys())} of {len(sentences)} have a test, {len(tested & shown)} of these a mutant.")
    print(f"{len(abroad & tried)} of {len(abroad)} are tried with other implementations, as they should be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
