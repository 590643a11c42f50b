"""What `make` says when it cannot go on."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from p2pkad.cli.main import make_app

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What setting up needs of a checkout, and a directory of programs that come before all others."""
    for name in ("pyproject.toml", "constraints.txt", ".ci/setup"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(checkout: Path, name: str, script: str) -> None:
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def set_up(checkout: Path, *words: str, **environment: str) -> tuple[int, str]:
    """The exit code of the set-up, and what it said."""
    path = f"{checkout}/bin:{os.environ['PATH']}"
    run = subprocess.run(
        [checkout / ".ci" / "setup", *words], env={"PATH": path, **environment}, capture_output=True, text=True, check=False
    )
    assert run.stdout == ""
    return run.returncode, run.stderr


def test_an_interpreter_that_does_not_suit_is_named_with_what_would(checkout):
    program(checkout, "old-python", "echo False")
    code, said = set_up(checkout, "old-python")
    assert code == 1
    assert said == "setup: old-python is not CPython 3.11, 3.12 or 3.13. Name one that is: PYTHON=python3.12 make ...\n"


def test_without_any_interpreter_it_says_what_to_install(checkout):
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        program(checkout, name, "exit 127")
    code, said = set_up(checkout)
    assert (code, said.count("\n")) == (1, 1)
    assert "PYTHON=/path/to/python3" in said


def test_who_may_not_install_is_told_what_to_type(checkout):
    program(checkout, "apt-get", "exit 1")
    program(checkout, "id", "echo 1000")
    code, said = set_up(checkout, sys.executable, CC="false")
    assert code == 1
    typed = "sudo apt-get install --yes --no-install-recommends gcc libc6-dev libgmp-dev"
    assert said == f"setup: system packages are missing. Type: {typed}\n"


def test_who_may_install_installs_and_is_shown_why_that_failed(checkout):
    program(checkout, "apt-get", 'test "$1" = update || { echo "E: no space left"; exit 100; }')
    program(checkout, "id", "echo 0")
    code, said = set_up(checkout, sys.executable, CC="false")
    assert code == 1
    assert said.splitlines() == [
        "setup: apt-get install --yes --no-install-recommends gcc libc6-dev libgmp-dev",
        "E: no space left",
        "setup: that failed; what it printed is above",
    ]


def test_a_system_without_apt_is_told_the_names_of_the_packages(checkout):
    for name in ("sh", "dirname", "cat", "cksum", "id", "mktemp", "rm"):
        (checkout / "bin" / name).symlink_to(shutil.which(name) or "")
    code, said = set_up(checkout, sys.executable, CC="false", PATH=f"{checkout}/bin")
    assert code == 1
    assert said == "setup: missing: gcc libc6-dev libgmp-dev (Debian's names). Install them, then try again.\n"


def make_run(*words: str) -> str:
    """What the target types, without the set-up."""
    # Also when this is run by make, which would have it say where it is.
    command = ["make", "--no-print-directory", "--dry-run", "run", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_run_gives_a_node_that_can_be_tried_at_once_whatever_else_runs():
    """On free ports, and with a put that works alone."""
    typed = make_run()
    for part in (
        "P2PKAD_LISTEN=/ip4/0.0.0.0/tcp/0",
        "P2PKAD_HTTP=127.0.0.1:0",
        "P2PKAD_ALLOW_ZERO_PEERS=true",
        "P2PKAD_DATA_DIR=.p2pkad",
        "P2PKAD_VALIDATOR=demo=opaque",
    ):
        assert part in typed


def test_what_is_typed_behind_make_run_goes_before_what_it_has_by_itself(monkeypatch):
    words = shlex.split(make_run("ARGS=--data-dir other --validator demo=newest --listen /ip4/127.0.0.1/tcp/7"))
    for name, _, value in (word.partition("=") for word in words if word.startswith("P2PKAD_")):
        monkeypatch.setenv(name, value)
    _, run, _ = make_app().parse_args(words[words.index("run") :])
    options, namespaces = run.kwargs["options"], run.kwargs["namespaces"]
    assert (options.data_dir, options.listen, options.allow_zero_peers) == ("other", ("/ip4/127.0.0.1/tcp/7",), True)
    assert namespaces.validator == ("demo=newest",)


def test_a_toolchain_that_is_required_and_absent_ends_the_run_at_once():
    command = [sys.executable, ROOT / ".ci" / "verify.py", "test"]
    run = subprocess.run(command, env={"PATH": "", "REQUIRE": "go"}, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "there is no go on the PATH, and this run requires it\n")


@pytest.mark.parametrize(("marker", "room"), [("stock", "faults"), ("foreign", "interop")])
def test_where_a_step_looks_for_its_tests_all_of_them_are(marker, room):
    tests = ROOT / "tests"
    marked = {path for path in tests.rglob("test_*.py") if re.search(rf"\bmark\.{marker}\b", path.read_text())}
    assert {path.relative_to(tests).parts[0] for path in marked} == {room}


def test_what_went_wrong_stands_below_the_table(capsys, monkeypatch):
    """Where a run is far away, its last lines are what is seen of it."""
    spec = importlib.util.spec_from_file_location("verify", ROOT / ".ci" / "verify.py")
    assert spec is not None
    assert spec.loader is not None
    verify = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "verify", verify)
    spec.loader.exec_module(verify)
    cell = {"scenario": "put-get", "roles": {"bootstrap": "go", "writer": "js"}, "verdict": "red", "detail": "got\nnothing"}
    matrix = {"counts": {"green": 1, "red": 1}, "cells": [cell, {**cell, "verdict": "green"}], "bad_ends": ["js was killed"]}
    steps = {"matrix": lambda: verify.cells(False, matrix), "ruff": lambda: verify.Outcome(True)}
    monkeypatch.setattr(verify, "CHECK", steps)
    assert verify.main("check") == 1
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[2:]] == [
        "FAILED matrix                0.0 s, CPU    0.0 s   1 green, 1 red",
        "put-get go/js: got nothing",
        "js was killed",
        "ok     ruff                  0.0 s, CPU    0.0 s",
        "failed: matrix",
    ]
