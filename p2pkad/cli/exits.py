"""How a command ends: exit codes, and which error means which.

A command that was told to stop ends like any program that the signal stopped, 128 and its number. `run` is the exception:
stopping is how a server ends, so that is a success. A Ctrl-C while it closes ends it as it is, and with 130.
"""

from __future__ import annotations

from signal import SIGINT, SIGPIPE, SIGTERM

from p2pkad.errors import (
    ConfigError,
    InvalidRecord,
    LocalProtocolError,
    NotFound,
    NotReady,
    P2pkadError,
    RecordTooLarge,
    RequestTimeout,
)

DONE = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
TIMED_OUT = 4
INTERRUPTED = 128 + SIGINT
PIPE_CLOSED = 128 + SIGPIPE
TERMINATED = 128 + SIGTERM


class UsageError(ConfigError):
    """What was typed cannot be done, be it an option or not. The sentence says what would be."""


class NodeSaid(P2pkadError):
    """The node that was asked could not do it. kind: the error there; the sentence is its own. code: how the command ends."""

    def __init__(self, kind: str, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.code = code


MEANING: dict[type[BaseException], int] = {
    ConfigError: USAGE,
    LocalProtocolError: USAGE,
    InvalidRecord: USAGE,
    RecordTooLarge: USAGE,
    NotFound: NOT_FOUND,
    RequestTimeout: TIMED_OUT,
    NotReady: TIMED_OUT,
    TimeoutError: TIMED_OUT,
}


def exit_code(error: BaseException) -> int:
    """The exit code that says what this error says. A search that its deadline cut short did not find that nothing is there."""
    if isinstance(error, NodeSaid):
        return error.code
    if isinstance(error, NotFound) and not error.complete:
        return TIMED_OUT
    return next((code for kind, code in MEANING.items() if isinstance(error, kind)), FAILED)


def leaf(error: BaseException) -> BaseException:
    """The error inside the groups that nurseries wrap around it; of several the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
