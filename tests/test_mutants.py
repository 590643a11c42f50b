"""The list of mutants is one that can be tried, and a verdict means what it says."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import pytest

from tests.mutants import LIST, NOTES, ROOT, Mutant, judge, main, read
from tests.scenarios import TABLE, held, listed
from tests.support.scratch import Run

MUTANT = Mutant(name="a-mutant", ids=("L1", "L2"), file="p2pkad/a", old="yes", new="no")


@pytest.fixture(scope="module")
def noticed() -> frozenset[str]:
    """The ids of behaviours, each of which some test holds."""
    return held() & listed(TABLE.read_text()).keys()


@pytest.mark.parametrize("mutant", read(LIST.read_text()), ids=lambda mutant: mutant.name)
def test_each_mutant_says_where_it_is_made_and_who_must_notice(mutant: Mutant, noticed: frozenset[str]) -> None:
    source = (ROOT / mutant.file).read_text()
    compile(mutant.applied(source), mutant.file, "exec")
    assert mutant.applied(source) != source
    assert set(mutant.ids) <= noticed


def test_a_mutant_whose_text_is_gone_or_ambiguous_says_so() -> None:
    for source in ("", "yes and yes"):
        with pytest.raises(ValueError, match="times in p2pkad/a, not once"):
            MUTANT.applied(source)
    assert MUTANT.applied("oh yes") == "oh no"


@pytest.mark.parametrize("word", ["a-mutant", "a-*", "L2", "a", "p2pkad/a"])
def test_a_mutant_is_chosen_by_name_id_or_file(word: str) -> None:
    assert MUTANT.meant_by(word)
    assert not MUTANT.meant_by(f"{word}x")


def test_a_word_that_means_no_mutant_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["no-such-mutant"])
    assert "no mutant has this name, id or file: no-such-mutant" in capsys.readouterr().err


PRODUCT, ELSEWHERE = "p2pkad/answer.py", "docs/page"
UNCHANGED = "ANSWER = 'yes'\n"
PLACES = {"elsewhere": ELSEWHERE}
BEHAVIOURS = """
import os
import pytest
from p2pkad.answer import ANSWER

@pytest.mark.scenario("L1")
def test_one(): assert ANSWER == "yes"

@pytest.mark.scenario("L2")
@pytest.mark.parametrize("length", [2, 3])
def test_two(length): assert len(ANSWER) >= length

@pytest.mark.scenario("L3")
def test_three(): assert ANSWER

@pytest.mark.scenario("L4")
def test_four():
    if ANSWER == "no": os._exit(1)

@pytest.mark.scenario("L5")
def test_five(): undefined()

@pytest.mark.scenario("L6")
def test_six(): assert ANSWER == "perhaps"
"""
TRIED = {
    "red": ("red", ["L1", "L2"], "'no'", "test_one, tests/test_a.py::test_two[3]"),
    "green": ("GREEN", ["L1", "L3"], "'no'", "not noticed as L3; 1 tests passed"),
    "hung": ("HUNG", ["L4"], "'no'", "tests/test_a.py::test_four"),
    "slip-in-the-change": ("BROKEN", ["L1"], "(", "cannot be collected"),
    "slip-in-the-test": ("BROKEN", ["L5"], "'no'", "NameError"),
    "elsewhere": ("BROKEN", ["L1"], "'no'", "docs/page is not in the copy"),
    "unreachable": ("BROKEN", ["L9"], "'no'", "no test carries L9"),
    "red-anyway": ("BROKEN", ["L6"], "'no'", "fails without the change, too: tests/test_a.py::test_six"),
}
"""By name: the verdict, the ids, what the answer is changed to, and what the table says of it."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with six behaviours and a mutant for each verdict."""
    copied = ("conftest.py", "mutants.py", "scenarios.py", "support/generated.py", "support/scratch.py", "support/stalls.py")
    files = {f"tests/{name}": (ROOT / "tests" / name).read_text() for name in copied}
    files |= {
        "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["scenario(*ids)", "stock", "foreign"]\n'
        "faulthandler_exit_on_timeout = true\n",
        "p2pkad/__init__.py": "",  # a whole package, or the installed one would be found in its stead
        PRODUCT: UNCHANGED,
        ELSEWHERE: UNCHANGED,
        "tests/test_a.py": BEHAVIOURS,
        "tests/mutations.toml": "".join(
            f"[{name}]\nids = {ids}\nfile = '{PLACES.get(name, PRODUCT)}'\nold = \"'yes'\"\nnew = \"{new}\"\n"
            for name, (_, ids, new, _) in TRIED.items()
        ),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def program(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # In a process of its own: this one has threads, and must not fork.
    command = [sys.executable, "-m", "tests.mutants", *words]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300, check=False)


STALE = {
    "red": "test_a.py::test_two[2]",
    "green": "test_a.py::test_one",
    "hung": "test_a.py::test_gone",
    "slip-in-the-test": "test_gone.py",
    "red-anyway": "test_a.py::test_three",
}
"""By the name of a mutant: a test that is said to have noticed it. It passes, is too little, is gone, or has another id."""


@pytest.mark.long
@pytest.mark.parametrize("notes", [{}, STALE], ids=["without notes", "whoever is said to have noticed"])
def test_every_verdict_is_given_for_its_reason(checkout: Path, notes: dict[str, str]) -> None:
    (checkout / "tests/noticed.toml").write_text("".join(f'{name} = ["tests/{test}"]\n' for name, test in notes.items()))
    run = program(checkout, "--workers=2")
    rows = dict(line.split()[1::-1] for line in run.stdout.splitlines()[: len(TRIED)])
    assert rows == {name: expected for name, (expected, *_) in TRIED.items()}, run.stdout + run.stderr
    for _, _, _, said in TRIED.values():
        assert said in run.stdout
    assert "8 mutants: 1 red, 1 GREEN, 1 HUNG, 5 BROKEN" in run.stdout
    assert run.returncode == 1
    assert (checkout / PRODUCT).read_text() == (checkout / ELSEWHERE).read_text() == UNCHANGED


@pytest.mark.long
def test_when_all_are_red_the_run_succeeds(checkout: Path) -> None:
    run = program(checkout, "red")
    assert (run.returncode, "1 mutants: 1 red;" in run.stdout) == (0, True)


@pytest.mark.long
def test_who_noticed_last_time_is_asked_alone(checkout: Path) -> None:
    log, notes = checkout / ".cache" / "mutants" / "red.log", checkout / "tests" / "noticed.toml"
    program(checkout, "red", "--note")
    assert "1 passed" in log.read_text()
    assert tomllib.loads(notes.read_text()) == {"red": ["tests/test_a.py::test_one", "tests/test_a.py::test_two[3]"]}
    run = program(checkout, "red")
    assert (run.returncode, "passed" in log.read_text()) == (0, False)


def test_who_noticed_is_a_test_that_there_is() -> None:
    noted = tomllib.loads(NOTES.read_text())
    assert noted.keys() <= {mutant.name for mutant in read(LIST.read_text())}
    for file, test in {tuple(each.split("::")[:2]) for tests in noted.values() for each in tests}:
        assert test.partition("[")[0] in (ROOT / file).read_text(), f"{file}::{test}: make mutants ARGS=--note"


def test_what_a_test_does_when_it_hangs_can_be_what_a_mutant_leads_to() -> None:
    reader, _ = Pipe(duplex=False)
    run = Run(None, reader, 0.0, hung={"test_one": {"L1", "L2"}})  # type: ignore[arg-type]  # its process does not matter
    assert judge(MUTANT, run).verdict == "HUNG"
    assert judge(replace(MUTANT, hangs=True), run).verdict == "red"
