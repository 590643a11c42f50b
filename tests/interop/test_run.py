"""The command that plays the matrix, as far as it goes without peers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scenarios import SCENARIOS

PROGRAM = Path(__file__).parents[2] / "interop" / "run.py"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment})


def test_the_list_has_a_line_for_each_scenario() -> None:
    done = run("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(SCENARIOS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--peers", "go,python"], "no 'python' among go, rust, js, p2pkad"),
        (["--scenario", "put-got"], "no 'put-got' among find-client, find-peer"),
        (["--cell", "go/go/"], "no '' among go"),
        (["--scenario", "put-get", "--cell", "go/rust"], "there is no cell of go/rust in put-get"),
        (["--scenario", "name", "--peers", "rust"], "there is no cell of rust in name"),
        (["--readme", "--peers", "go"], "--readme shows the whole matrix"),
    ],
)
def test_what_cannot_be_played_ends_with_status_2_and_says_what_there_is(arguments: list[str], complaint: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr + done.stdout
