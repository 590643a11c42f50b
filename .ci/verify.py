"""The steps of `make check` and `make test`, one after the other, and one table at the end.

    verify.py check    what needs nothing but this checkout
    verify.py test     the same, and peers in other languages (tests of each, the matrix of all, and networks of them), the
                       attacks on a stock host, long tests, and all that hypothesis makes up; beside these, with what they
                       leave of the processors,
    verify.py aside    the wheel and the mutants, whose output is printed when the others are done

A step that fails does not stop the others. A toolchain that is not there is announced at the end and fails nothing,
unless it is named in REQUIRE (`REQUIRE=go .ci/run`).
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SCRATCH = ROOT / ".cache"

COVERED = ("core", "wire", "store", "validators")
COVERAGE_NEEDED = 97.0
"""Per cent, of the lines and of the branches of these rooms together."""

MOST_WRONG, LONGEST_WRONG = 10, 400
"""Of a step, in the table: so many things that went wrong, each in so many characters. The rest is in its output."""

CONTACT = {"go": ["interop/contact.py"]}
"""By language: what talks to real peers in it, besides the foreign tests."""

TOOLCHAINS = {"go": "go", "cargo": "rust", "npm": "js"}
"""As their commands are called, and the language of the peers that are built with them."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended. note: what the table says beside it. wrong: below it, a line for each thing that is."""

    ok: bool
    note: str = ""
    wrong: tuple[str, ...] = ()


Step = Callable[[], Outcome]
Row = tuple[str, Outcome, float, float]
"""Of the table: a step's name, how it ended, after how many seconds, and how many of a processor it took."""


def run(*command: str | Path) -> bool:
    """Run a command in the checkout, its output where ours goes. True: it ended with 0."""
    print(f"\n$ {' '.join(str(part) for part in command)}", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def command(*words: str) -> Step:
    return lambda: Outcome(run(BIN / words[0], *words[1:]))


def pytest(*words: str) -> Step:
    """The tests that these words choose. None at all is a failure: a suite that vanished must not look like one that passed."""

    def step() -> Outcome:
        report = SCRATCH / "tests.xml"
        report.unlink(missing_ok=True)
        ok = run(BIN / "pytest", *words, f"--junitxml={report}")
        if not report.exists():
            return Outcome(False, "the run broke off")
        cases = [(_ending(case), case) for case in ElementTree.parse(report).iter("testcase")]
        counts = Counter(ending for ending, _ in cases)
        note = ", ".join(f"{count} {ending}" for ending, count in counts.most_common())
        return Outcome(ok, note, tuple(_what(case) for ending, case in cases if ending in {"failed", "broken"}))

    return step


def _ending(case: ElementTree.Element) -> str:
    """How a test ended, in a word."""
    for child in case:
        if child.get("type") == "pytest.xfail":
            return "failed as expected"
        if child.tag in {"failure", "error", "skipped"}:
            return {"failure": "failed", "error": "broken", "skipped": "skipped"}[child.tag]
    return "passed"


def _what(case: ElementTree.Element) -> str:
    """A test that failed, and how."""
    message = next((child.get("message") for child in case if child.get("message")), "")
    return f"{case.get('classname')}::{case.get('name')}: {message}"


def coverage() -> Outcome:
    report = SCRATCH / "coverage.json"
    if not run(BIN / "coverage", "json", "-q", "-o", report):
        return Outcome(False, "no figures")
    run(BIN / "coverage", "report")
    totals = json.loads(report.read_text())["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    note = f"{', '.join(COVERED)}: lines {lines:.1f} %, branches {branches:.1f} % ({COVERAGE_NEEDED:.0f} % needed)"
    return Outcome(min(lines, branches) >= COVERAGE_NEEDED, note)


HERE = "not stock and not foreign and not long"
"""What needs nothing but this checkout, and no patience."""
COMPUTING = ("--numprocesses=logical", "--maxprocesses=4", "--dist=worksteal")
# Half of the time of the rest goes by in waiting, for real hosts and for programs: twice as many make use of that.
WAITING = (f"--numprocesses={min(4, 2 * (os.cpu_count() or 1))}", "--dist=worksteal")
MEASURED = tuple(f"tests/{room}" for room in COVERED)
MEASURE = ("--cov-branch", "--cov-report=", *(f"--cov=p2pkad/{room}" for room in COVERED))
# Each of these has a process or two of its own, which wait for each other.
TALKING = (f"--numprocesses={min(3, 1 + (os.cpu_count() or 1))}", "--dist=worksteal")
# All tests with their mark are there (tests/test_make.py): each process of a step takes seconds to collect the others.
STOCK, FOREIGN = ("-m", "stock", "tests/faults"), ("-m", "foreign", "tests/interop")
# Somebody waits for `make check`: of what hypothesis makes up, it has a quarter. `make test` has all, with the long ones.
FEW = "--hypothesis-profile=quick"
MADE_UP = "hypothesis and not stock and not foreign"
REST = "tests, the rest"

FIRST: dict[str, Step] = {
    "ruff": command("ruff", "check", "."),
    "ruff format": command("ruff", "format", "--check", "."),
    "mypy --strict": command("mypy"),
    "tests, measured": pytest("-m", f"{HERE} and measured", *COMPUTING, *MEASURE, *MEASURED),
    "coverage": coverage,
}

CHECK: dict[str, Step] = {**FIRST, REST: pytest("-m", f"{HERE} and not measured", FEW, *WAITING)}

# Behind what peers in other languages are needed for: that often waits, and what goes on aside makes use of it. These do not.
LAST: dict[str, Step] = {
    "stock host": pytest(*STOCK, *WAITING),
    REST: pytest("-m", f"({HERE} and not measured) or long or ({MADE_UP})", *WAITING),
}

ASIDE: dict[str, Step] = {
    "wheel": command("python", ".ci/wheel.py"),
    "mutants": command("python", "-m", "tests.mutants"),
}
"""What can be late as long as it likes: no peer waits for it."""


def interop(results: str, told: Callable[[bool, Any], Outcome], *program: str) -> Step:
    """A program, with its arguments, that leaves results as JSON below .cache/interop. told: makes of them, and of whether it
    ended with 0, how the step ended."""
    path = SCRATCH / "interop" / results

    def step() -> Outcome:
        path.unlink(missing_ok=True)
        ok = run(BIN / "python", *program)
        return told(ok, json.loads(path.read_text())) if path.exists() else Outcome(False, "the run broke off")

    return step


def cells(ok: bool, matrix: Any) -> Outcome:
    """How many came out how, and which are red."""
    red = [cell for cell in matrix["cells"] if cell["verdict"] == "red"]
    wrong = [f"{cell['scenario']} {'/'.join(cell['roles'].values())}: {cell['detail']}" for cell in red]
    note = ", ".join(f"{count} {verdict}" for verdict, count in matrix["counts"].items())
    return Outcome(ok, note, (*wrong, *matrix["bad_ends"]))


def shares(ok: bool, networks: Any) -> Outcome:
    """What part of what it read was right, by the implementation that reads; what was wrong, by network."""
    reads, right = Counter[str](), Counter[str]()
    for share in (share for network in networks["networks"] for share in network["shares"]):
        reads[share["reader"]] += share["reads"]
        right[share["reader"]] += share["right"]
    note = ", ".join(f"{name} reads {100 * right[name] / count:.1f} %" for name, count in reads.items())
    wrong = (f"on {network['first']}: {fault}" for network in networks["networks"] for fault in network["faults"])
    return Outcome(ok, note, tuple(wrong))


INTEROP: dict[str, Step] = {
    "interop matrix": interop("run/matrix.json", cells, "interop/run.py"),
    # One reader of each implementation: with all of them, as in `make networks`, these would take twice as long.
    "interop networks": interop("networks/networks.json", shares, "interop/networks.py", "--readers=1"),
}
"""Who understands whom, and what is read in networks of all, of those that there are."""


def foreign_steps() -> tuple[dict[str, Step], list[str]]:
    """The steps for the toolchains that are there, and the names of those that are not."""
    there = {name: language for name, language in TOOLCHAINS.items() if shutil.which(name)}
    programs = {language: CONTACT[language] for language in there.values() if language in CONTACT}
    steps: dict[str, Step] = {f"contact with {name}": command("python", *program) for name, program in programs.items()}
    if there:
        steps = {"foreign tests": pytest(*FOREIGN, *TALKING), **steps, **INTEROP}
    return steps, [name for name in TOOLCHAINS if name not in there]


def in_order(steps: dict[str, Step]) -> list[Row]:
    rows = []
    for name, step in steps.items():
        began, used = time.monotonic(), processor_seconds()
        rows.append((name, step(), time.monotonic() - began, processor_seconds() - used))
    return rows


def processor_seconds() -> float:
    """What all programs took that this one has started and waited for, and those that they have."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def beside_the_steps_aside(steps: dict[str, Step]) -> list[Row]:
    """These steps, and those of ASIDE in a process of their own, which gets the time that these do not need.

    Peers in other languages have time-outs: niceness keeps the others out of their way.
    """
    log, results = SCRATCH / "aside.log", SCRATCH / "aside.json"
    results.unlink(missing_ok=True)
    with log.open("w") as file:
        aside = subprocess.Popen(
            ["nice", "-n", "15", sys.executable, __file__, "aside"], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        rows = in_order(steps)
        aside.wait()
    finally:
        aside.terminate()
    print(log.read_text(), flush=True)
    if not results.exists():
        return [*rows, *((name, Outcome(False, "the run broke off"), 0.0, 0.0) for name in ASIDE)]
    return [*rows, *((name, Outcome(*outcome), *seconds) for name, outcome, *seconds in json.loads(results.read_text()))]


def go_aside() -> int:
    """Run the steps of ASIDE for `beside_the_steps_aside`, and leave what came of them."""
    rows = [(name, astuple(outcome), *seconds) for name, outcome, *seconds in in_order(ASIDE)]
    (SCRATCH / "aside.json").write_text(json.dumps(rows))
    return 0


def main(what: str) -> int:
    SCRATCH.mkdir(exist_ok=True)
    if what == "aside":
        return go_aside()
    foreign, missing = foreign_steps() if what == "test" else ({}, [])
    required = [name for name in missing if name in os.environ.get("REQUIRE", "").split()]
    if required:
        print(f"there is no {required[0]} on the PATH, and this run requires it")
        return 1
    rows = beside_the_steps_aside({**FIRST, **foreign, **LAST}) if what == "test" else in_order(CHECK)
    failed = [name for name, outcome, *_ in rows if not outcome.ok]

    print(f"\n{'-' * 30} make {what} {'-' * 30}")
    for name, outcome, seconds, used in rows:
        print(f"{'ok    ' if outcome.ok else 'FAILED'} {name:18} {seconds:6.1f} s, CPU {used:6.1f} s   {outcome.note}".rstrip())
        for each in () if outcome.ok else outcome.wrong[:MOST_WRONG]:
            print(f"       {shorten(each, LONGEST_WRONG)}")
    for name in missing:
        print(f"ABSENT there is no {name} on the PATH: NO {TOOLCHAINS[name]} PEER WAS TALKED TO")
    print("all passed" if not failed else f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
