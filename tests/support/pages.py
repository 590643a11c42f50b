"""The pages of the repository, and the blocks of code on them.

A block of Python is one of five things, and says itself which:

file       begins with `# name.py`: a reader saves it, and a command further down runs it
quote      begins with `# some/where.py`: is in that file, word by word
program    calls `trio.run`
tests      defines functions that begin with `test_`
piece      anything else: belongs into a program in which `node` is a running node

Only the standard library is needed here: `.ci/wheel.py` reads pages, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("interop/*.md")])


class Kind(Enum):
    """What is to be done with a block of Python."""

    FILE = auto()
    QUOTE = auto()
    PROGRAM = auto()
    TESTS = auto()
    PIECE = auto()


@dataclass(frozen=True)
class Block:
    """A fenced block. line: where its text begins. file: what its first line names, a path from the root for a quote."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        name = re.match(r"# ([\w/]+\.py)\n", self.text)
        return name[1] if name else None

    @property
    def kind(self) -> Kind:
        """Of a block of Python."""
        if self.file:
            return Kind.QUOTE if "/" in self.file else Kind.FILE
        if re.search(r"^\s*(async )?def test_", self.text, re.MULTILINE):
            return Kind.TESTS
        return Kind.PROGRAM if "trio.run(" in self.text else Kind.PIECE


@dataclass(frozen=True)
class Command:
    """A line that is typed, and what the page shows of what it prints."""

    line: str
    shown: tuple[str, ...]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in order, in these languages or in all."""
    text = page.read_text()
    found = [
        Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1)
        for match in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
    return [block for block in found if not languages or block.language in languages]


def commands(block: Block) -> list[Command]:
    """What is typed in a console block: lines after `$ `, which go on where they end in a backslash."""
    typed: list[Command] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            typed.append(Command(re.sub(r"\s+#\s.*", "", line[2:]).strip(), ()))
        elif typed:
            typed[-1] = Command(typed[-1].line, (*typed[-1].shown, line))
        else:
            raise ValueError(f"line {block.line}: a console block begins with what is typed")
    return typed
