"""`p2pkad run` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 60
"""For a process to start or to end, on a machine that does other things as well."""


class Running:
    """`p2pkad run` with these words, on a free port of this machine. lines: what it printed before it served."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "p2pkad", "run", "--listen", "/ip4/127.0.0.1/tcp/0", *words]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def read_until(self, end: str) -> list[str]:
        """The lines of standard output up to the one that has `end` in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if end in line:
                return self.lines
        raise AssertionError(f"it ended with {self.process.wait(SECONDS)} and {self.process.stderr.read()!r}")

    def ready(self) -> dict[str, Any]:
        """What it said when it served. It has to have been started with --json."""
        said: dict[str, Any] = json.loads(self.read_until("ready")[-1])
        return said

    def end(self, number: int) -> tuple[int, str]:
        """Its exit code after this signal, and what it wrote to standard error in its life."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, err

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
