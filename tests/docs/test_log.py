"""The table of lines in docs/operating.md has what the code writes into the log, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_OF_A_NODE = "p2pkad/net/simulated/"
NOTABLE = {"warning", "error", "exception"}


def table() -> set[str]:
    page = (ROOT / "docs/operating.md").read_text()
    rows = page.split("| line | meaning | what to do |", 1)[1].split("\n\n", 1)[0]
    return {line.strip(" .") for row in rows.splitlines()[2:] for line in re.findall(r"`([^`]+)`", row.split("|")[1])}


def parsed() -> Iterator[ast.AST]:
    for path in sorted((ROOT / "p2pkad").rglob("*.py")):
        if not path.relative_to(ROOT).as_posix().startswith(NOT_OF_A_NODE):
            yield from ast.walk(ast.parse(path.read_text()))


def notable_lines() -> set[str]:
    calls = [node for node in parsed() if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args]
    logged = [call.args[0] for call in calls if ast.unparse(call.func.value) == "log" and call.func.attr in NOTABLE]  # type: ignore[attr-defined]
    told = [call.args[1] for call in calls if ast.unparse(call.func) == "self._line"]
    return {each.value for each in logged + told if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def test_each_warning_and_error_is_in_the_table():
    lines = notable_lines()
    assert len(lines) > 20, "it reads the code"
    assert {line for line in lines if not any(known in line for known in table())} == set()


def test_each_line_of_the_table_is_written_somewhere():
    said = [node.value for node in parsed() if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert {known for known in table() if not any(known in text for text in said)} == set()
