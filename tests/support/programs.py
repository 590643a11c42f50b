"""Programs in processes of their own, which people would type: what they print, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.running import ROOT, SECONDS


def heed_interrupts() -> None:
    """A run in the background (`make test &`) is started with SIGINT ignored, and so would be the programs that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Program:
    """A Python program that has been started. What it prints comes through pipes, as it is printed."""

    def __init__(self, *words: str, cwd: Path = ROOT, environment: Mapping[str, str] = {}) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(f"it ended with {self.process.wait(SECONDS)} and {self.process.stderr.read()!r}")
        return line.rstrip("\n")

    def until(self, line: str) -> list[str]:
        """The lines of its output before this one."""
        lines: list[str] = []
        while (read := self.line()) != line:
            lines.append(read)
        return lines

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C: its exit code, and what it wrote to standard error in its life."""
        self.process.send_signal(signal.SIGINT)
        _, complaints = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, complaints


@contextmanager
def running(*words: str) -> Iterator[Program]:
    """A program that is there for the block. One that outlives it is killed."""
    program = Program(*words)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.communicate()


def ran(*words: str, cwd: Path = ROOT) -> tuple[int, str, str]:
    """A program that ends by itself: its exit code, what it printed, what it complained of."""
    program = Program(*words, cwd=cwd)
    try:
        printed, complaints = program.process.communicate(timeout=2 * SECONDS)
    finally:
        program.process.kill()
    return program.process.returncode, printed, complaints
