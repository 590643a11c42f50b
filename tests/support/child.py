"""Run an async function in a process of its own, and say how that ended.

The processes are forked from one that has imported libp2p already (`forkserver`), so that each costs milliseconds.
What is sent over must be importable by name: module-level functions, values that pickle.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trio

_FORKSERVER = get_context("forkserver")
_FORKSERVER.set_forkserver_preload(["libp2p"])


@dataclass(frozen=True)
class Returned:
    """The function returned this."""

    value: Any
    log: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Raised:
    """An exception ended `trio.run`. errors: the names of its leaves, sorted, each once."""

    errors: tuple[str, ...]
    log: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Died:
    """The process ended without a word. exit_code: negative for a signal, as everywhere in Python."""

    exit_code: int | None
    log: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Hung:
    """The process was still running after `seconds`, and was killed."""

    seconds: float
    log: str = field(default="", compare=False, repr=False)


Outcome = Returned | Raised | Died | Hung


def run_in_child(function: Callable[..., Awaitable[Any]], *args: object, seconds: float) -> Outcome:
    """`trio.run(function, *args)` in a child process, killed after so many seconds.

    The outcome's `log` holds what the child wrote to its standard output and error.
    """
    ours, theirs = _FORKSERVER.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        child = _FORKSERVER.Process(target=_child, args=(theirs, str(log), function, args), daemon=True)
        child.start()
        theirs.close()
        try:
            outcome: Outcome = ours.recv() if ours.poll(seconds) else Hung(seconds)
        except EOFError:
            child.join()
            outcome = Died(child.exitcode)
        finally:
            child.kill()
            child.join()
            ours.close()
        text = log.read_text(errors="replace") if log.exists() else ""
        return replace(outcome, log=text)


def _child(answer: Connection, log: str, function: Callable[..., Awaitable[Any]], args: tuple[object, ...]) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        value = trio.run(function, *args)
    except BaseException as error:  # whatever ends the program is what the parent wants to know
        traceback.print_exc()
        answer.send(Raised(tuple(sorted(set(leaves(error))))))
    else:
        answer.send(Returned(value))


def leaves(error: BaseException) -> Iterator[str]:
    """Names of the exceptions at the bottom of groups and causes; what trio adds on its way out is left off."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    elif isinstance(error, trio.TrioInternalError) and error.__cause__ is not None:
        yield from leaves(error.__cause__)
    else:
        yield type(error).__name__
