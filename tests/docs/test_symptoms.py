"""The table of symptoms in docs/operating.md quotes what the program says."""

from __future__ import annotations

import ast
import re
import socket
from pathlib import Path

import pytest

from p2pkad.cli.control.server import refuse_a_second
from p2pkad.errors import ConfigError

ROOT = Path(__file__).parents[2]


def symptoms() -> list[str]:
    page = (ROOT / "docs/operating.md").read_text()
    rows = page.split("| symptom | look at | do |", 1)[1].split("\n\n", 1)[0]
    return [quoted for row in rows.splitlines()[2:] for quoted in re.findall(r"`([^`]+)`", row.split("|")[1])]


def parts(quoted: str) -> list[str]:
    """A sentence without what stands for something else in it."""
    return [part.strip() for part in re.split(r"\.\.\.\S*|\S+\.toml:|N peers", quoted) if part.strip()]


def test_each_sentence_is_said_somewhere() -> None:
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "p2pkad").rglob("*.py"))]
    texts = [
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    quoted = [part for each in symptoms() for part in parts(each)]
    assert len(quoted) > 10, "it reads the table"
    assert [part for part in quoted if not any(part in text for text in texts)] == []


def test_who_starts_a_second_node_in_a_directory_finds_what_it_says(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as running:
        running.bind(str(tmp_path / "control.sock"))
        running.listen()
        with pytest.raises(ConfigError) as refused:
            refuse_a_second(tmp_path / "control.sock")
    said = str(refused.value)
    assert [each for each in symptoms() if all(part in said for part in parts(each))] != []
