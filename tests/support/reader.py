"""A reader who does what a page says: types its commands, saves its files, compares what comes with what is shown.

What a page cannot know it shows as `...`: within a line anything, alone on a line any number of lines. Addresses, peer ids
and URLs that were shown are stand-ins for those that really came: typed later, they mean these.

A command whose output ends with "Ctrl-C ends it." stays, in a terminal of its own, until the page is at its end. Then it gets
Ctrl-C, and has to end with 0 and without a complaint.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.pages import ROOT, Block, Command, Kind, blocks, commands
from tests.support.programs import heed_interrupts

STAYS = "Ctrl-C ends it."
PIECES = ROOT / "tests" / "support" / "pieces.py"

ADDRESS, ID, URL = r"/ip4/127\.0\.0\.1/tcp/\d+/p2p/12D3KooW\.\.\.", r"12D3KooW\.\.\.", r"http://127\.0\.0\.1:\d+"
STAND_IN = f"{ADDRESS}|{ID}|{URL}"


ENDING = 60.0
"""Seconds that a program may take to end after Ctrl-C, on a machine with much else to do: it should take three."""


class NotAsShown(AssertionError):
    """A command does something else than its page says."""


@dataclass
class Reader:
    """Of one page, in the main thread. bin: where the programs of the environment are, which the page calls `venv/bin`.

    skipped: the first words of commands that are not typed. environment: variables besides those that are there. known: what
    was shown for something, and what it was. seconds: for a command to end, or to say that it stays.
    """

    page: Path
    directory: Path
    bin: Path
    skipped: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    seconds: float = 180.0
    _staying: list[_Terminal] = field(default_factory=list)

    def __enter__(self) -> Self:
        heed_interrupts()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for terminal in self._staying:
            terminal.process.kill()
            terminal.process.wait()

    def follow(self) -> None:
        """Do all of it, in order. Raises NotAsShown."""
        pieces: list[Block] = []
        for block in blocks(self.page, "python", "console"):
            if block.language == "console":
                for command in commands(block):
                    self.type(command)
            elif block.kind is Kind.FILE:
                assert block.file is not None
                (self.directory / block.file).write_text(block.text)
            else:
                pieces.append(block)
        self.run([block for block in pieces if block.kind in {Kind.PIECE, Kind.TESTS}])
        self.leave()

    def type(self, command: Command) -> None:
        """One command. Returns when it has ended, or says that it stays."""
        words = shlex.split(command.line)
        if words[0] in self.skipped:
            return
        # The programs of the environment, however the page calls them.
        program = re.fullmatch(r"(?:\.?venv/bin/)?(p2pkad|python|pip)", words[0])
        first = str(self.bin / program[1]) if program else sys.executable if words[0] == "python3" else words[0]
        terminal = _Terminal.start([first, *map(self._meant, words[1:])], self)
        stays = STAYS in command.shown or words[1:2] == ["run"]
        code = terminal.wait(STAYS if stays else None, self.seconds)
        if stays and code is None:
            self._staying.append(terminal)
        elif code != 0:
            raise NotAsShown(f"{self._name()}: `{command.line}` ended with {code}: {terminal.complaints()}")
        if command.shown:
            self._compare(command, terminal.printed())

    def run(self, pieces: list[Block]) -> None:
        """The pieces of the page, in a program in which `node` is in the network of the first address that was shown."""
        if not pieces:
            return
        bootstrap = next(each for each in self.known.values() if each.startswith("/"))
        sent = json.dumps([[block.line, block.text + _calls(block)] for block in pieces])
        command = [self.bin / "python", PIECES, bootstrap, self.page]
        ran = subprocess.run(
            command,
            cwd=self.directory,
            env=self.variables(),
            input=sent,
            capture_output=True,
            text=True,
            check=False,
            timeout=self.seconds,
        )
        if ran.returncode != 0:
            raise NotAsShown(f"{self._name()}: {ran.stderr}")

    def leave(self) -> None:
        """Ctrl-C for what stays. Raises NotAsShown for what does not end well on it."""
        while self._staying:
            self._interrupt(self._staying.pop())

    def variables(self) -> dict[str, str]:
        """What the programs find in their environment."""
        return {**os.environ, **self.environment}

    def _meant(self, word: str) -> str:
        if word in self.known:
            return self.known[word]
        url = re.match(URL, word)
        if url and url[0] in self.known:
            return self.known[url[0]] + word[url.end() :]
        if url or re.fullmatch(STAND_IN, word):
            raise NotAsShown(f"{self._name()}: {word} is typed, and nothing has shown it")
        return word

    def _compare(self, command: Command, printed: str) -> None:
        pattern, names = _pattern(command.shown)
        match = re.fullmatch(pattern, printed)
        if match is None:
            shown = "\n".join(command.shown)
            raise NotAsShown(f"{self._name()}: `{command.line}`\nshows:\n{shown}\nprinted:\n{printed}")
        for name, value in zip(names, match.groups(), strict=True):
            # The first one stays: of two ids on one line nobody can say which is meant later.
            self.known.setdefault(name, value)

    def _interrupt(self, terminal: _Terminal) -> None:
        terminal.process.send_signal(signal.SIGINT)
        try:
            code = terminal.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            raise NotAsShown(
                f"{self._name()}: {ENDING:.0f} s after Ctrl-C {terminal.words} runs: {terminal.complaints()}"
            ) from None
        if code != 0 or "Traceback" in terminal.complaints():
            raise NotAsShown(f"{self._name()}: after Ctrl-C {terminal.words} ended with {code}: {terminal.complaints()}")

    def _name(self) -> str:
        return self.page.name


@dataclass
class _Terminal:
    """A command that was typed. Its output goes into files, where nothing fills up."""

    words: list[str]
    process: subprocess.Popen[bytes]
    output: Path
    errors: Path

    @classmethod
    def start(cls, words: list[str], reader: Reader) -> Self:
        scratch = Path(tempfile.mkdtemp(dir=reader.directory))
        output, errors = scratch / "output", scratch / "errors"
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(words, cwd=reader.directory, env=reader.variables(), stdout=out, stderr=err)
        return cls(words, process, output, errors)

    def wait(self, line: str | None, seconds: float) -> int | None:
        """Its exit code; None as soon as it has printed this line."""
        for _ in _until(time.monotonic() + seconds):
            if line is not None and line in self.printed().splitlines():
                return None
            code = self.process.poll()
            if code is not None:
                return code
        self.process.kill()
        raise NotAsShown(f"{self.words}: still running after {seconds:g} seconds: {self.printed()}{self.complaints()}")

    def printed(self) -> str:
        return self.output.read_text()

    def complaints(self) -> str:
        return self.errors.read_text()


def _until(deadline: float) -> Iterator[None]:
    while time.monotonic() < deadline:
        yield
        time.sleep(0.05)


def _calls(block: Block) -> str:
    """What runs the tests of a block in a thread: they have a loop of their own."""
    names = re.findall(r"^def (test_\w+)\(", block.text, re.MULTILINE) if block.kind is Kind.TESTS else []
    return "".join(f"\nawait trio.to_thread.run_sync({name})" for name in names)


def _pattern(shown: tuple[str, ...]) -> tuple[str, list[str]]:
    """What printed text has to match, and the stand-ins in it, one for each group."""
    names: list[str] = []

    def part(text: str) -> str:
        if not re.fullmatch(STAND_IN, text):
            return re.escape(text).replace(re.escape("..."), "[^\n]*")
        names.append(text)
        if re.fullmatch(URL, text):
            return r"(http://127\.0\.0\.1:\d+)"
        address = r"/ip4/127\.0\.0\.1/tcp/\d+/p2p/" if text.startswith("/") else ""
        return rf"({address}12D3KooW\w{{44}})"

    lines = ["(?:[^\n]*\n)*" if line == "..." else "".join(map(part, re.split(f"({STAND_IN})", line))) + "\n" for line in shown]
    # Some programs end what they print with the end of a line, `p2pkad get` with the end of the value.
    return re.sub("\n$", "\n?", "".join(lines)), names
