"""Foreign errors cross the border in one table."""

from __future__ import annotations

import errno
import importlib
import pkgutil
from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType

import libp2p
import pytest
import trio
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError, IOException
from libp2p.network.exceptions import SwarmException
from libp2p.transport.exceptions import OpenConnectionError, SecurityUpgradeFailure

from p2pkad.net.libp2p.border import AS_OURS, FOREIGN, hung_up, reason

ROOMS = [
    "exceptions",
    "host",
    "io",
    "network",
    "protocol_muxer",
    "security.exceptions",
    "security.noise.exceptions",
    "security.tls.exceptions",
    "stream_muxer.exceptions",
    "transport.exceptions",
]
"""Where py-libp2p defines what can reach us. its other transports and mplex are never built."""


def modules(name: str) -> Iterator[ModuleType]:
    module = importlib.import_module(f"libp2p.{name}")
    yield module
    for _, inner, _ in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
        if inner.endswith("exceptions"):
            yield importlib.import_module(inner)


def errors_of_the_host() -> set[type[BaseException]]:
    return {
        each
        for room in ROOMS
        for module in modules(room)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Exception) and each.__module__.startswith("libp2p.")
    }


def test_every_error_of_the_host_is_mapped():
    assert errors_of_the_host() - set(AS_OURS) == set()


def test_the_table_has_nothing_that_the_host_no_longer_raises():
    assert set(AS_OURS) - errors_of_the_host() == set()


def test_every_error_of_the_host_is_caught():
    assert all(issubclass(error, FOREIGN) for error in errors_of_the_host())


def chained(*errors: BaseException) -> BaseException:
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "x"), "connection refused"),
        (OSError(errno.ENAMETOOLONG, "too long"), "too long"),
        (chained(SwarmException("x"), OpenConnectionError("y"), OSError(errno.EHOSTUNREACH, "z")), "no route to it"),
        (chained(SwarmException("x"), OSError("all failed"), OSError(errno.ECONNREFUSED, "z")), "connection refused"),
        (chained(SwarmException("x"), SecurityUpgradeFailure("Peer ID mismatch: expected")), "another peer answers there"),
        (chained(SwarmException("x"), ExceptionGroup("", [OSError(errno.ECONNRESET, "z")])), "the connection was lost"),
        (chained(SwarmException("x"), ValueError("a library's own")), "cannot connect"),
        (type("NewInSomeRelease", (IOException,), {})(), "the connection was lost"),
        (trio.BrokenResourceError(), "failed"),
        (ValueError("x"), "failed"),
    ],
)
def test_the_reason_is_the_deepest_that_says_something(error, words):
    assert reason(error) == words


@pytest.mark.parametrize(
    ("error", "so"),
    [
        (chained(SwarmException("x"), ConnectionClosedError("y")), True),
        (chained(SwarmException("x"), IncompleteReadError("y")), True),
        (chained(SwarmException("x"), OSError(errno.ECONNRESET, "y")), True),
        (OSError(errno.EPIPE, "x"), True),
        (OSError(errno.ECONNREFUSED, "x"), False),
        (OSError(errno.ETIMEDOUT, "x"), False),
        (chained(SwarmException("x"), SecurityUpgradeFailure("Peer ID mismatch: expected")), False),
        (ValueError("x"), False),
    ],
)
def test_who_hangs_up_is_told_from_who_is_not_there(error, so):
    assert hung_up(error) is so


def test_libp2p_is_the_one_it_was_written_for():
    assert libp2p.__version__.startswith("0.8.")
