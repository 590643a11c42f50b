"""Whether the tests notice when the product breaks: `make mutants`.

tests/mutations.toml lists changes of the product, and for each the behaviours of docs/scenarios.md that it takes out. One
after the other is made in a scratch copy, and the tests that carry these ids are run there, until each id was noticed:

red      for each id a test failed, that passes without the change
GREEN    an id was noticed by none of its tests: they are half tests
HUNG     a test did not end; a change that is meant to do that says `hangs = true`, and is red
BROKEN   nothing was learned: the old text is not in the file exactly once, no test carries the id, tests cannot be
         collected, or the test that failed fails without the change, too

The tests that noticed when somebody last looked (tests/noticed.toml, which --note writes) are tried alone. When they do not
notice any more, all that carry the ids are: those of what is pure first, those on real hosts last, as others have often
noticed by then, and are quicker.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from tests.scenarios import marked
from tests.support.scratch import SECONDS_FOR_A_TEST, SECONDS_UNTIL_IT_HANGS, Run, Scratch, ended

TESTS = Path(__file__).parent
ROOT = TESTS.parent
LIST = TESTS / "mutations.toml"
NOTES = TESTS / "noticed.toml"
CACHE = ROOT / ".cache" / "mutants"

INTERRUPTED = 130
"""The status of a program that Ctrl-C ended, as shells have it."""
VERDICTS = ("red", "GREEN", "HUNG", "BROKEN")

HEAD = """\
# Written by `make mutants ARGS=--note`: which tests noticed a mutant. They are tried first, and decide nothing: where they do
# not notice any more, or there is no line, all tests of its ids are tried.
"""
EXAMPLE = """\
examples:
  make mutants                                  all of them
  make mutants ARGS="L12 core/records.py"       those for a behaviour, and those in a file
  make mutants ARGS="'lookup-*' --workers 1"    those with such names, one at a time
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A change of the product, and the ids that have to notice. hangs: a test that does not end counts as a failure."""

    name: str
    ids: tuple[str, ...]
    file: str
    old: str
    new: str
    hangs: bool = False

    def applied(self, source: str) -> str:
        """The source with the change. Raises ValueError when the change does not say exactly where it is to be made."""
        if source.count(self.old) != 1:
            raise ValueError(f"its old text is {source.count(self.old)} times in {self.file}, not once")
        return source.replace(self.old, self.new)

    def meant_by(self, word: str) -> bool:
        """Whether `word` is its name, one of its ids, or the end of its file's path."""
        return fnmatchcase(self.name, word) or word in self.ids or f"/{self.file}".endswith(f"/{word}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a mutant. verdict: as in the head of this module. tests: those that noticed it."""

    mutant: Mutant
    verdict: str
    seconds: float = 0.0
    note: str = ""
    tests: tuple[str, ...] = ()


def read(text: str) -> list[Mutant]:
    """The mutants of a list. Raises TypeError or KeyError for a table that is none."""
    tables = tomllib.loads(text)
    return [Mutant(name=name, **{**table, "ids": tuple(table["ids"])}) for name, table in tables.items()]


def files_by_id() -> Mapping[str, list[str]]:
    """Where the tests of each behaviour are, as paths below the checkout."""
    files = defaultdict[str, list[str]](list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for id_ in marked(path.read_text()):
            files[id_].append(str(path.relative_to(ROOT)))
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A mutant that is made in a copy. noted: only the tests that noticed last time are run."""

    mutant: Mutant
    scratch: Scratch
    noted: bool


class Trial:
    """Tries mutants, as many at a time as there are scratch copies. notes: by mutant, the tests that noticed last time."""

    def __init__(self, workers: int, notes: Mapping[str, Sequence[str]]) -> None:
        self._files = files_by_id()
        self._notes = notes
        self._scratches = [Scratch(ROOT, CACHE / str(number)) for number in range(workers)]
        self._busy: dict[Run, Attempt] = {}

    def run(self, mutants: Sequence[Mutant]) -> Iterator[Result]:
        """What came of each, in the order in which they end."""
        # Last in, first out; what needs sockets is begun with, as its tests often wait for a time-out.
        waiting = sorted(mutants, key=lambda mutant: mutant.file.startswith("p2pkad/net/libp2p"))
        try:
            while waiting or self._busy:
                if waiting and self._scratches:
                    broken = self._start(waiting.pop())
                    if broken:
                        yield broken
                else:
                    for run in ended(list(self._busy)):
                        result = self._finish(run)
                        if result:
                            yield result
        finally:
            for run in self._busy:
                run.kill()

    def _start(self, mutant: Mutant) -> Result | None:
        untested = [id_ for id_ in mutant.ids if not self._files[id_]]
        if untested:
            return Result(mutant=mutant, verdict="BROKEN", note=f"no test carries {', '.join(untested)}")
        try:
            self._scratches[-1].change(mutant.file, mutant.applied)
        except (ValueError, OSError) as error:
            return Result(mutant=mutant, verdict="BROKEN", note=str(error))
        self._run(Attempt(mutant=mutant, scratch=self._scratches.pop(), noted=mutant.name in self._notes))
        return None

    def _run(self, attempt: Attempt) -> None:
        mutant = attempt.mutant
        files = sorted({file for id_ in mutant.ids for file in self._files[id_]})
        tests = self._notes[mutant.name] if attempt.noted else files
        patience = SECONDS_UNTIL_IT_HANGS if mutant.hangs else SECONDS_FOR_A_TEST
        self._busy[attempt.scratch.start(tests, mutant.ids, CACHE / f"{mutant.name}.log", patience)] = attempt

    def _finish(self, run: Run) -> Result | None:
        """What came of a mutant; None when it is tried again, with all tests."""
        attempt = self._busy.pop(run)
        result = judge(attempt.mutant, run)
        if attempt.noted and result.verdict != "red":
            self._run(replace(attempt, noted=False))
            return None
        attempt.scratch.restore()
        self._scratches.append(attempt.scratch)
        return result

    def fail_unchanged(self, tests: Sequence[str]) -> set[str]:
        """Which of these tests fail in a copy without any change; all of them when that cannot be said."""
        scratches = self._scratches[: len(tests)]
        busy: list[Run] = []
        bad: set[str] = set()
        try:
            for number, scratch in enumerate(scratches):
                busy.append(scratch.start(tests[number :: len(scratches)], (), CACHE / f"unchanged-{number}.log"))
            while busy:
                for run in ended(busy):
                    busy.remove(run)
                    bad |= set(tests) if run.trouble else run.failed.keys() | run.hung.keys()
        finally:
            for run in busy:
                run.kill()
        return bad


def judge(mutant: Mutant, run: Run) -> Result:
    """What a run of its tests says about a mutant."""
    noticed = {id_: test for test, ids in run.failed.items() for id_ in ids if id_ in mutant.ids}
    if mutant.hangs:
        noticed |= {id_: test for test, ids in run.hung.items() for id_ in ids}
    unnoticed = [id_ for id_ in mutant.ids if id_ not in noticed]
    result = Result(mutant=mutant, verdict="red", seconds=run.seconds)
    if run.trouble:
        return replace(result, verdict="BROKEN", note=run.trouble)
    if unnoticed and run.hung:
        return replace(result, verdict="HUNG", note=", ".join(run.hung))
    if unnoticed:
        return replace(result, verdict="GREEN", note=f"not noticed as {', '.join(unnoticed)}; {run.passed} tests passed")
    tests = tuple(dict.fromkeys(noticed.values()))
    return replace(result, note=", ".join(f"hung: {test}" if test in run.hung else test for test in tests), tests=tests)


def confirmed(result: Result, bad: set[str]) -> Result:
    """The same, unless a test that noticed fails without the change."""
    false = [test for test in result.tests if test in bad]
    return replace(result, verdict="BROKEN", note=f"fails without the change, too: {', '.join(false)}") if false else result


def notes_with(results: Sequence[Result], notes: Mapping[str, Sequence[str]], mutants: Sequence[Mutant]) -> str:
    """The text of tests/noticed.toml with what these results say, in the order of the mutants that there are."""
    known = {**notes, **{result.mutant.name: result.tests for result in results if result.verdict == "red"}}
    lines = (f"{each.name} = {json.dumps(list(known[each.name]))}\n" for each in mutants if each.name in known)
    return HEAD + "".join(lines)


def table(results: Sequence[Result]) -> str:
    """Red ones first, so that what needs work is at the end, where one looks."""
    width = max(len(result.mutant.name) for result in results)
    rows = sorted(results, key=lambda result: (VERDICTS.index(result.verdict), result.mutant.file, result.mutant.name))
    heads = (f"{row.verdict:6} {row.mutant.name:{width}} {','.join(row.mutant.ids):8}" for row in rows)
    return "\n".join(f"{head} {row.seconds:5.1f} s  {row.note}" for head, row in zip(heads, rows, strict=True))


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "make mutants", description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="a name (may have *), an id, or the end of a file's path")
    # Half of the time of those on real hosts goes by in waiting: one more than there are processors makes use of that.
    workers = min(4, 1 + (os.cpu_count() or 1))
    parser.add_argument("--workers", type=int, default=workers, help="how many at a time (%(default)s)")
    parser.add_argument("--note", action="store_true", help="write down in tests/noticed.toml which tests noticed")
    options = parser.parse_args(words)
    mutants = read(LIST.read_text())
    unknown = [word for word in options.words if not any(mutant.meant_by(word) for mutant in mutants)]
    if unknown:
        parser.error(f"no mutant has this name, id or file: {', '.join(unknown)}")
    chosen = [each for each in mutants if not options.words or any(map(each.meant_by, options.words))]
    notes = tomllib.loads(NOTES.read_text()) if NOTES.exists() else {}
    results = try_all(chosen, Trial(max(1, min(options.workers, len(chosen))), notes))
    if options.note:
        NOTES.write_text(notes_with(results, notes, mutants))
    return 0 if {result.verdict for result in results} <= {"red"} else 1


def try_all(mutants: Sequence[Mutant], trial: Trial) -> list[Result]:
    """Try the mutants, and print what came of them."""
    began = time.monotonic()
    results = []
    for result in trial.run(mutants):
        results.append(result)
        progress(f"{len(results)}/{len(mutants)} {result.verdict:6} {result.mutant.name}")
    progress("the tests that failed, without any change")
    bad = trial.fail_unchanged(sorted({test for result in results for test in result.tests}))
    progress("")
    results = [confirmed(result, bad) for result in results]
    verdicts = Counter(sorted((result.verdict for result in results), key=VERDICTS.index))
    print(table(results))
    print(f"\n{len(results)} mutants: {', '.join(f'{count} {verdict}' for verdict, count in verdicts.items())}; ", end="")
    print(f"{time.monotonic() - began:.0f} s. What pytest printed is in {CACHE.relative_to(ROOT)}/<name>.log.")
    return results


def progress(text: str) -> None:
    """What is going on, where somebody sees it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        progress("")
        sys.exit(INTERRUPTED)
