"""Scratch copies of the checkout, and runs of tests in them, each in a process of its own that is forked from this one.

Whoever imports this has the foreign packages loaded, and no module of ours that is under test: a fork saves the second
that it takes to load them, and begins with whatever is in its copy.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

import hypothesis
import libp2p  # noqa: F401 - loaded here once for all forks, as the next ones
import pytest
import pytest_trio  # noqa: F401
import trio.testing  # noqa: F401

from tests.scenarios import carried

SECONDS_FOR_A_TEST = 300
"""The slowest of them takes forty, on a busy machine a hundred. One that takes longer hangs: pytest says where, and ends."""
SECONDS_UNTIL_IT_HANGS = 90
"""The same for a test that is meant to hang, each of which takes a few seconds when it does not."""
SECONDS_FOR_A_RUN = 1200.0

COPIED = ("p2pkad", "tests", "pyproject.toml")
"""What a copy has of its own: what is changed, and what must not see the original beside it. To the rest there are links."""
LEFT_OUT = {".git", ".cache", ".venv", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}

PURE = ("tests/core/", "tests/wire/", "tests/store/", "tests/validators/")
"""Tests that are tried first: they know at once."""
ON_REAL_HOSTS = ("tests/net/libp2p/", "tests/faults/")
"""Those that are tried late: they often wait for a time-out."""
IN_PROCESSES = "tests/cli/"
"""Those that are tried last."""

PLUGINS = ("--disable-plugin-autoload", "-p", "pytest_trio.plugin", "-p", "_hypothesis_pytestplugin")
"""Of the plugins of pytest those that tests need: the others that are installed take a tenth of a second to load."""

NO_CODE = (NameError, ImportError, SyntaxError)
"""What a change raises that is a slip of whoever wrote it, and shows nothing."""

# The same examples in every run, and none from earlier ones; that a test fails is enough, how simply does not matter.
hypothesis.settings.register_profile(
    "scratch",
    database=None,
    deadline=None,
    derandomize=True,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
_fork = multiprocessing.get_context("fork")


@dataclass(eq=False, slots=True)
class Run:
    """Tests that run in a copy, and what came of them.

    passed: how many did. failed: those that did not, with the ids they carry. hung: the one that did not end, likewise.
    trouble: why the run says nothing. seconds: how long it took.
    """

    process: ForkProcess
    reader: Connection
    began: float
    seconds: float = 0.0
    passed: int = 0
    failed: dict[str, set[str]] = field(default_factory=dict)
    hung: dict[str, set[str]] = field(default_factory=dict)
    trouble: str = ""
    _ended: bool = False

    def over(self) -> bool:
        """Take in what it has to say; True when it has ended, by itself or for want of time."""
        alive = self.process.is_alive()
        with suppress(EOFError, OSError):
            while self.reader.poll():
                self._take(*self.reader.recv())
        self.seconds = time.monotonic() - self.began
        if alive and not self._ended and self.seconds < SECONDS_FOR_A_RUN:
            return False
        self.kill()
        if not self._ended and not self.hung:
            self.trouble = self.trouble or f"the run broke off with exit code {self.process.exitcode}"
        return True

    def kill(self) -> None:
        """End it, and whatever it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def _take(self, what: str, said: str, ids: set[str]) -> None:
        match what:
            case "began":
                self.hung = {said: ids}
            case "passed":
                self.passed += 1
            case "failed":
                self.failed[said] = ids
            case "trouble":
                self.trouble = self.trouble or said
            case "ended":
                self.hung, self._ended = {}, True


class Scratch:
    """A copy of the checkout `root` at `place`, made afresh."""

    def __init__(self, root: Path, place: Path) -> None:
        self._root = root
        self._place = place
        self._changes = 0
        self._changed: Path | None = None
        self._original = ""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for entry in root.iterdir():
            if entry.name not in COPIED:
                if entry.name not in LEFT_OUT:
                    (place / entry.name).symlink_to(entry)
            elif entry.is_dir():
                shutil.copytree(entry, place / entry.name)
            else:
                shutil.copy2(entry, place)

    def change(self, file: str, change: Callable[[str], str]) -> None:
        """Change the text of one file. Raises what `change` raises, and OSError, with nothing changed."""
        path = self._place / file
        if not path.resolve().is_relative_to(self._place.resolve()):
            raise ValueError(f"{file} is not in the copy; of the checkout it has {', '.join(COPIED)}")
        original = path.read_text()
        self._write(path, change(original))
        self._changed, self._original = path, original

    def restore(self) -> None:
        """Have the original of the changed file again. The checkout may have moved on: it is not looked at."""
        if self._changed is not None:
            self._write(self._changed, self._original)
            self._changed = None

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        # Bytecode is believed by the second of its source's last change: no two versions may share it.
        self._changes += 1
        os.utime(path, (self._changes, self._changes))

    def start(self, tests: Sequence[str], ids: Sequence[str], log: Path, patience: int = SECONDS_FOR_A_TEST) -> Run:
        """Run the tests that carry one of `ids`, until each id was carried by one that failed; without ids all of them.

        tests: files, or node ids. log: what pytest prints. patience: seconds after which a test hangs.
        """
        sys.stdout.flush()
        gc.freeze()  # pytest collects garbage again and again at its end: no fork looks through what it has from here
        reader, writer = _fork.Pipe(duplex=False)
        process = _fork.Process(target=_run, args=(self._root, self._place, tests, ids, log, patience, writer))
        process.start()
        writer.close()
        return Run(process, reader, time.monotonic())


def ended(runs: Sequence[Run]) -> list[Run]:
    """Those that have ended, after waiting for one of them to say something; often none."""
    wait([end for run in runs for end in (run.reader, run.process.sentinel)], timeout=1.0)
    return [run for run in runs if run.over()]


def _run(
    root: Path, place: Path, tests: Sequence[str], ids: Sequence[str], log: Path, patience: int, writer: Connection
) -> None:
    # So that what the tests start can be ended with them; and on Linux niceness counts within a session alone: starved by
    # what goes on beside it, a test that has its own seconds for something fails without any mutant.
    os.setsid()
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(place)
    os.environ["PYTHONPATH"] = str(place)
    sys.path[:] = [str(place), *(entry for entry in sys.path if entry not in ("", str(root)))]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    chosen = [word for id_ in ids for word in ("--scenario", id_)]
    options = ["--rootdir=.", "-p", "no:cacheprovider", "-m", "not stock and not foreign", "--hypothesis-profile=scratch"]
    options += [*PLUGINS, "-W", "ignore::pytest.PytestAssertRewriteWarning", "-o", f"faulthandler_timeout={patience}"]
    options += ["--tb=native"]  # pytest's own ones, which show the source, take longer than most tests
    status = pytest.main([*options, *chosen, *tests], plugins=[_Reporter(writer, set(ids))])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
        writer.send(("trouble", f"pytest: {pytest.ExitCode(status).name.lower().replace('_', ' ')}; see {log}", set()))
    writer.send(("ended", "", set()))


class _Reporter:
    """Tells the parent how tests end, and leaves those out whose ids have all been noticed."""

    def __init__(self, writer: Connection, ids: set[str]) -> None:
        self._writer = writer
        self._unnoticed = ids
        self._all = not ids
        self._ids: dict[str, set[str]] = {}
        self._session: pytest.Session | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        self._session = session
        items.sort(key=_slowness)
        self._ids = {item.nodeid: carried(item) for item in items}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._writer.send(("trouble", f"cannot be collected: {report.nodeid}", set()))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        ids = self._ids[item.nodeid]
        if self._unnoticed.isdisjoint(ids) and not self._all:
            pytest.skip("its behaviours have failed elsewhere")
        self._writer.send(("began", item.nodeid, ids))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.when == "setup":
            self._writer.send(("trouble", f"cannot begin: {report.nodeid}", set()))
        elif report.failed:
            self._writer.send(("failed", report.nodeid, self._ids[report.nodeid]))
            self._unnoticed -= self._ids[report.nodeid]
            if self._session is not None and not self._unnoticed and not self._all:
                self._session.shouldfail = "enough has failed"
        elif report.when == "call":
            self._writer.send(("passed", report.nodeid, set()))

    def pytest_exception_interact(self, call: pytest.CallInfo[object]) -> None:
        if call.excinfo is not None and (slips := [each for each in _leaves(call.excinfo.value) if isinstance(each, NO_CODE)]):
            self._writer.send(("trouble", f"the change is no code that runs: {slips[0]!r}", set()))


def _slowness(item: pytest.Item) -> int:
    if item.nodeid.startswith(PURE):
        return 0
    if item.nodeid.startswith(IN_PROCESSES):
        return 4
    if "[sockets" in item.nodeid:  # whole networks of real hosts
        return 3
    return 2 if item.nodeid.startswith(ON_REAL_HOSTS) else 1


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
